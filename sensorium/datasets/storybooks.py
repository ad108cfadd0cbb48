"""storybooks: the pages of picture books, one picture and its sentences, in some sixty languages.

From African Storybook (CC BY, said per story) and Book Dash (CC BY 4.0); credits in the list.
94 books with 1,078 pages to train on, 41 with 457 to test on; no book or illustration is in both.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sensorium.data.errors import DataError
from sensorium.datasets import catalogue
from sensorium.datasets.files import Pictures


def storybooks(
    root: str | Path | None = None,
    part: catalogue.Part = "train",
    languages: Sequence[str] = ("en",),
    alt: bool = False,
) -> Pictures:
    """Pages in reading order, each with its text in these languages (ISO 639-1 or 639-3 codes).

    Pages without a text in any of them are left out. The text tells the story; `alt` adds the
    English description of the picture that Book Dash's pages have. `ids` are book:page, pages
    counted from 1; a few pages show the same picture as another. `root` is the catalogue's
    folder (default: SENSORIUM_DATA).
    """
    folder = catalogue.root(root) / "storybooks"
    rows = catalogue.records(folder, "stories", part, image=None)
    files: list[str] = []
    texts: list[tuple[str, ...]] = []
    ids: list[str] = []
    spoken: Counter[str] = Counter()
    named: list[tuple[str, str]] = []
    for where, row in rows:
        book = catalogue.text(where, row, "id")
        for place, page in enumerate(catalogue.several(where, row, "pages"), 1):
            if not isinstance(page, dict):
                raise DataError(f"{where}: page {place} must be an object")
            image = catalogue.text(f"{where}, page {place}", page, "image")
            named.append((f"{where}, page {place}", image))
            by_language = catalogue.table(f"{where}, page {place}", page, "text")
            said = {
                code: catalogue.text(f"{where}, page {place}", by_language, code)
                for code in by_language
            }
            spoken.update(code for code, t in said.items() if t.strip())
            chosen = [said[code] for code in languages if said.get(code, "").strip()]
            if chosen and alt and page.get("alt"):
                chosen.append(catalogue.text(f"{where}, page {place}", page, "alt"))
            if chosen:
                files.append(image)
                texts.append(tuple(chosen))
                ids.append(f"{book}:{place}")
    unknown = [code for code in languages if code not in spoken]
    if unknown or not languages or isinstance(languages, str):
        counts = ", ".join(f"{code} {count}" for code, count in spoken.most_common())
        raise DataError(
            f"languages {languages!r}: give a list of codes; the {part} list has, with pages: "
            f"{counts}"
        )
    catalogue.check_pictures(folder / f"stories.{part}.jsonl", named)
    return Pictures(folder, files, texts, ids)
