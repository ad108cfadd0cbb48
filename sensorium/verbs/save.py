"""Arrays to files, whole or not at all."""

import os
from pathlib import Path

import numpy as np


def save_array(at: Path, array: np.ndarray) -> None:
    """Writes a .npy file aside, then puts it in place; no pickle is ever written."""
    if at.suffix != ".npy":
        raise ValueError(f"{at}: vectors are written as .npy; choose such a name")
    aside = at.with_name(at.name + ".aside")
    with aside.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, at)
