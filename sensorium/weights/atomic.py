"""Folders and files that appear whole or not at all."""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from sensorium.weights.errors import WeightsError

EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
HERE = -100  # AT_FDCWD


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Gives an empty folder to fill; when the block ends well it stands at `folder`, whole.

    The work is done in `.NAME.saving` beside it, every file and folder is fsynced, and then the two
    change places in one step (renameat2 on Linux), so that at every moment, a kill or a power cut
    included, either the old or the new one is there. Where the file system cannot exchange, the old
    one stands as `.NAME.old` between two renames. When the block raises, `folder` is as it was.

    Raises:
        WeightsError: another process is saving the same folder.
        OSError: no space, no permission; the text says that nothing was changed.
    """
    folder = Path(os.path.abspath(folder))
    aside = folder.with_name(f".{folder.name}.saving")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover(folder)
        aside.mkdir(exist_ok=True)
        lock = os.open(aside, os.O_RDONLY)
    except OSError as wrong:
        raise _plain(wrong, folder) from wrong
    try:
        _claim(lock, aside, folder)
        try:
            _empty(aside)
            yield aside
            sync_tree(aside)
            _put(aside, folder)
        except OSError as wrong:
            shutil.rmtree(aside, ignore_errors=True)
            raise _plain(wrong, folder) from wrong
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file aside, fsyncs it and renames it into place."""
    aside = path.with_name(f".{path.name}.saving")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        _sync(path.parent)
    except OSError as wrong:
        aside.unlink(missing_ok=True)
        raise _plain(wrong, path) from wrong


def recover(folder: Path) -> None:
    """Puts `.NAME.old` back where a save was cut off between its two renames."""
    old = folder.with_name(f".{folder.name}.old")
    if old.is_dir() and not folder.exists():
        os.rename(old, folder)


def sync_tree(folder: Path) -> None:
    """fsyncs every file and folder below, and the folder itself."""
    for root, _, files in os.walk(folder):
        for name in files:
            _sync(Path(root) / name)
        _sync(Path(root))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _claim(lock: int, aside: Path, folder: Path) -> None:
    """Takes the lock on the working folder; it falls with the process, so a kill leaves none."""
    busy = f"{folder}: another process is saving this checkpoint now; let it end, or save elsewhere"
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as wrong:
        raise WeightsError(busy) from wrong
    if not aside.exists() or os.stat(aside).st_ino != os.fstat(lock).st_ino:
        raise WeightsError(busy)


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def _put(aside: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(aside, folder)
        _sync(folder.parent)
        return
    if _exchange(aside, folder):
        _sync(folder.parent)
        shutil.rmtree(aside, ignore_errors=True)
        return
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.rename(folder, old)
    os.rename(aside, folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Swaps two names in one step; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if renameat2(HERE, os.fsencode(a), HERE, os.fsencode(b), EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(b))


def _plain(wrong: OSError, place: Path) -> OSError:
    why = {
        errno.ENOSPC: "the disk is full; free space or save elsewhere",
        errno.EDQUOT: "the disk quota is used up; free space or save elsewhere",
        errno.EFBIG: "a file would be larger than this system or process may write",
        errno.EROFS: "the file system is read-only; save elsewhere",
        errno.EACCES: "no permission to write there; save elsewhere",
        errno.EPERM: "no permission to write there; save elsewhere",
    }.get(wrong.errno or 0, wrong.strerror or str(wrong))
    text = f"could not be saved: {why} (nothing was changed)"
    return OSError(wrong.errno or errno.EIO, text, str(place))
