"""Your own recordings with what is said in them: a manifest, or sound files with texts beside."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from sensorium.data.clips import Clip, Piece
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.spoken import language_code
from sensorium.datasets.catalogue import Part, listing
from sensorium.datasets.files import Inside, Rows, found_below, read, refuse
from sensorium.datasets.parts import tested
from sensorium.datasets.speech import Recordings, Spoken
from sensorium.datasets.tables import check_text, shown

MANIFEST = "manifest.jsonl"
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a", ".mp4", ".webm", ".mkv")
TASKS = ("transcribe", "translate")
WINDOW = 30.0  # seconds


class Told(NamedTuple):
    """A recording's file below the folder, and what is said in it.

    `pieces` have the times of the recording; where none are known, there is one with `end` None.
    """

    file: str
    pieces: tuple[Piece, ...]
    timed: bool
    language: str
    task: str
    before: str
    speaker: str
    id: str

    @property
    def text(self) -> str:
        """All that is said."""
        return " ".join(piece.text.strip() for piece in self.pieces)


@final
class Narrated(Rows[Spoken]):
    """Whole recordings, to be transcribed and scored."""

    def __init__(self, root: str | Path, told: Sequence[Told]):
        self.root, self.told = str(root), list(told)

    def __len__(self) -> int:
        return len(self.told)

    def sample(self, i: int) -> Spoken:
        one = self.told[i]
        data = read(self.root, one.file)
        return Spoken(data, one.text, one.language, one.speaker, one.id)


@final
class Clips(Rows[Clip]):
    """Windows of recordings, to be learnt from: a short one is its own, long ones have several.

    Args:
        seconds: of a window.
    """

    def __init__(self, root: str | Path, told: Sequence[Told], seconds: float = WINDOW):
        self.root = str(root)
        self.places = [(one, w) for one in told for w in windows(one, seconds)]

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, i: int) -> Clip:
        one, (begin, end, pieces, before) = self.places[i]
        rest = (one.language, one.task, before, one.speaker, one.id)
        return Clip(read(self.root, one.file), pieces, one.timed, begin, end, *rest)


@final
class Chains(Rows[tuple[Clip, ...]]):
    """Each clip with those that follow it, to be joined to longer ones.

    They are of the same speaker, language and task, and none has times of its own. A clip knows the
    text of the one before.
    """

    def __init__(self, clips: Clips, most: int):
        self.clips, self.most = clips, most

    def __len__(self) -> int:
        return len(self.clips)

    def sample(self, i: int) -> tuple[Clip, ...]:
        kinds = [self.kind(j) for j in range(i, min(i + self.most, len(self)))]
        many = next((k for k, kind in enumerate(kinds) if kind != kinds[0]), len(kinds))
        found = [self.clips.sample(j) for j in range(i, i + (many if kinds[0] else 1))]
        if i and kinds[0] and not found[0].before and self.kind(i - 1) == kinds[0]:
            found[0] = found[0]._replace(before=self.clips.places[i - 1][0].text)
        return tuple(found)

    def kind(self, i: int) -> tuple[str, str, str] | None:
        """What clips have in common that may be joined; None: this one may not."""
        one = self.clips.places[i][0]
        free = not one.timed and bool(one.pieces)
        return (one.speaker, one.language, one.task) if free else None


Window = tuple[float, float | None, tuple[Piece, ...], str]


def windows(told: Told, seconds: float) -> list[Window]:
    """Begin and end, what is said (in the window's time), and what was said before.

    A piece that reaches over the end is cut; the next window begins with it. Where nobody speaks
    for a window's length, there is a window of silence.
    """
    if not told.timed:
        return [(0.0, None, told.pieces, told.before)]
    out: list[Window] = []
    begin, place = 0.0, 0
    while place < len(told.pieces):
        end, mine, first = begin + seconds, [], place
        while place < len(told.pieces) and told.pieces[place].start < end:
            one = told.pieces[place]
            assert one.end is not None
            mine.append(Piece(one.start - begin, one.end - begin, one.text))
            if one.end > end:
                mine[-1] = mine[-1]._replace(end=None)
                break
            place += 1
        before = " ".join([told.before, *(p.text.strip() for p in told.pieces[:first])]).strip()
        out.append((begin, end, tuple(mine), before))
        begin = told.pieces[place].start if mine and mine[-1].end is None else end
    return out


# --- reading ------------------------------------------------------------------------------------


def narrated(path: str | Path, language: str = "en") -> tuple[Path, list[Told]]:
    """The folder, and all its recordings.

    `path` is a manifest, or a folder with one (`manifest.jsonl`), or a folder of sound files with a
    text file of the same name beside each. A row of a manifest has `audio` (a path below its
    folder) and `text`, or `segments`: a list of `start`, `end` (seconds) and `text`; and where they
    are known `language`, `task` (translate: the text is English, the sound is not), `speaker`,
    `before` (a text that was said before) and `id`. A text that is empty says that nobody speaks.

    Args:
        language: of recordings whose row names none.

    Raises:
        DataError: what is wrong, file, row, and what to do.
    """
    at, language = Path(path), language_code(language)
    if not at.exists():
        raise DataError(f"{at}: does not exist")
    if at.is_dir() and not (at / MANIFEST).is_file():
        return at, beside(at, language)
    at = at / MANIFEST if at.is_dir() else at
    rows = listing(at)
    inside = Inside(at.parent)
    bad = [
        f"row {n}: {row.get('audio')!r} {problem}"
        for n, row in rows
        if (problem := inside.judge(str(row.get("audio") or ""))[1])
    ]
    refuse(at, "rows name recordings that cannot be used", bad, len(rows), "Mend or remove them")
    told = [one(f"{at}: row {n}", row, language) for n, row in rows]
    twice = sorted({t.id for t in told if sum(t.id == u.id for u in told) > 1})[:3]
    if twice:
        raise DataError(f"{at}: rows of one id: {', '.join(twice)}; give each its own")
    return at.parent, told


def beside(root: Path, language: str) -> list[Told]:
    """Sound files with their texts beside them."""
    out, bad = [], []
    names = found_below(root, SOUNDS)
    for name in names:
        text = (root / name).with_suffix(".txt")
        if not text.is_file():
            bad.append(f"{name!r} has no {text.name} beside it")
            continue
        said = text.read_text(encoding="utf-8", errors="strict").strip()
        check_text(str(text), said)
        out.append(Told(name, whole(said), False, language, TASKS[0], "", "", name))
    refuse(root, "recordings have no text", bad, len(names), f"Write it, or a {MANIFEST}")
    if not out:
        raise DataError(f"{root}: holds no recordings ({', '.join(SOUNDS)}) and no {MANIFEST}")
    return out


def one(where: str, row: dict[str, Any], language: str) -> Told:
    """One row of a manifest."""
    said = {k: row.get(k) or "" for k in ("text", "language", "task", "speaker", "before", "id")}
    for name, value in said.items():
        if not isinstance(value, str):
            raise DataError(f"{where}: {name!r} must be a text, not {shown(value)}")
        check_text(where, value)
    task, file = said["task"] or TASKS[0], str(row["audio"])
    if task not in TASKS:
        raise DataError(f"{where}: task {task!r} is not known; there are {' and '.join(TASKS)}")
    try:
        code = language_code(said["language"]) if said["language"] else language
    except DataError as wrong:
        raise DataError(f"{where}: {wrong}") from wrong
    timed = row.get("segments") is not None
    pieces = segments(where, row["segments"]) if timed else whole(said["text"])
    if timed == ("text" in row):
        raise DataError(f"{where}: must have either a text or segments")
    speaker, before, name = said["speaker"], said["before"], said["id"] or file
    return Told(file, pieces, timed, code, task, before, speaker, name)


def whole(text: str) -> tuple[Piece, ...]:
    """A text without times; none where it is empty."""
    return (Piece(0.0, None, text.strip()),) if text.strip() else ()


def segments(where: str, given: Any) -> tuple[Piece, ...]:
    """Segments in their order, none longer than a window."""
    if not isinstance(given, list) or not given:
        raise DataError(f"{where}: 'segments' must be a list with something in it")
    out: list[Piece] = []
    for number, piece in enumerate(given, 1):
        here = f"{where}: segment {number}"
        if not isinstance(piece, dict):
            raise DataError(f"{here}: must be an object, not {shown(piece)}")
        start, end, text = (piece.get(k) for k in ("start", "end", "text"))
        good = all(isinstance(t, int | float) and not isinstance(t, bool) for t in (start, end))
        if not good or not isinstance(text, str) or not text.strip():
            raise DataError(f"{here}: needs numbers 'start' and 'end', and a 'text'")
        start, end = float(start), float(end)  # type: ignore[arg-type]
        last = out[-1].end if out else 0.0
        assert last is not None
        if not last <= start < end <= start + WINDOW:
            raise DataError(
                f"{here}: from {start} to {end} s: must follow the one before, and have at most"
                f" {WINDOW:g} s"
            )
        out.append(Piece(start, end, text))
    return tuple(out)


def catalogued(name: str, part: Part, path: str | Path | None = None) -> tuple[Path, list[Told]]:
    """A set of the catalogue in the same form (`datasets.speech`)."""
    found = Recordings(name, part, path)
    rows = [
        Told(r["audio"], whole(r["text"]), False, "en", TASKS[0], "", r["speaker"], r["id"])
        for r in found.rows
    ]
    return found.folder, rows


def parted(told: Sequence[Told], which: Part) -> list[Told]:
    """The recordings of one part: a tenth, told by their ids, is the test's."""
    return [one for one in told if tested(one.id) == (which == "test")]
