"""The user's own pictures: each way of writing captions gives the same data set, or an error."""

import csv
import io
import json
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.errors import DataError
from sensorium.datasets.folder import fingerprint, folder, labelled_folder

HARD = [
    "A plain cat.",
    'He said "meow", twice',
    '"all of it quoted"',
    "tab\there",
    "two\nlines",
    "Кошка на окне",
    "窓辺の猫",
    "قطة على النافذة",
    "บ้าน แมว",
    "🐈‍⬛ and e\u0301 and \u202eright to left",
    "word " * 10_000,
    "trailing space kept? ",
    "comma, comma;semicolon",
]


def picture(colour: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (colour % 256, 40, 90)).save(file, "JPEG")
    return file.getvalue()


def pictures(root: Path, count: int) -> list[str]:
    names = [f"pics/{i:03}.jpg" for i in range(count)]
    (root / "pics").mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (root / name).write_bytes(picture(i))
    return names


def write_csv(path: Path, rows: list[list[str]], delimiter: str, start: str = "") -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write(start)
        csv.writer(file, delimiter=delimiter).writerows(rows)


def write(kind: str, root: Path, names: list[str], texts: list[str]) -> None:
    """The list file of one kind, as the usual tool writes it."""
    pairs = list(zip(names, texts, strict=True))
    if kind == "jsonl":
        rows = [json.dumps({"image": n, "text": t}) for n, t in pairs]
        (root / "captions.jsonl").write_text("\n".join(rows), encoding="utf-8")
    elif kind in ("csv", "tsv"):
        rows = [["file_name", "caption"], *map(list, pairs)]
        write_csv(root / f"captions.{kind}", rows, "," if kind == "csv" else "\t")
    elif kind == "csv from a spreadsheet":
        write_csv(
            root / "list.csv", [["Title", "Path"], *([t, n] for n, t in pairs)], ",", "\ufeff"
        )
    elif kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = arrow.table({"filepath": names, "title": texts})
        parquet.write_table(table, root / "captions.parquet", row_group_size=4)
    elif kind == "sidecar":
        for name, text in pairs:
            (root / name).with_suffix(".txt").write_bytes(text.encode())


