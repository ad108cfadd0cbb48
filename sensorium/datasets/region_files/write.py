"""Writing region files a picture at a time, so that a killed extraction goes on where it was."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.data.errors import DataError
from sensorium.datasets.files import found_below
from sensorium.datasets.region_files.arrays import packed_npz, packed_uniter
from sensorium.datasets.region_files.open import BESIDE, description
from sensorium.datasets.region_files.record import Seen, check
from sensorium.datasets.region_files.tsv import LONGEST, butd_line, lxmert_line

LINES: dict[str, Callable[[Seen], bytes]] = {"lxmert": lxmert_line, "butd": butd_line}
FILES: dict[str, Callable[[Seen], bytes]] = {"npz": packed_npz, "uniter": packed_uniter}
FORMATS = (*LINES, *FILES)
SYNC = 32  # pictures between two moments from which a killed extraction goes on


class Writing(NamedTuple):
    """A file being written: the ids it holds already, and how a picture is added."""

    held: frozenset[str]
    add: Callable[[Seen], None]


@contextmanager
def writing(path: str | Path, form: str, detector: str, about: dict[str, Any]) -> Iterator[Writing]:
    """Begins a region file, or goes on with one that was begun with the same settings.

    A tab-separated file grows as NAME.part and gets its name when the block ends well; a folder of
    npz files grows file by file. NAME.regions.json says the kind, the detector, and `about`.

    Args:
        form: one of FORMATS.
        about: the settings; a file that was begun with others is refused.

    Raises:
        DataError: an unknown form, other settings, or a place where no such file can be.
        OSError: it cannot be written.
    """
    at = Path(path)
    if form not in FORMATS:
        raise DataError(f"format {form!r} is not one of {', '.join(FORMATS)}")
    kind = "tsv" if form in LINES else "npz"
    said = {"kind": kind, "format": form, "detector": detector, "settings": about}
    before = description(at)
    if before and {k: before.get(k) for k in said} != said:
        other = sorted(k for k in said if before.get(k) != said[k])
        raise DataError(
            f"{at}: was begun with another {', '.join(other)}: {[before.get(k) for k in other]}; "
            "use the same again, or another --out"
        )
    if not before and at.exists():
        raise DataError(f"{at}: is there already, and was not written here; choose another --out")
    at.parent.mkdir(parents=True, exist_ok=True)
    put(at.with_name(at.name + BESIDE), json.dumps(said, indent=1).encode())
    if kind == "npz":
        yield _folder(at, FILES[form])
        return
    part = at.with_name(at.name + ".part")
    if at.exists() and not part.exists():
        aside = part.with_name(part.name + ".copy")
        aside.write_bytes(at.read_bytes())
        os.replace(aside, part)
    held = _mended(part)
    with part.open("ab") as file:
        count = 0

        def add(one: Seen) -> None:
            nonlocal count
            file.write(LINES[form](check(one, str(at))))
            count += 1
            if count % SYNC == 0:
                file.flush()
                os.fsync(file.fileno())

        yield Writing(held, add)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, at)


def _mended(part: Path) -> frozenset[str]:
    """The ids of the whole lines of a file begun before; a line that was cut off is taken away."""
    ids, end = [], 0
    if not part.exists():
        return frozenset()
    with part.open("rb+") as file:
        while line := file.readline(LONGEST + 1):
            if not line.endswith(b"\n"):
                break
            end += len(line)
            ids.append(line.partition(b"\t")[0].decode())
        file.truncate(end)
    return frozenset(ids)


def _folder(at: Path, pack: Callable[[Seen], bytes]) -> Writing:
    at.mkdir(exist_ok=True)
    held = frozenset(name.removesuffix(".npz") for name in found_below(at, (".npz",)))

    def add(one: Seen) -> None:
        target = at / f"{one.id}.npz"
        target.parent.mkdir(parents=True, exist_ok=True)
        put(target, pack(check(one, str(target))))

    return Writing(held, add)


def put(path: Path, data: bytes) -> None:
    """A file written aside, fsynced and renamed."""
    aside = path.with_name(f".{path.name}.saving")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
