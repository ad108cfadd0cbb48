"""WebDataset tar shards with random access, and how to write them.

A sample is the run of members whose names agree up to the first dot of the last part:
000123.jpg, 000123.txt, 000123.json. It has one picture (jpg, jpeg, png, webp, gif, bmp) and its
text: the whole of .txt, or one key of .json (text, caption, captions, title or alt; a text or a
list of texts). Members of other kinds are passed over, and so are names without a dot.
"""

import json
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from sensorium.data.errors import DataError
from sensorium.datasets.files import LARGEST, Rows, listed
from sensorium.datasets.shard_index import Index, open_index, write_aside
from sensorium.datasets.tables import TEXT_COLUMNS, one, texts_in
from sensorium.datasets.tar import BLOCK
from sensorium.types import Captioned

OPEN_FILES = 64
LARGEST_TEXT = 16 * 2**20

MAGIC = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif"), (b"BM", "bmp"))


def shards(
    paths: str | Path | Sequence[str | Path],
    text_key: str | None = None,
    allow_truncated: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> "Shards":
    """Samples of one shard, of several in the order given, or of a pattern like
    "train-{000..099}.tar".

    Each shard is read through once; where its samples lie is then kept beside it in NAME.tar.idx
    (in memory only where the folder cannot be written), and used while the shard's size, time and
    ends are the same. `text_key` names the JSON key that holds the text, and then .txt is not
    looked at. A shard that ends early is refused, or with `allow_truncated` gives the whole
    samples before. `progress(done, total)` counts shards.

    Raises DataError (also later, for a sample whose text is empty or no text) and OSError.
    """
    names = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    names = [Path(q) for p in names for q in expand(str(p))]
    if not names:
        raise DataError("no shards are named; give a path, several, or train-{000..099}.tar")
    if len(set(names)) < len(names):
        raise DataError(f"a shard is named twice among {listed(map(str, names))}")
    indexes: list[Index] = []
    for done, path in enumerate(names, 1):
        indexes.append(open_index(path, allow_truncated))
        if progress is not None:
            progress(done, len(names))
    return Shards(names, indexes, text_key, allow_truncated)


def expand(pattern: str) -> Iterator[str]:
    """The paths that a pattern with ranges of numbers names: {000..099} keeps its leading
    zeros."""
    match = re.search(r"\{(\d{1,9})\.\.(\d{1,9})\}", pattern)
    if match is None:
        yield pattern
        return
    first, last = match.groups()
    if not int(first) <= int(last) < int(first) + 1_000_000:
        raise DataError(f"{pattern}: the range {match.group()} is empty or of over a million")
    for number in range(int(first), int(last) + 1):
        width = len(first) if first.startswith("0") else 0
        yield from expand(pattern[: match.start()] + f"{number:0{width}}" + pattern[match.end() :])


@final
class Shards(Rows[Captioned]):
    """Samples of tar shards. `ids` are shard:key; `texts` reads them from the shards."""

    def __init__(
        self,
        paths: Sequence[Path],
        indexes: Sequence[Index | None],
        text_key: str | None,
        allow_truncated: bool,
    ):
        self.paths, self.text_key, self.allow_truncated = paths, text_key, allow_truncated
        self._indexes = list(indexes)
        counts = [0 if index is None else len(index) for index in indexes]
        self._starts = np.cumsum([0, *counts])
        names = [p.name for p in paths]
        self._names = names if len(set(names)) == len(names) else [str(p) for p in paths]
        self._files: OrderedDict[int, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        stored = [None if index is None or index.stored else index for index in self._indexes]
        return {**self.__dict__, "_indexes": stored, "_files": OrderedDict()}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def sample(self, i: int) -> Captioned:
        s, place = self._find(i)
        index = self._index(s)
        where = f"{self._names[s]}:{index.key(place)}"
        offset, size = index.rows[place, :2]
        return Captioned(self._read(s, int(offset), int(size), LARGEST), self._said(i), where)

    @property
    def ids(self) -> Iterator[str]:
        for s, name in enumerate(self._names):
            index = self._index(s)
            yield from (f"{name}:{index.key(place)}" for place in range(len(index)))

    @property
    def texts(self) -> Iterator[tuple[str, ...]]:
        return (self._said(i) for i in range(len(self)))

    def close(self) -> None:
        """Close the shards; they open again when read."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __del__(self) -> None:
        self.close()

    def _find(self, i: int) -> tuple[int, int]:
        s = int(np.searchsorted(self._starts, i, side="right")) - 1
        return s, i - int(self._starts[s])

    def _index(self, s: int) -> Index:
        index = self._indexes[s]
        if index is None:
            index = open_index(self.paths[s], self.allow_truncated)
            if len(index) != self._starts[s + 1] - self._starts[s]:
                raise DataError(f"{self.paths[s]}: has changed since the data set was opened")
            self._indexes[s] = index
        return index

    def _read(self, s: int, offset: int, size: int, most: int) -> bytes:
        if size > most:
            raise DataError(f"{self.paths[s]}: byte {offset}: a member of {size} bytes; {most} is"
                            " the most that is read")  # fmt: skip
        if s not in self._files:
            self._files[s] = os.open(self.paths[s], os.O_RDONLY)
            found = os.fstat(self._files[s])
            if (found.st_size, found.st_mtime_ns) != self._index(s).stamp:
                os.close(self._files.pop(s))
                raise DataError(f"{self.paths[s]}: has changed since the data set was opened")
            if len(self._files) > OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
        self._files.move_to_end(s)
        data = os.pread(self._files[s], size, offset)
        if len(data) != size:
            raise DataError(f"{self.paths[s]}: ends early; it has changed since it was opened")
        return data

    def _said(self, i: int) -> tuple[str, ...]:
        s, place = self._find(i)
        index = self._index(s)
        where = f"{self.paths[s]}: sample {index.key(place)!r}"
        _, _, text, text_size, table, table_size = (int(n) for n in index.rows[place])
        if text >= 0 and self.text_key is None:
            said = (decoded(where, self._read(s, text, text_size, LARGEST_TEXT)),)
        elif table >= 0:
            data = self._read(s, table, table_size, LARGEST_TEXT)
            said = captions(self.paths[s], index.key(place), data, self.text_key)
        else:
            raise DataError(f"{where}: has no .json with the key {self.text_key!r}")
        if not said or not all(t.strip() for t in said):
            raise DataError(f"{where}: has an empty text; write one, or leave the sample out")
        return said


def decoded(where: str, data: bytes) -> str:
    """UTF-8 text without zero bytes."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start + 1} of its text is not UTF-8") from None
    if "\0" in text:
        raise DataError(f"{where}: its text holds a zero byte")
    return text


def captions(path: Path, key: str, data: bytes, text_key: str | None) -> tuple[str, ...]:
    """The texts in a sample's JSON."""
    where = f"{path}: sample {key!r}"
    try:
        record = json.loads(decoded(where, data))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{where}: its .json is not JSON: {reason}") from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: its .json must be an object with a text")
    column = one(where, list(record), text_key, TEXT_COLUMNS, "text", "text_key")
    return tuple(texts_in(where, column, record[column]))


