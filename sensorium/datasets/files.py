"""What every reader stands on: names that stay inside one folder, and lists checked before use."""

import os
import posixpath
import stat
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from operator import index
from pathlib import Path
from typing import TypeVar, final, overload

from sensorium.data.errors import DataError
from sensorium.types import Captioned, Labelled

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
"""Endings by which a folder is searched for pictures (lists may name any file)."""

LARGEST = 256 * 2**20
"""Bytes: no file of one picture is read beyond this."""

T = TypeVar("T")


class Rows(Sequence[T]):
    """A sequence whose samples are read one at a time; slices are lists."""

    @abstractmethod
    def sample(self, i: int) -> T:
        """Sample i, 0 <= i < len(self)."""

    @overload
    def __getitem__(self, i: int) -> T: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[T]: ...
    def __getitem__(self, i: int | slice) -> T | Sequence[T]:
        if isinstance(i, slice):
            return [self.sample(j) for j in range(*i.indices(len(self)))]
        i = index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of a data set of {len(self)}")
        return self.sample(i % len(self))


@final
class Pictures(Rows[Captioned]):
    """Picture files below `root` with their texts; `ids` name the pictures in messages."""

    def __init__(
        self,
        root: str | Path,
        files: Sequence[str],
        texts: Sequence[tuple[str, ...]],
        ids: Sequence[str] | None = None,
    ):
        self.root, self.files, self.texts = str(root), files, texts
        self.ids = files if ids is None else ids

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, i: int) -> Captioned:
        return Captioned(read(self.root, self.files[i]), self.texts[i], self.ids[i])


@final
class LabelledPictures(Rows[Labelled]):
    """Picture files below `root`; `labels[targets[i]]` is the name of the class of picture i."""

    def __init__(
        self,
        root: str | Path,
        files: Sequence[str],
        targets: Sequence[int],
        labels: Sequence[str],
        ids: Sequence[str] | None = None,
    ):
        self.root, self.files, self.targets, self.labels = str(root), files, targets, tuple(labels)
        self.ids = files if ids is None else ids

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The name of each picture's class, in the shape that captions have."""
        return [(self.labels[t],) for t in self.targets]

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, i: int) -> Labelled:
        return Labelled(read(self.root, self.files[i]), self.targets[i], self.ids[i])


def read(root: str, name: str) -> bytes:
    """The bytes of one picture file. Raises OSError, or DataError if it is over 256 MiB."""
    with open(os.path.join(root, name), "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise DataError(
            f"{os.path.join(root, name)}: larger than {LARGEST >> 20} MiB, too much for one "
            "picture; store it smaller"
        )
    return data


@final
class Inside:
    """Judges names found in lists: relative, inside the folder (links followed), a plain file.

    Costs one `lstat` a name, and one `realpath` a folder.
    """

    def __init__(self, root: str | Path):
        self.root = os.path.realpath(root)
        self._folders: dict[str, bool] = {"": True}

    def judge(self, name: str) -> tuple[str, str]:
        """(the name in normal form, what is wrong with it or "")."""
        if not name.strip():
            return name, "is empty"
        if "\0" in name:
            return name, "holds a zero byte"
        if "://" in name:
            return name, "is an address, and nothing is fetched: download it first"
        if name.startswith(("/", "\\")) or name[1:3] in (":\\", ":/"):
            return name, "is an absolute path: write it relative to the folder of the list"
        if ".." in name.replace("\\", "/").split("/"):
            return name, "climbs out with '..': keep pictures inside the folder of the list"
        name = posixpath.normpath(name)
        try:
            return name, self._look(name)
        except FileNotFoundError:
            hint = " (folders are separated by '/', not '\\')" if "\\" in name else ""
            return name, f"does not exist{hint}"
        except (OSError, UnicodeEncodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no possible file name"
            return name, f"cannot be looked at: {reason}"

    def _look(self, name: str) -> str:
        path = os.path.join(self.root, name)
        mode = os.lstat(path).st_mode
        link = stat.S_ISLNK(mode)
        folder = posixpath.dirname(name)
        if folder not in self._folders:
            self._folders[folder] = self._holds(os.path.join(self.root, folder))
        if not self._folders[folder] or (link and not self._holds(path)):
            return "is a link that leads out of the folder: put the file itself there"
        if not stat.S_ISREG(os.stat(path).st_mode if link else mode):
            return "is not a plain file"
        return ""

    def _holds(self, path: str) -> bool:
        return os.path.realpath(path).startswith(os.path.join(self.root, ""))


def refuse(where: str | Path, what: str, found: Sequence[str], total: int, remedy: str) -> None:
    """Raise one DataError that counts all of `found` and shows the first five; none: return."""
    if found:
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise DataError(
            f"{where}: {len(found)} of {total} {what}: {'; '.join(found[:5])}{more}. {remedy}"
        )


def found_below(root: str | Path, endings: tuple[str, ...]) -> list[str]:
    """All files below `root` with these endings, sorted, as relative names.

    Hidden files and links to folders are passed over. Raises DataError for links that leave the
    folder, for what is no plain file, and for names that are not UTF-8.
    """
    inside = Inside(root)
    found: list[str] = []
    bad: list[str] = []
    folders = [""]
    while folders:
        inner = folders.pop()
        with os.scandir(os.path.join(root, inner)) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                name = posixpath.join(inner, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif entry.name.lower().endswith(endings):
                    plain = entry.is_file(follow_symlinks=False)  # costs no system call
                    problem = "" if plain else inside.judge(name)[1]
                    if not encodable(name):
                        problem = "has a name that is not UTF-8"
                    if problem:
                        bad.append(f"{name!r} {problem}")
                    found.append(name)
    refuse(root, "files cannot be used", sorted(bad), len(found), "Rename, mend or remove them")
    return sorted(found)


def encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8 (JSON and file names may hold lone surrogates)."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def listed(values: Iterable[str]) -> str:
    """'a', 'b' and so on, for messages; at most twenty."""
    names = [repr(v if len(v) < 60 else v[:57] + "...") for v in values]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
