"""Folders and git checkouts as sources. Nothing in them is followed, run or trusted."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from sensorium.corpus.found import Found, too_large

GIT = {".git", ".hg", ".svn", "CVS"}
_URL = re.compile(r"^\s*url\s*=\s*\S*?[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?\s*$", re.M)
LARGEST_CONFIG = 1 << 16


def walk(top: Path, largest: int, wanted: Callable[[str], bool] | None = None) -> Iterator[Found]:
    """The files below a folder, in the order of their names; paths are relative, with slashes.

    Links are not followed (so none can run in a circle), version control's own folders are passed
    over, and so are the submodules of a checkout, pipes, sockets and devices; each is found
    without data. With `wanted` only files of those paths are read, and nothing else is found.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            inside = sorted(os.scandir(top / folder), key=lambda e: e.name)
        except OSError as error:
            if not folder:
                raise
            yield Found(folder, 0, None, f"cannot be read: {error.strerror}")
            continue
        below = []
        for entry in inside:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink():
                found = Found(path, 0, None, "symbolic link")
            elif entry.is_dir(follow_symlinks=False):
                if entry.name in GIT:
                    continue
                if os.path.isfile(os.path.join(entry.path, ".git")):
                    found = Found(path, 0, None, "submodule")
                else:
                    below.append(path)
                    continue
            elif entry.name == ".git":
                continue
            else:
                if wanted is not None and not wanted(path):
                    continue
                found = _read(entry, path, largest)
            if wanted is None or found.data is not None:
                yield found
        pending += reversed(below)


def _read(entry: "os.DirEntry[str]", path: str, largest: int) -> Found:
    try:
        about = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(about.st_mode):
            return Found(path, 0, None, "no plain file")
        if about.st_size > largest:
            return Found(path, about.st_size, None, too_large(largest))
        handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        return Found(path, 0, None, f"cannot be read: {error.strerror}")
    if len(data) > largest:  # it has grown
        return Found(path, len(data), None, too_large(largest))
    return Found(path, len(data), data)


def name(top: Path) -> str:
    """owner/name of a checkout by where it was cloned from, else the folder's own name."""
    config = top / ".git" / "config"
    if config.is_file() and not config.is_symlink():
        with config.open("rb") as file:
            match = _URL.search(file.read(LARGEST_CONFIG).decode("utf-8", "replace"))
        if match:
            return match[1]
    return top.absolute().name or "folder"