KINDS = ["jsonl", "csv", "tsv", "csv from a spreadsheet", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_pictures_and_texts_in_any_script(tmp_path: Path, kind: str):
    names = pictures(tmp_path, len(HARD))
    write(kind, tmp_path, names, HARD)
    data = folder(tmp_path)
    assert len(data) == len(HARD)
    assert [s.texts for s in data] == [(t,) for t in HARD]
    assert [s.id for s in data] == names
    assert [s.image for s in data] == [(tmp_path / n).read_bytes() for n in names]


def test_text_files_beside_the_pictures(tmp_path: Path):
    names = pictures(tmp_path, len(HARD))
    write("sidecar", tmp_path, names, HARD)
    (tmp_path / "LICENSE.txt").write_text("texts without a picture are no captions")
    assert [s.texts for s in folder(tmp_path)] == [(t.strip(),) for t in HARD]


def test_a_data_set_travels_to_a_worker_and_counts_from_the_end(tmp_path: Path):
    names = pictures(tmp_path, 3)
    write("csv", tmp_path, names, HARD[:3])
    data = pickle.loads(pickle.dumps(folder(tmp_path)))
    assert data[-1].id == names[2]
    assert [s.id for s in data[1:]] == names[1:]
    with pytest.raises(IndexError):
        data[3]


def test_rows_of_the_same_picture_become_its_captions(tmp_path: Path):
    pictures(tmp_path, 2)
    rows = [
        ["image", "text"],
        ["pics/000.jpg", "a"],
        ["pics/001.jpg", "b"],
        ["./pics//000.jpg", "c"],
    ]
    write_csv(tmp_path / "captions.csv", rows, ",")
    assert [s.texts for s in folder(tmp_path)] == [("a", "c"), ("b",)]


def test_lists_of_captions_and_several_columns(tmp_path: Path):
    name = pictures(tmp_path, 1)[0]
    row = {"image": name, "captions": ["a", "b"], "alt": "c"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=r"'captions', 'alt' could each be the text.*text_column="):
        folder(tmp_path)
    assert folder(tmp_path, text_column="alt")[0].texts == ("c",)
    assert folder(tmp_path / "x.jsonl", text_column=("captions", "alt"))[0].texts == ("a", "b", "c")


def test_which_list_is_read(tmp_path: Path):
    names = pictures(tmp_path, 1)
    write_csv(tmp_path / "a.csv", [["image", "text"], [names[0], "from a"]], ",")
    assert folder(tmp_path)[0].texts == ("from a",)
    write_csv(tmp_path / "b.csv", [["image", "text"], [names[0], "from b"]], ",")
    with pytest.raises(DataError, match=r"several lists, 'a.csv', 'b.csv'.*captions="):
        folder(tmp_path)
    assert folder(tmp_path, captions="b.csv")[0].texts == ("from b",)
    write_csv(tmp_path / "captions.csv", [["image", "text"], [names[0], "the one"]], ",")
    assert folder(tmp_path)[0].texts == ("the one",)


BAD_LISTS = {
    "no text column": (
        "captions.csv",
        "image,words\npics/000.jpg,a\n",
        "columns found are 'image', 'words'.*text_column=",
    ),
    "no header": ("captions.csv", "pics/000.jpg,a\npics/001.jpg,b\n", "no column with the picture"),
    "a comma too many": (
        "captions.csv",
        "image,text\npics/000.jpg,a, b\n",
        r"row 2 \(line 2\): has 3 fields",
    ),
    "a field too few": ("captions.csv", "image,text\npics/000.jpg\n", "row 2.*has 1 fields"),
    "a tab in a text": (
        "captions.tsv",
        "image\ttext\npics/000.jpg\ta\tb\n",
        "row 2.*a tab or line break",
    ),
    "an open quote": (
        "captions.tsv",
        'image\ttext\npics/000.jpg\t"a\n',
        "row 2 .from line 2.*unexpected end",
    ),
    "a quote closed early": (
        "captions.csv",
        'image,text\npics/000.jpg,"a" b\n',
        'row 2.*inside as ""',
    ),
    "two stray quotes": (
        "captions.tsv",
        'image\ttext\npics/000.jpg\t"a\npics/001.jpg\tb"\n',
        "row 2.*rows were swallowed",
    ),
    "same name twice": ("captions.csv", "image,text,text\n", "two columns have the same name"),
    "not JSON": (
        "captions.jsonl",
        '{"image": "pics/000.jpg", "text": "a"}\n\nnot json\n',
        "row 3: not a JSON value",
    ),
    "not an object": ("captions.jsonl", '["pics/000.jpg", "a"]\n', "row 1: must be a JSON object"),
    "too deep": ("captions.jsonl", "[" * 100_000, "row 1: not a JSON value: nested too deeply"),
    "huge number": ("captions.jsonl", "9" * 10_000, "row 1: not a JSON value"),
    "column gone": (
        "captions.jsonl",
        '{"image": "pics/000.jpg", "text": "a"}\n{"image": "pics/001.jpg"}',
        "row 2: has no 'text'",
    ),
    "number as text": (
        "captions.jsonl",
        '{"image": "pics/000.jpg", "text": 7}',
        "row 1: 'text' must be a text",
    ),
    "half a pair": (
        "captions.jsonl",
        '{"image": "pics/000.jpg", "text": "\\ud800"}',
        "row 1.*half a surrogate pair",
    ),
    "zero byte": (
        "captions.jsonl",
        '{"image": "pics/000.jpg", "text": "a\\u0000"}',
        "row 1.*zero byte",
    ),
    "missing": (
        "captions.csv",
        "image,text\npics/000.jpg,a\nnone.jpg,b\n",
        "1 of 2 rows.*row 3: 'none.jpg' does not exist",
    ),
    "backslash": ("captions.csv", "image,text\npics\\000.jpg,a\n", "separated by '/'"),
    "absolute": (
        "captions.csv",
        "image,text\n/etc/hostname,a\n",
        "row 2: '/etc/hostname' is an absolute path",
    ),
    "climbing": ("captions.csv", "image,text\npics/../../x.jpg,a\n", "climbs out"),
    "address": ("captions.csv", "image,text\nhttps://example.org/a.jpg,a\n", "nothing is fetched"),
    "folder": ("captions.csv", "image,text\npics,a\n", "not a plain file"),
    "link out": ("captions.csv", "image,text\nout.jpg,a\n", "leads out of the folder"),
    "link folder out": (
        "captions.csv",
        "image,text\nouter/hostname,a\n",
        "leads out of the folder",
    ),
    "empty texts": (
        "captions.csv",
        "image,text\npics/000.jpg,\npics/001.jpg,b\n",
        "1 of 2 rows have an empty text: row 2.*drop_empty",
    ),
    "only a header": ("captions.csv", "image,text\n", "no picture with a text"),
    "nothing": ("captions.csv", "", "no picture with a text"),
    "Latin-1": (
        "captions.csv",
        "image,text\npics/000.jpg,caf\udce9\n",
        "line 2: byte 17 is not UTF-8",
    ),
    "binary": ("captions.parquet", "PAR1 not really", "not a Parquet file"),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_bad_lists_name_file_row_and_remedy(tmp_path: Path, name: str):
    file, content, message = BAD_LISTS[name]
    pictures(tmp_path, 2)
    (tmp_path / "out.jpg").symlink_to("/etc/hostname")
    (tmp_path / "outer").symlink_to("/etc")
    (tmp_path / file).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=f"(?s){file}.*{message}"):
        folder(tmp_path)


def test_utf16_is_named(tmp_path: Path):
    (tmp_path / "captions.tsv").write_bytes("image\ttext\n".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16; save it as UTF-8"):
        folder(tmp_path)


def test_links_inside_the_folder_are_followed(tmp_path: Path):
    pictures(tmp_path, 1)
    (tmp_path / "again.jpg").symlink_to("pics/000.jpg")
    write_csv(tmp_path / "captions.csv", [["image", "text"], ["again.jpg", "a"]], ",")
    assert folder(tmp_path)[0].image == picture(0)


def test_empty_texts_can_be_left_out(tmp_path: Path):
    names = pictures(tmp_path, 3)
    rows = [["image", "text"], [names[0], " "], [names[1], "b"], [names[1], ""], [names[2], "c"]]
    write_csv(tmp_path / "captions.csv", rows, ",")
    with pytest.raises(DataError, match="2 of 4 rows have an empty text: row 2; row 4"):
        folder(tmp_path)
    assert [s.texts for s in folder(tmp_path, drop_empty=True)] == [("b",), ("c",)]


def test_pictures_without_a_text_file(tmp_path: Path):
    names = pictures(tmp_path, 3)
    with pytest.raises(DataError, match="3 pictures but no captions"):
        folder(tmp_path)
    write("sidecar", tmp_path, names[:2], ["a", "b"])
    with pytest.raises(
        DataError, match=r"1 of 3 pictures have no text beside them: 'pics/002.jpg'"
    ):
        folder(tmp_path)
    assert len(folder(tmp_path, drop_empty=True)) == 2
    (tmp_path / "pics" / "000.png").write_bytes(picture())
    with pytest.raises(DataError, match=r"share one text file: 'pics/000.jpg' and 'pics/000.png'"):
        folder(tmp_path)


def test_what_is_no_data_set(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        folder(tmp_path / "none")
    with pytest.raises(DataError, match="no pictures and no list"):
        folder(tmp_path)
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(DataError, match="for tar shards use"):
        folder(tmp_path / "a.tar")
    with pytest.raises(DataError, match="no such file of captions"):
        folder(tmp_path, captions="b.csv")


def test_progress_reaches_the_end(tmp_path: Path):
    names = pictures(tmp_path, 3)
    write("csv", tmp_path, names, HARD[:3])
    heard = []
    folder(tmp_path, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (3, 3)


# --- Parquet with the pictures inside ----------------------------------------------------------


def embedded(root: Path, column: list, texts: list, statistics: bool = True) -> Path:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = root / "data.parquet"
    table = arrow.table({"image": column, "text": texts})
    parquet.write_table(table, path, row_group_size=2, write_statistics=statistics)
    return path


@pytest.mark.parametrize("statistics", [True, False])
def test_pictures_inside_parquet(tmp_path: Path, statistics: bool):
    column = [{"bytes": picture(i), "path": f"{i}.jpg"} for i in range(5)]
    texts = [["a", "b"], ["c"], ["", "d"], [], ["e"]]
    path = embedded(tmp_path, column, texts, statistics)
    with pytest.raises(DataError, match="2 of 5 rows have an empty text: row 3; row 4"):
        folder(path)
    data = folder(path, drop_empty=True)
    assert [s.texts for s in data] == [("a", "b"), ("c",), ("d",), ("e",)]
    assert [s.image for s in data] == [picture(i) for i in (0, 1, 2, 4)]
    assert data[3].id == "data.parquet:5"
    assert pickle.loads(pickle.dumps(data))[2] == data[2]


def test_plain_bytes_inside_parquet(tmp_path: Path):
    path = embedded(tmp_path, [picture(0), picture(1)], ["a", "b"])
    assert [s.image for s in folder(path)] == [picture(0), picture(1)]


@pytest.mark.parametrize("statistics", [True, False])
def test_structs_that_hold_only_paths(tmp_path: Path, statistics: bool):
    names = pictures(tmp_path, 2)
    arrow = pytest.importorskip("pyarrow")
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    column = arrow.array([{"bytes": None, "path": n} for n in names], kind)
    assert [s.id for s in folder(embedded(tmp_path, column, ["a", "b"], statistics))] == names
    column = arrow.array([{"bytes": b"x", "path": None}, {"bytes": None, "path": names[0]}], kind)
    with pytest.raises(DataError, match="1 of 2 rows of 'image' hold no bytes"):
        folder(embedded(tmp_path, column, ["a", "b"], statistics))


# --- folders by class --------------------------------------------------------------------------


def test_a_folder_for_each_class(tmp_path: Path):
    for name in ("roses/a.jpg", "roses/deep/b.PNG", "asters/c.jpeg", "asters/note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture())
    data = labelled_folder(tmp_path)
    assert data.labels == ("asters", "roses")
    assert [(s.id, s.label) for s in data] == [
        ("asters/c.jpeg", 0),
        ("roses/a.jpg", 1),
        ("roses/deep/b.PNG", 1),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="1 of 3 class folders hold no picture: 'empty'"):
        labelled_folder(tmp_path)
    (tmp_path / "loose.jpg").write_bytes(picture())
    with pytest.raises(DataError, match=r"outside the class folders: 'loose.jpg'"):
        labelled_folder(tmp_path)


def test_a_class_folder_that_leads_away(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "etc").symlink_to("/etc")
    with pytest.raises(DataError, match="'etc'"):
        labelled_folder(tmp_path / "set")


# --- fingerprints ------------------------------------------------------------------------------


def test_the_fingerprint_follows_ids_and_texts_but_not_the_place(tmp_path: Path):
    seen = set()
    for i, texts in enumerate([["a", "b"], ["a", "c"], ["ab", ""]]):
        for copy in "xy":
            root = tmp_path / f"{i}{copy}"
            write("csv", root, pictures(root, 2), texts)
            seen.add(fingerprint(folder(root, drop_empty=True)))  # type: ignore[arg-type]
    assert len(seen) == 3


# --- garbage -----------------------------------------------------------------------------------

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PIECES = st.sampled_from(
    [
        b"image", b"text", b",", b"\t", b'"', b"\n", b"\r\n", b"pics/000.jpg", b"\xff",
        b"\0", b"{", b"}", b":", b"[", b"..", b"a", "é".encode(), b"\\ud800",
    ]
)  # fmt: skip


@FUZZ
@given(
    kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]),
    body=st.binary(max_size=200) | st.lists(PIECES, max_size=40).map(b"".join),
    header=st.booleans(),
)
def test_garbage_gives_rows_or_a_named_error(tmp_path: Path, kind: str, body: bytes, header: bool):
    pictures(tmp_path, 1)
    starts = {"csv": b"image,text\n", "tsv": b"image\ttext\n", "jsonl": b"", "parquet": b"PAR1"}
    path = tmp_path / f"list.{kind}"
    path.write_bytes(starts[kind] * header + body)
    try:
        data = folder(path)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert all(s.image and s.texts and all(t.strip() for t in s.texts) for s in data)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@FUZZ
@given(kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]), texts=st.lists(TEXT, min_size=1))
def test_any_text_survives_any_format(tmp_path: Path, kind: str, texts: list[str]):
    texts = [t for t in texts if t.strip()] or ["x"]
    names = [f"pics/{i:03}.jpg" for i in range(len(texts))]
    if not (tmp_path / names[-1]).exists():
        pictures(tmp_path, len(names))
    write(kind, tmp_path, names, texts)
    assert [s.texts for s in folder(tmp_path / f"captions.{kind}")] == [(t,) for t in texts]


def test_names_that_are_no_text(tmp_path: Path):
    pictures(tmp_path, 1)
    raw = os.path.join(os.fsencode(tmp_path), b"pics", b"caf\xe9.jpg")
    with open(raw, "wb") as file:
        file.write(picture())
    with pytest.raises(DataError, match="not UTF-8"):
        folder(tmp_path)
