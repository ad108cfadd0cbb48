"""Sounds with what they are of: esc10 (ten kinds, five seconds each), or one folder a kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, final

from sensorium.data.errors import DataError
from sensorium.datasets.catalogue import Part, number, records, root, text
from sensorium.datasets.files import Rows, found_below, read
from sensorium.datasets.narrated import SOUNDS

ESC10 = "esc10"


class Sound(NamedTuple):
    """A sound as undecoded bytes, and the index of its kind in the data set's `labels`."""

    sound: bytes
    label: int
    id: str


@final
class Sounds(Rows[Sound]):
    """Sound files below a folder, and the kind of each."""

    def __init__(
        self,
        folder: str | Path,
        files: Sequence[str],
        targets: Sequence[int],
        labels: Sequence[str],
    ):
        self.root, self.files = str(folder), list(files)
        self.targets, self.labels = list(targets), tuple(labels)

    @property
    def ids(self) -> list[str]:
        """What each is called."""
        return self.files

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, i: int) -> Sound:
        return Sound(read(self.root, self.files[i]), self.targets[i], self.files[i])


def esc10(path: str | Path | None = None, part: Part = "train") -> Sounds:
    """Dog, rain, sea waves, a crying baby, a ticking clock, a sneeze, a helicopter, a chainsaw, a
    rooster, fire (Piczak 2015). Clips of one recording never are in both parts.

    Args:
        path: the catalogue, where SENSORIUM_DATA does not say it.

    Raises:
        DataError: the catalogue or a file is missing, or a row lacks what it needs.
    """
    folder = root(path) / ESC10
    rows = [
        (text(where, row, "audio"), number(where, row, "label_id", 10), text(where, row, "label"))
        for where, row in records(folder, "clips", part, image="audio")
    ]
    names = {label: name for _, label, name in rows}
    if sorted(names) != [*range(10)]:
        raise DataError(f"{folder}: of ten kinds {len(names)} are there; copy the set again")
    labels = [names[i] for i in range(10)]
    return Sounds(folder, [file for file, _, _ in rows], [label for _, label, _ in rows], labels)


def sound_folder(path: str | Path) -> Sounds:
    """Your own sounds in one folder a kind (kind/**/sound.wav); labels are the folders' names.

    Raises:
        DataError: there are fewer than two kinds, or a sound lies in none.
    """
    at = Path(path)
    if not at.is_dir():
        raise DataError(f"{at}: is not a folder; expected one folder of sounds for each kind")
    files = found_below(at, SOUNDS)
    stray = [file for file in files if "/" not in file]
    if stray:
        raise DataError(f"{at}: {stray[0]!r} lies in no folder: which kind is it?")
    labels = sorted({file.split("/")[0] for file in files})
    if len(labels) < 2:
        raise DataError(f"{at}: holds sounds of {len(labels)} kinds; at least two are needed")
    return Sounds(at, files, [labels.index(file.split("/")[0]) for file in files], labels)
