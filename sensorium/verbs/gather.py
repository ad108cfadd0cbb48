"""One run over a folder of pictures: which there are, and a vector for each content of them."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium.data.errors import DataError
from sensorium.media import FORMATS, MediaError, read_image_bytes
from sensorium.verbs.model import BATCH, Model
from sensorium.verbs.store import File, Store, add_files, add_vectors, commit, read_parts

HELD = 256 << 20  # bytes of undecoded pictures kept in memory at a time
ENDINGS = (*(f".{f.lower()}" for f in FORMATS), ".jpg", ".jpe", ".jfif", ".dib")

Progress = Callable[[int, int], None]
Found = dict[str, os.stat_result]  # relative path -> what the file system says


class Unreadable(NamedTuple):
    """A picture, or a folder, that is not in the index, and why."""

    path: str
    reason: str


def pictures_below(folder: Path, at: Path) -> tuple[Found, list[Unreadable]]:
    """Picture files by their endings, in order of their names, and what cannot be looked at."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of pictures")
    found: Found = {}
    bad: list[Unreadable] = []
    for name, path in walk(folder, at, bad):
        try:
            link = os.path.islink(path)
            if link and not os.path.realpath(path).startswith(os.path.join(folder, "")):
                bad.append(Unreadable(name, "a link that leads out of the folder"))
                continue
            found[name] = os.stat(path)
        except OSError as wrong:
            bad.append(Unreadable(name, wrong.strerror or "cannot be looked at"))
    return dict(sorted(found.items())), bad


def walk(folder: Path, at: Path, bad: list[Unreadable]) -> Iterator[tuple[str, str]]:
    """Relative names and paths of what looks like a picture; not what is hidden, not the index."""
    inner = [""]
    while inner:
        below = inner.pop()
        try:
            entries = list(os.scandir(os.path.join(folder, below)))
        except OSError as wrong:
            bad.append(Unreadable(below or ".", f"folder: {wrong.strerror}"))
            continue
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith(".") or entry.path == str(at):
                continue
            if entry.is_dir(follow_symlinks=False):
                inner.append(name)
            elif entry.name.lower().endswith(ENDINGS):
                if name.isascii() or not any("\ud800" <= c <= "\udfff" for c in name):
                    yield name, entry.path
                else:
                    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                    bad.append(Unreadable(shown, "a name that is not UTF-8; rename it"))


class Run:
    """One run over a folder: which files there are now, and vectors on their way to the disk."""

    def __init__(self, model: Model, old: Store, part: int, unreadable: list[Unreadable]):
        self.model, self.old, self.part, self.unreadable = model, old, part, unreadable
        self.manifest, self.root = old.manifest, Path(old.manifest["folder"])
        contents = [bytes(c).hex() for part in old.contents for c in part]
        self.rows = dict(zip(contents, range(len(contents)), strict=True))  # content -> its row
        self.files: dict[str, tuple[int, int, str]] = {}
        self.waiting: dict[str, tuple[str, bytes]] = {}  # content -> a file of it, its bytes
        self.vectors: list[np.ndarray] = []
        self.contents: list[str] = []
        self.unchanged = self.embedded = 0

    def look(self, found: Found, progress: Progress) -> None:
        """Takes up every file: known, recognised, or embedded."""
        for done, (name, said) in enumerate(found.items()):
            progress(done, len(found))
            known = self.old.files.get(name)
            same = known is not None and known[:2] == (said.st_size, said.st_mtime_ns)
            if known and same and known.sha256 in self.rows:
                self.files[name] = known[:3]
                self.unchanged += 1
            else:
                self.read(name, said)
        self.embed()
        self.save()
        progress(len(found), len(found))

    def read(self, name: str, said: os.stat_result) -> None:
        """A new or changed file."""
        try:
            if not stat.S_ISREG(said.st_mode):
                raise MediaError("not a regular file")
            data = read_image_bytes(self.root / name, name=name)
        except MediaError as wrong:
            self.refuse(name, wrong)
            return
        content = hashlib.sha256(data).hexdigest()
        self.files[name] = (said.st_size, said.st_mtime_ns, content)
        if content in self.rows or content in self.waiting:
            return
        self.waiting[content] = (name, data)
        if len(self.waiting) == BATCH or sum(len(d) for _, d in self.waiting.values()) > HELD:
            self.embed()

    def embed(self) -> None:
        """Embeds what is waiting; where a picture of it is broken, the others."""
        if not self.waiting:
            return
        waiting, self.waiting = self.waiting, {}
        try:
            vectors = self.model.embed(images=[data for _, data in waiting.values()])
        except MediaError:
            good = {c: w for c, w in waiting.items() if self.decodes(c, *w)}
            if len(good) == len(waiting):
                raise
            self.waiting = good
            self.embed()
            return
        if not np.isfinite(vectors).all():
            names = [
                n for (n, _), v in zip(waiting.values(), vectors, strict=True) if v.sum() != v.sum()
            ]
            raise DataError(
                f"the model gives vectors that are not finite for {', '.join(names[:5])}"
            )
        for content, vector in zip(waiting, vectors, strict=True):
            self.rows[content] = len(self.rows)
            self.contents.append(content)
            self.vectors.append(vector)
        self.embedded += len(waiting)
        if len(self.vectors) >= self.part:
            self.save()

    def decodes(self, content: str, name: str, data: bytes) -> bool:
        """Whether a picture can be read; if not, every file of this content is put aside."""
        try:
            self.model.transform(data, name=name)
        except MediaError as wrong:
            for same in [n for n, f in self.files.items() if f[2] == content]:
                self.refuse(same, wrong)
            return False
        return True

    def refuse(self, name: str, wrong: MediaError) -> None:
        """Puts a file aside with the reason."""
        self.files.pop(name, None)
        self.unreadable.append(Unreadable(name, str(wrong).removeprefix(f"{name}: ")))

    def save(self) -> None:
        """What was embedded so far is part of the index, whatever comes."""
        if self.vectors:
            contents = np.array([list(bytes.fromhex(c)) for c in self.contents], np.uint8)
            vectors = np.stack(self.vectors).astype(np.float32)
            self.manifest = add_vectors(self.old.at, self.manifest, vectors, contents)
            commit(self.old.at, self.manifest)
            self.vectors, self.contents = [], []

    def finish(self) -> Store:
        """Writes the table of files, if it is another than before."""
        files = {n: File(*f, self.rows[f[2]]) for n, f in self.files.items()}
        if files != self.old.files or self.manifest["files"] is None:
            self.manifest = add_files(self.old.at, self.manifest, files)
        if self.manifest != self.old.manifest:
            commit(self.old.at, self.manifest)
        return read_parts(self.old.at, self.manifest)
