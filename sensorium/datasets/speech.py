"""Recordings of speech with what is said in them: librispeech_mini, ljspeech_mini, fsdd."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload

from sensorium.datasets.catalogue import Part, records, root, text

LIBRISPEECH, LJSPEECH, FSDD = "librispeech_mini", "ljspeech_mini", "fsdd"


class Spoken(NamedTuple):
    """A recording as undecoded bytes, and what is said; `language` is a code (en).

    Recordings of one speaker are not independent of each other.
    """

    sound: bytes
    text: str
    language: str
    speaker: str
    id: str


class Recordings(Sequence[Spoken]):
    """The clips of a set of the catalogue, read from its folder when they are asked for.

    Args:
        name: the set's folder.
        part: "train" or "test".
        path: the catalogue, where SENSORIUM_DATA does not say it.

    Raises:
        DataError: the catalogue or a file is missing, or a row lacks what it needs.
    """

    def __init__(self, name: str, part: Part, path: str | Path | None = None):
        self.folder, self.name = root(path) / name, name
        self.rows: list[dict[str, str]] = []
        for where, row in records(self.folder, "clips", part, image="audio"):
            self.rows.append({k: text(where, row, k) for k in ("id", "audio", "text", "speaker")})

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Spoken: ...
    @overload
    def __getitem__(self, index: slice) -> list[Spoken]: ...
    def __getitem__(self, index: int | slice) -> Spoken | list[Spoken]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = self.rows[index]
        sound = (self.folder / row["audio"]).read_bytes()
        return Spoken(sound, row["text"], "en", row["speaker"], row["id"])
