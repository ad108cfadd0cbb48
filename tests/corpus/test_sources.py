"""Sources: folders, checkouts, archives and tables; and all that can be wrong with them."""

import gzip
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from sensorium.corpus.document import Document
from sensorium.corpus.found import Refused
from sensorium.corpus.sources import read, units
from sensorium.data.errors import DataError

MIT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this "
    "software ... The above copyright notice and this permission notice shall be included"
)
LARGEST = 1000


def split(source: Path) -> tuple[dict[str, Document], dict[str, str]]:
    """Documents by path, and why others are none, by path."""
    found = list(read(source, LARGEST))
    documents = {d.path: d for d in found if isinstance(d, Document)}
    return documents, {r.path: r.why.reason for r in found if isinstance(r, Refused)}


def tree(at: Path) -> Path:
    """A folder with good files and every bad one."""
    (at / "src").mkdir(parents=True)
    (at / "LICENSE").write_text(MIT)
    (at / "src/a.py").write_text("x = 1\n")
    (at / "src/b\nc.py").write_text("y = 2\n")
    (at / "src/bom.py").write_bytes(b"\xef\xbb\xbfz = 3\n")
    (at / "binary.bin").write_bytes(b"ab\0cd")
    (at / "latin.c").write_bytes(b"/* \xe9 */")
    (at / "empty.py").write_text("")
    (at / "blank.py").write_text(" \n\n")
    with (at / "huge.py").open("wb") as file:
        file.truncate(2**30)  # a sparse file: 1 GiB that takes no room
    (at / "loop").symlink_to(at)
    (at / "away.py").symlink_to("/etc/passwd")
    (at / "module").mkdir()
    (at / "module/.git").write_text("gitdir: ../.git/modules/module\n")
    (at / "module/inside.py").write_text("n = 1\n")
    (at / ".git").mkdir()
    (at / ".git/config").write_text('[remote "origin"]\n\turl = git@host.org:anna/tools.git\n')
    os.mkfifo(at / "pipe")
    os.close(os.open(os.fsencode(at) + b"/odd\xff.py", os.O_CREAT))
    return at


def test_a_checkout_with_everything_bad_in_it(tmp_path: Path) -> None:
    documents, refused = split(tree(tmp_path / "tools"))
    assert set(documents) == {"LICENSE", "src/a.py", "src/b\nc.py", "src/bom.py"}
    assert documents["src/bom.py"].content == "z = 3\n"
    assert documents["src/a.py"].repo == "anna/tools"
    assert documents["src/a.py"].licenses == ("MIT",)
    assert documents["src/a.py"].hexsha == "7d4290a117a4ddcc11daae7ea675841033830c8f"
    assert refused == {
        "binary.bin": "binary",
        "latin.c": "not UTF-8",
        "empty.py": "empty",
        "blank.py": "empty",
        "huge.py": "more than 1,000 bytes",
        "loop": "symbolic link",
        "away.py": "symbolic link",
        "module": "submodule",
        "pipe": "no plain file",
        "odd\\xff.py": "empty",
    }


def test_archives_hold_what_the_folder_holds(tmp_path: Path) -> None:
    files = {"p-1/LICENSE": MIT, "p-1/a.py": "x = 1\n", "p-1/sub/b.c": "int b;\n"}
    for kind in ("tar", "tar.gz", "tar.xz", "tar.bz2"):
        with tarfile.open(tmp_path / f"p-1.{kind}", f"w:{kind[4:]}") as archive:  # type: ignore[call-overload]
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
            for name, link in (("p-1/loop", tarfile.SYMTYPE), ("p-1/hard", tarfile.LNKTYPE)):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = link, "p-1/a.py"
                archive.addfile(info)
    with zipfile.ZipFile(tmp_path / "p-1.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    for at in units([tmp_path]):
        documents, refused = split(at)
        assert {path: d.content for path, d in documents.items()} == files, at
        assert {d.licenses for d in documents.values()} == {("MIT",)}
        assert {d.repo for d in documents.values()} == {"p-1"}
        if at.suffix != ".zip":
            assert refused == {"p-1/loop": "symbolic link", "p-1/hard": "hard link"}


@pytest.mark.parametrize("ending", [".tar.gz", ".tar", ".zip", ".tar.xz"])
def test_a_damaged_archive_is_left_out_whole(tmp_path: Path, ending: str) -> None:
    at = tmp_path / f"bad{ending}"
    at.write_bytes(b"PK\x03\x04 not an archive at all" * 40)
    documents, refused = split(at)
    assert not documents and refused == {at.name: "damaged archive"}


def test_an_archive_that_is_cut_off(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("a.py")
        info.size = 900
        archive.addfile(info, io.BytesIO(os.urandom(900)))
    whole = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    assert split(tmp_path / "cut.tar.gz") == ({}, {"cut.tar.gz": "damaged archive"})


ROW = {"content": "x = 1\n", "max_stars_repo_name": "o/n", "max_stars_repo_path": "a.py"}


def test_tables_with_the_columns_of_the_stack(tmp_path: Path) -> None:
    rows = [
        ROW | {"max_stars_repo_licenses": ["MIT"], "max_stars_count": 7},
        ROW | {"content": "x" * 2000, "max_stars_repo_licenses": [], "max_stars_count": None},
        ROW | {"content": None, "max_stars_repo_licenses": ["MIT"], "max_stars_count": 1},
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    text = "".join(json.dumps(row) + "\n" for row in rows) + "no json\n[1]\n\n"
    (tmp_path / "t.jsonl").write_text(text)
    (tmp_path / "t2.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    for at in units([tmp_path]):
        found = list(read(at, LARGEST))
        assert found[0] == Document(
            "x = 1\n",
            "a.py",
            "o/n",
            ("MIT",),
            "",
            "py",
            7,
            found[0].hexsha,  # type: ignore[union-attr]
        )
        reasons = [r.why.reason for r in found[1:] if isinstance(r, Refused)]
        plain = ["more than 1,000 bytes", "no text"]
        more = [] if at.suffix == ".parquet" else ["no JSON", "no JSON object"]
        assert reasons == plain + more


def test_a_line_of_json_beyond_all_bounds_is_one_skip(tmp_path: Path) -> None:
    at = tmp_path / "t.jsonl"
    at.write_text(json.dumps(ROW | {"content": "x" * 50_000}) + "\n" + json.dumps(ROW) + "\n")
    found = list(read(at, LARGEST))
    assert [type(one).__name__ for one in found] == ["Refused", "Document"]


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.parquet").write_text("no parquet")
    (tmp_path / "b.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(DataError, match="is of no kind that is read"):
        units([tmp_path / "a.txt"])
    with pytest.raises(DataError, match="does not exist"):
        units([tmp_path / "nothing"])
    with pytest.raises(DataError, match="not a Parquet file"):
        list(read(tmp_path / "a.parquet", LARGEST))
    with pytest.raises(DataError, match="has no column content or text"):
        list(read(tmp_path / "b.jsonl", LARGEST))
