"""Arrays to files, whole or not at all."""

import errno
import os
from pathlib import Path

import numpy as np


def save_array(at: Path, array: np.ndarray) -> None:
    """Writes a .npy file aside, then puts it in place; no pickle is ever written."""
    check_place(at)
    aside = at.with_name(at.name + ".aside")
    try:
        with aside.open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, at)
    except OSError as wrong:  # numpy says only how many bytes it could not write
        aside.unlink(missing_ok=True)
        why = wrong.strerror or f"{wrong} (a full disk?)"
        raise OSError(wrong.errno or errno.EIO, f"could not be saved: {why}", str(at)) from wrong
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def check_place(at: Path) -> None:
    """Raises ValueError where no .npy file can be put: known before the work rather than after."""
    if at.suffix != ".npy":
        raise ValueError(f"{at}: vectors are written as .npy; choose such a name")
    if at.is_dir():
        raise ValueError(f"{at}: is a folder; choose another name")
    if not at.absolute().parent.is_dir():
        raise ValueError(f"{at}: there is no folder {at.parent}; make it first")
