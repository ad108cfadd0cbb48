"""documents: words and pictures in reading order: MMC4 and OBELICS files, openstax, storybooks.

MMC4 (Zhu et al. 2023, arXiv 2304.06939) has a list of sentences and pictures that each belong to
one of them; OBELICS (Laurencon et al. 2023, arXiv 2306.16527) two lists, of which one has a value
at each place. Pictures are files below a folder: nothing is ever fetched.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

from sensorium.data.errors import DataError
from sensorium.data.interleaved import PICTURE, Document, Part, sound
from sensorium.datasets import catalogue
from sensorium.datasets.files import Inside, Pictures, Rows, read, refuse
from sensorium.datasets.tables import check_text, jsonl, shown

Missing = Literal["refuse", "drop"]
SURE = 0.24  # the least similarity of a picture and its sentence that OpenFlamingo reads


class Entry(NamedTuple):
    """A document whose pictures are still files."""

    parts: tuple[Part, ...]
    files: tuple[str, ...]
    id: str


@final
class Documents(Rows[Document]):
    """Documents about picture files below `root`."""

    def __init__(self, root: str | Path, entries: Sequence[Entry]):
        self.root, self.entries = str(root), entries

    def __len__(self) -> int:
        return len(self.entries)

    def sample(self, i: int) -> Document:
        one = self.entries[i]
        return Document(one.parts, tuple(read(self.root, f) for f in one.files), one.id)

    @property
    def ids(self) -> list[str]:
        """What errors call each."""
        return [one.id for one in self.entries]


def mmc4(
    path: str | Path,
    root: str | Path | None = None,
    sure: float = SURE,
    missing: Missing = "refuse",
) -> Documents:
    """A file of MMC4: a document a line, with `text_list` and `image_info`.

    A picture stands before the sentence that `matched_text_index` names; those whose `matched_sim`
    is below `sure` are left out, and documents without any picture then. `similarity_matrix`, from
    which that match was made, is not read.

    Args:
        root: where the pictures (`image_name`) lie; the file's own folder when None.
        missing: whether a picture that is not there is an error, or left out (most of MMC4 is
            addresses, many of which are dead).

    Raises:
        DataError: not such a file; documents that cannot be used, all counted and the first ones
            named.
        OSError: it cannot be opened.
    """

    def entry(row: Mapping[str, Any], name: str) -> Entry:
        texts, info = row.get("text_list"), row.get("image_info")
        if not isinstance(texts, list) or not isinstance(info, list):
            raise DataError("needs the lists 'text_list' and 'image_info'")
        before: dict[int, list[str]] = {}
        for one in info:
            if not isinstance(one, Mapping) or not isinstance(one.get("image_name"), str):
                raise DataError(f"a picture needs an 'image_name', it is {shown(one)}")
            place, sim = one.get("matched_text_index"), one.get("matched_sim", 1.0)
            if type(place) is not int or not 0 <= place < len(texts):
                raise DataError(f"'matched_text_index' {place!r:.20} is none of {len(texts)} texts")
            if type(sim) not in (int, float):
                raise DataError(f"'matched_sim' is no number: {sim!r:.20}")
            if sim >= sure:
                before.setdefault(place, []).append(one["image_name"])
        parts: list[Part] = []
        files: list[str] = []
        for place, text in enumerate(texts):
            found = before.get(place, [])
            parts += [*[PICTURE] * len(found), _text(text, f"text {place}")]
            files += found
        return Entry(tuple(parts), tuple(files), name)

    return _from(path, root, entry, missing)


def obelics(
    path: str | Path, root: str | Path | None = None, missing: Missing = "refuse"
) -> Documents:
    """A file of OBELICS as JSON lines: `images` and `texts`, one of them null at each place.

    `images` are names of files below `root` (the file's own folder when None); addresses are
    refused. Arguments and errors as of `mmc4`.
    """

    def entry(row: Mapping[str, Any], name: str) -> Entry:
        images, texts = row.get("images"), row.get("texts")
        if not isinstance(images, list) or not isinstance(texts, list):
            raise DataError("needs the lists 'images' and 'texts'")
        if len(images) != len(texts):
            raise DataError(f"{len(images)} 'images' and {len(texts)} 'texts': equally many")
        parts: list[Part] = []
        files: list[str] = []
        for place, (image, text) in enumerate(zip(images, texts, strict=True)):
            if (image is None) == (text is None):
                raise DataError(f"place {place}: one of image and text, the other null")
            if image is None:
                parts.append(_text(text, f"place {place}"))
            elif isinstance(image, str):
                parts.append(PICTURE)
                files.append(image)
            else:
                raise DataError(f"place {place}: a picture is a name, not {shown(image)}")
        return Entry(tuple(parts), tuple(files), name)

    return _from(path, root, entry, missing)


def _text(text: object, where: str) -> str:
    if not isinstance(text, str):
        raise DataError(f"{where} is no text but {shown(text)}")
    check_text(where, text)
    return text


def _from(
    path: str | Path,
    root: str | Path | None,
    entry: Callable[[Mapping[str, Any], str], Entry],
    missing: str,
) -> Documents:
    """The rows of a file that show a picture; all that is wrong is said at once."""
    path = Path(path)
    inside, judged = Inside(path.parent if root is None else root), dict[str, str]()
    entries, bad, count = [], [], 0
    for number, row in jsonl(path):
        count += 1
        name = f"{path.name}: row {number}"
        try:
            one = entry(row, name)
            for file in one.files:
                if file not in judged:
                    judged[file] = inside.judge(file)[1]
            gone = {f for f in one.files if missing == "drop" and "not exist" in judged[f]}
            one = without(one, gone)
            wrong = [f"picture {file!r} {judged[file]}" for file in one.files if judged[file]]
            if wrong:
                raise DataError(wrong[0])
            if one.files:
                sound(Document(one.parts, (), name), len(one.files))
                entries.append(one)
        except DataError as why:
            bad.append(f"row {number}: {str(why).removeprefix(f'{name}: ')}")
    refuse(path, "documents cannot be used", bad, count, "Mend them or take them out")
    if not entries:
        raise DataError(f"{path}: none of its {count} documents shows a picture")
    return Documents(inside.root, entries)


def without(one: Entry, gone: set[str]) -> Entry:
    """The document without these pictures and their places."""
    if not gone:
        return one
    files = iter(one.files)
    parts = tuple(p for p in one.parts if isinstance(p, str) or next(files) not in gone)
    return Entry(parts, tuple(f for f in one.files if f not in gone), one.id)


# --- from the catalogue --------------------------------------------------------------------------


def openstax(root: str | Path | None = None, part: catalogue.Part = "train") -> Documents:
    """166 sections of textbooks to train on, 42 to test on; behind a picture its caption.

    `root` is the catalogue's folder (default: SENSORIUM_DATA).
    """
    folder = catalogue.root(root) / "openstax"
    entries, named = [], []
    for where, row in catalogue.records(folder, "documents", part, image=None):
        parts: list[Part] = []
        files: list[str] = []
        for place, one in enumerate(catalogue.several(where, row, "segments"), 1):
            at = f"{where}, segment {place}"
            if not isinstance(one, dict) or one.get("type") not in ("text", "image"):
                raise DataError(f"{at} must be an object of type 'text' or 'image'")
            if one["type"] == "text":
                parts.append(catalogue.text(at, one, "text"))
                continue
            files.append(catalogue.text(at, one, "image"))
            named.append((at, files[-1]))
            parts += [PICTURE, catalogue.text(at, one, "caption")]
        if files:
            entries.append(Entry(tuple(parts), tuple(files), catalogue.text(where, row, "id")))
    catalogue.check_pictures(folder / f"documents.{part}.jsonl", named)
    return Documents(folder, entries)


def storybooks(
    root: str | Path | None = None, part: catalogue.Part = "train", language: str = "en"
) -> Documents:
    """94 picture books to train on, 41 to test on: a page's picture, then its sentences.

    Pages without a text in that language are left out, and books without such a page. `root` is
    the catalogue's folder (default: SENSORIUM_DATA).
    """
    folder = catalogue.root(root) / "storybooks"
    entries, named = [], []
    for where, row in catalogue.records(folder, "stories", part, image=None):
        parts: list[Part] = []
        files: list[str] = []
        for place, page in enumerate(catalogue.several(where, row, "pages"), 1):
            at = f"{where}, page {place}"
            if not isinstance(page, dict):
                raise DataError(f"{at} must be an object")
            said = catalogue.table(at, page, "text")
            if language in said and catalogue.text(at, said, language).strip():
                files.append(catalogue.text(at, page, "image"))
                named.append((at, files[-1]))
                parts += [PICTURE, said[language]]
        if files:
            entries.append(Entry(tuple(parts), tuple(files), catalogue.text(where, row, "id")))
    if not entries:
        raise DataError(f"language {language!r}: no page of the {part} list has it")
    catalogue.check_pictures(folder / f"stories.{part}.jsonl", named)
    return Documents(folder, entries)


def pairs(of: Pictures, text: int = 0) -> Documents:
    """Pictures with a text each as documents of one picture: the text of that number.

    Pictures without such a text are left out.
    """
    rows = zip(of.files, of.texts, of.ids, strict=True)
    entries = [
        Entry((PICTURE, texts[text]), (file,), name)
        for file, texts, name in rows
        if len(texts) > text and texts[text].strip()
    ]
    if not entries:
        raise DataError(f"{of.root}: no picture has a text number {text}")
    return Documents(of.root, entries)
