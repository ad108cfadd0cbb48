"""Opening a region file: what kind it is and which detector made it must be known, never guessed.

Beside a file written here stands NAME.regions.json with both; for a file of others the caller says
them.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sensorium.data.errors import DataError
from sensorium.datasets.files import Rows
from sensorium.datasets.region_files.arrays import NpzRegions, PairRegions
from sensorium.datasets.region_files.databases import Hdf5Regions, LmdbRegions
from sensorium.datasets.region_files.oscar import OscarRegions
from sensorium.datasets.region_files.record import ANYTHING, Needs, Seen
from sensorium.datasets.region_files.tsv import TsvRegions
from sensorium.datasets.region_files.vl_bert import JsonRegions

KINDS: dict[str, Callable[..., Rows[Seen]]] = {
    "tsv": TsvRegions,
    "npz": NpzRegions,
    "npy": PairRegions,
    "lmdb": LmdbRegions,
    "hdf5": Hdf5Regions,
    "oscar": OscarRegions,
    "vl-bert": JsonRegions,
}
BESIDE = ".regions.json"


def open_regions(
    path: str | Path,
    *,
    kind: str | None = None,
    detector: str | None = None,
    needs: Needs = ANYTHING,
) -> Rows[Seen]:
    """A region file as a data set of `Seen`, with random access; every sample is checked.

    Args:
        kind: one of KINDS; needed where no description lies beside the file.
        detector: the name of the detector that made it; likewise. Features of one detector mean
            nothing to a model trained on another's.
        needs: what the model that will read it wants.

    Raises:
        DataError: nothing there, kind or detector not known, another detector than said or needed.
    """
    at = Path(path)
    if not at.exists():
        raise DataError(f"{at}: there is no such file or folder of region features")
    told = description(at)
    kind, detector = kind or told.get("kind"), detector or told.get("detector")
    if kind is None:
        raise DataError(f"{at}: say what kind of file it is: {', '.join(KINDS)}")
    if kind not in KINDS:
        raise DataError(f"{at}: kind {kind!r} is not one of {', '.join(KINDS)}")
    if detector is None:
        raise DataError(
            f"{at}: say which detector made it (detector=...): the file does not, and a model can "
            "only read the features of the detector that it was trained with"
        )
    if told.get("detector", detector) != detector:
        raise DataError(f"{at}: was made by {told['detector']!r}, not by {detector!r} as said")
    if needs.detector is not None and needs.detector != detector:
        raise DataError(
            f"{at}: was made by {detector!r}, the model expects {needs.detector!r}; extract the "
            "features again with that detector"
        )
    return KINDS[kind](at, detector, needs)


def description(path: Path) -> dict[str, Any]:
    """What the file beside it says; nothing where there is none.

    Raises:
        DataError: it is damaged.
    """
    at = path.with_name(path.name + BESIDE)
    if not at.is_file():
        return {}
    try:
        said = json.loads(at.read_bytes()[: 1 << 20])
    except ValueError as wrong:
        raise DataError(f"{at}: is no JSON ({wrong}); put the original back") from wrong
    sound = isinstance(said, dict) and all(
        isinstance(said.get(k), str) for k in ("kind", "detector")
    )
    if not sound:
        raise DataError(f"{at}: must name a kind and a detector; put the original back")
    return said


def missing(data: Rows[Seen], wanted: Sequence[str], where: str) -> None:
    """Refuses a file that lacks pictures that are asked for.

    Raises:
        DataError: counts and names them.
    """
    ids: set[str] = set(getattr(data, "ids", ()))
    absent = [name for name in wanted if name not in ids]
    if absent:
        some = ", ".join(map(repr, absent[:5]))
        raise DataError(
            f"{where}: {len(absent)} of {len(wanted)} pictures are missing: {some}; extract them "
            "into the file, or leave their questions out"
        )