def write_shards(
    dataset: Sequence[Captioned],
    folder: str | Path,
    size: int = 1000,
    name: str = "train",
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write `size` samples a shard as folder/NAME-000000.tar and so on; returns the paths.

    The bytes depend on the samples alone. A sample with one text has it in .txt, one with several
    in .json; .json keeps the id. Existing shards are not written over, and each appears only when
    it is whole. `progress(done, total)` counts samples.

    Raises DataError for a picture of unknown format, a bad `size` or shards in the way; OSError.
    """
    if size < 1:
        raise DataError(f"size {size}: a shard holds at least one sample")
    if not re.fullmatch(r"[\w.-]+", name):
        raise DataError(f"name {name!r}: only letters, digits, '_', '-' and '.'")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(p.name for p in folder.glob(f"{name}-*.tar"))
    if there:
        raise DataError(f"{folder}: holds {listed(there)} already; remove them or choose a name")
    written: list[Path] = []
    for first in range(0, len(dataset), size):
        path = folder / f"{name}-{first // size:06}.tar"
        with write_aside(path) as file:
            for i in range(first, min(first + size, len(dataset))):
                for member, data in parts(dataset[i], i):
                    file.write(header(member, len(data)) + data + bytes(-len(data) % BLOCK))
                if progress is not None:
                    progress(i + 1, len(dataset))
            file.write(bytes(2 * BLOCK))
        written.append(path)
    return written


def parts(sample: Captioned, i: int) -> Iterator[tuple[str, bytes]]:
    """The members of one sample."""
    if not sample.texts or not all(t.strip() for t in sample.texts):
        raise DataError(f"{sample.id}: has an empty text or none, so it cannot be written")
    yield f"{i:09}.{ending(sample)}", sample.image
    about: dict[str, object] = {"id": sample.id}
    if len(sample.texts) == 1:
        yield f"{i:09}.txt", sample.texts[0].encode()
    else:
        about["captions"] = list(sample.texts)
    yield f"{i:09}.json", json.dumps(about, ensure_ascii=False, sort_keys=True).encode()


def ending(sample: Captioned) -> str:
    """The ending that goes with a picture's first bytes."""
    if sample.image[:4] == b"RIFF" and sample.image[8:12] == b"WEBP":
        return "webp"
    for magic, found in MAGIC:
        if sample.image.startswith(magic):
            return found
    raise DataError(f"{sample.id}: is no JPEG, PNG, WebP, GIF or BMP by its first bytes")


def header(name: str, size: int) -> bytes:
    """A ustar header for a plain file: mode 0644, no owner, time 0."""
    head = bytearray(BLOCK)
    for place, field in (
        (0, name.encode("ascii")),
        (100, b"0000644\0" + b"0000000\0" * 2),
        (124, b"%011o\0" % size + b"%011o\0" % 0),
        (148, b" " * 8 + b"0"),
        (257, b"ustar\00000"),
    ):
        head[place : place + len(field)] = field
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)
