"""What the readers of questions share: lists that name pictures, opened one sample at a time."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from sensorium.data.errors import DataError
from sensorium.data.questions import Box, Choice, Question, Reference
from sensorium.datasets.files import Inside, Rows, read, refuse
from sensorium.datasets.tables import check_text, shown

LARGEST = 2 << 30  # bytes of one annotation file


class Entry(NamedTuple):
    """A question whose pictures are still files."""

    files: tuple[str, ...]
    text: str
    answers: tuple[str, ...]
    id: str
    cluster: str
    kind: str = ""
    boxes: tuple[tuple[Box, ...], ...] = ()
    names: tuple[tuple[str, ...], ...] = ()


@final
class Questions(Rows[Question]):
    """Questions about picture files below `root`."""

    def __init__(self, root: str | Path, entries: Sequence[Entry]):
        self.root, self.entries = str(root), entries

    def __len__(self) -> int:
        return len(self.entries)

    def sample(self, i: int) -> Question:
        one = self.entries[i]
        return Question(tuple(read(self.root, file) for file in one.files), *one[1:])

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.entries]

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """Question and answers, in the shape that captions have."""
        return [(one.text, *one.answers) for one in self.entries]


@final
class References(Rows[Reference]):
    """Expressions about picture files below `root`: (file, the rest of a `Reference`)."""

    def __init__(self, root: str | Path, entries: Sequence[tuple[str, Reference]]):
        self.root, self.entries = str(root), entries

    def __len__(self) -> int:
        return len(self.entries)

    def sample(self, i: int) -> Reference:
        file, rest = self.entries[i]
        return rest._replace(image=read(self.root, file))


@final
class Choosings(Rows[Choice]):
    """Questions with candidates about picture files below `root`: (file, the rest)."""

    def __init__(self, root: str | Path, entries: Sequence[tuple[str, Choice]]):
        self.root, self.entries = str(root), entries

    def __len__(self) -> int:
        return len(self.entries)

    def sample(self, i: int) -> Choice:
        file, rest = self.entries[i]
        return rest._replace(image=read(self.root, file))


def there(source: Path, root: str | Path, named: Sequence[tuple[str, str]]) -> None:
    """Refuse (where, file) pairs whose file is missing below `root` or outside it.

    DataError: counts them all and shows the first ones.
    """
    inside, judged = Inside(root), {}
    for _, name in named:
        if name not in judged:
            judged[name] = inside.judge(name)[1]
    bad = [f"{where}: {name!r} {judged[name]}" for where, name in named if judged[name]]
    remedy = f"Put the pictures below {root}, or give their folder"
    refuse(source, "entries name pictures that cannot be used", bad, len(named), remedy)


def whole(path: Path) -> Any:
    """The value of a JSON file of a bounded size. DataError: it is none."""
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path}: larger than {LARGEST >> 30} GiB; cut it into parts")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as wrong:
        raise DataError(f"{path}: is no JSON file ({wrong})") from wrong


def items(path: Path, said: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of each entry of the list `key` of a JSON object.

    DataError: there is no such list, it is empty, or holds what is no object.
    """
    found = said.get(key) if isinstance(said, dict) else None
    if not isinstance(found, list) or not found:
        raise DataError(f"{path}: has no list {key!r} with something in it")
    for number, one in enumerate(found):
        where = f"{path}: {key} {number}"
        if not isinstance(one, dict):
            raise DataError(f"{where}: is {shown(one)}, an object is expected")
        yield where, one


def field(where: str, row: dict[str, Any], key: str) -> str:
    """A text, or a whole number as text (ids are written either way). DataError: it is neither."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {key!r} must be a text that is not empty, not {shown(value)}")
    check_text(where, value)
    return value


def unique(path: Path, ids: Sequence[str]) -> None:
    """DataError: two samples have one id."""
    seen: set[str] = set()
    twice = [one for one in ids if one in seen or seen.add(one)]
    remedy = "Ids name the records of a score: give each sample its own"
    refuse(path, "ids are used twice", [repr(one) for one in twice], len(ids), remedy)
