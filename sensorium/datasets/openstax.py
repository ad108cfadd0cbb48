"""openstax: pictures of open textbooks with an alt text and a caption, in up to three languages.

From the OpenStax books and their Spanish and Polish editions; CC BY 4.0 (biology: CC BY 3.0),
credits in the list. The alt text says what the picture shows, the caption what the book says of
it: two independent texts of one picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sensorium.data.errors import DataError
from sensorium.datasets import catalogue
from sensorium.datasets.files import Pictures, listed

Text = Literal["alt", "caption"]

LANGUAGES = ("en", "es", "pl")


def captions(
    root: str | Path | None = None,
    part: catalogue.Part = "train",
    texts: Sequence[Text] = ("alt", "caption"),
    kind: Literal["photo", "figure"] | None = None,
) -> Pictures:
    """1,472 pictures to train on, 347 to test on, in English; `texts` in the order given.

    `kind` keeps photographs or figures only (a rule of the set's makers, right for about 95 in
    100 photographs). `root` is the catalogue's folder (default: SENSORIUM_DATA).
    """
    check(texts)
    if kind not in (None, "photo", "figure"):
        raise DataError(f"kind {kind!r}: must be 'photo', 'figure' or None")
    folder = catalogue.root(root) / "openstax"
    rows = catalogue.records(folder, "captions", part)
    kept = [(where, row) for where, row in rows if kind is None or row.get("kind") == kind]
    said = [tuple(catalogue.text(where, row, t) for t in texts) for where, row in kept]
    return pictures(folder, kept, said)


def multilingual(
    root: str | Path | None = None,
    part: catalogue.Part = "train",
    languages: Sequence[str] = LANGUAGES,
    texts: Sequence[Text] = ("alt", "caption"),
) -> Pictures:
    """437 pictures to train on, 102 to test on, each with its texts in these languages.

    A picture has English and one or both of es and pl; a text that the picture lacks is left out
    (some Polish alt texts), and so is a picture without any text asked for: a single language
    gives a smaller set (join by id). Test pictures may be in the test list of `captions` too,
    never in its training list.
    """
    check(texts)
    if not languages or not set(languages) <= set(LANGUAGES):
        raise DataError(f"languages {tuple(languages)}: choose from {listed(LANGUAGES)}")
    folder = catalogue.root(root) / "openstax"
    rows = catalogue.records(folder, "multilingual", part)
    said: list[tuple[str, ...]] = []
    for where, row in rows:
        by_language = catalogue.table(where, row, "texts")
        found = [
            catalogue.text(f"{where}: {code}", catalogue.table(where, by_language, code), t)
            for code in languages
            if code in by_language
            for t in texts
        ]
        said.append(tuple(t for t in found if t.strip()))
    kept = [i for i, some in enumerate(said) if some]
    return pictures(folder, [rows[i] for i in kept], [said[i] for i in kept])


def check(texts: Sequence[str]) -> None:
    """Which texts are asked for."""
    if isinstance(texts, str) or not texts or not set(texts) <= {"alt", "caption"}:
        raise DataError(f"texts {texts!r}: must be one or both of ('alt', 'caption')")


def pictures(
    folder: Path, rows: Sequence[tuple[str, dict]], said: Sequence[tuple[str, ...]]
) -> Pictures:
    """The rows as a data set, by the ids of the list."""
    files = [catalogue.text(where, row, "image") for where, row in rows]
    return Pictures(folder, files, said, [catalogue.text(where, row, "id") for where, row in rows])
