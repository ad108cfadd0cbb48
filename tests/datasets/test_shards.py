"""Tar shards: equal to the standard library's reading of them, exact, strict on damage."""

import gzip
import hashlib
import io
import json
import os
import pickle
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.errors import DataError
from sensorium.datasets.folder import fingerprint
from sensorium.datasets.shards import shards, write_shards
from sensorium.datasets.tar import members
from sensorium.types import Captioned


def picture(i: int, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5 + i % 7, 4), (i % 256, 9, 9)).save(file, kind)
    return file.getvalue()


def samples(count: int) -> list[Captioned]:
    kinds = ["JPEG", "PNG", "WEBP"]
    texts = [("a cat",), ("two", "captions\n"), ("窓辺の猫",), ("word " * 10_000,)]
    return [Captioned(picture(i, kinds[i % 3]), texts[i % 4], f"n{i}") for i in range(count)]


def tar(path: Path, files: dict[str, bytes], kind: int = tarfile.USTAR_FORMAT) -> Path:
    """An archive as the standard library writes it."""
    with tarfile.open(path, "w", format=kind) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pair(key: str, text: str = "a cat") -> dict[str, bytes]:
    return {f"{key}.jpg": picture(1), f"{key}.txt": text.encode()}


def same(data: Sequence[Captioned], wanted: Sequence[Captioned]) -> None:
    assert [(s.image, s.texts) for s in data] == [(s.image, s.texts) for s in wanted]


# --- writing and reading back ------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path: Path):
    paths = write_shards(samples(25), tmp_path, size=10)
    assert [p.name for p in paths] == [f"train-00000{i}.tar" for i in range(3)]
    data = shards(str(tmp_path / "train-{000000..000002}.tar"))
    same(data, samples(25))
    assert data[10].id == "train-000001.tar:000000010"
    assert list(data.ids) == [s.id for s in data]
    assert list(data.texts) == [s.texts for s in data]
    same(shards(paths[1:2]), samples(25)[10:20])


def test_the_standard_tools_read_what_is_written(tmp_path: Path):
    (path,) = write_shards(samples(4), tmp_path)
    with tarfile.open(path) as archive:
        found = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        assert {(m.mode, m.uid, m.mtime) for m in archive} == {(0o644, 0, 0)}
    assert found["000000000.jpg"] == picture(0) and found["000000000.txt"] == b"a cat"
    about = json.loads(found["000000001.json"])
    assert about == {"captions": ["two", "captions\n"], "id": "n1"}


def test_the_bytes_depend_on_the_samples_alone(tmp_path: Path):
    first = write_shards(samples(7), tmp_path / "a", size=3)
    second = write_shards(samples(7), tmp_path / "b", size=3)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_writing_refuses_and_leaves_nothing_half_done(tmp_path: Path):
    heard: list[tuple[int, int]] = []
    write_shards(samples(3), tmp_path, progress=lambda *n: heard.append(n))
    assert heard[-1] == (3, 3)
    with pytest.raises(DataError, match=r"holds 'train-000000.tar' already"):
        write_shards(samples(3), tmp_path)
    bad = [*samples(2), Captioned(b"no picture", ("a",), "odd one")]
    with pytest.raises(DataError, match="odd one: is no JPEG"):
        write_shards(bad, tmp_path / "new")
    assert os.listdir(tmp_path / "new") == []
    with pytest.raises(DataError, match="empty text"):
        write_shards([Captioned(picture(0), ("",), "x")], tmp_path / "new")
    with pytest.raises(DataError, match="size 0"):
        write_shards([], tmp_path, size=0)
    with pytest.raises(DataError, match=r"name '../x'"):
        write_shards([], tmp_path, name="../x")


def test_random_order_and_travel_to_a_worker(tmp_path: Path):
    wanted = samples(40)
    data = shards(write_shards(wanted, tmp_path, size=7))
    order = random.Random(3).sample(range(40), 40)
    same([data[i] for i in order], [wanted[i] for i in order])
    packed = pickle.dumps(data)
    assert len(packed) < 2000
    again = pickle.loads(packed)
    same([again[i] for i in order], [wanted[i] for i in order])
    assert fingerprint(again) == fingerprint(data)
    with pytest.raises(IndexError):
        data[40]


def test_more_shards_than_open_files(tmp_path: Path):
    wanted = samples(150)
    data = shards(write_shards(wanted, tmp_path, size=1))
    same(data, wanted)
    same([data[i] for i in range(149, -1, -1)], wanted[::-1])


# --- other people's shards ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_in_every_tar_dialect(tmp_path: Path, kind: int):
    long = "d" * 90 + "/" + "e" * (60 if kind == tarfile.USTAR_FORMAT else 160)
    keys = ["0001", long, "кошка", "./dot/猫"]
    files = {n: d for key in keys for n, d in pair(key, key).items()}
    path = tar(tmp_path / "a.tar", files, kind)
    data = shards(path)
    assert [s.texts for s in data] == [(key,) for key in keys]
    assert data[3].id == "a.tar:dot/猫"
    with tarfile.open(path) as archive:
        slow = [(m.name, m.offset_data, m.size) for m in archive]
    assert [tuple(m) for m in members(path)] == slow


def test_a_size_in_the_pax_header_and_in_binary(tmp_path: Path):
    data = b"x" * 700
    info = tarfile.TarInfo("a.jpg")
    info.size, info.pax_headers = len(data), {"size": str(len(data)), "comment": "é"}
    body = data + bytes(-len(data) % 512) + bytes(1024)
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + body)
    assert [m.size for m in members(path)] == [700]
    head = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"\x80" + (700).to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    path.write_bytes(bytes(head) + body)
    assert [m.size for m in members(path)] == [700]


def test_texts_from_json(tmp_path: Path):
    files = {
        "a.jpg": picture(0),
        "a.json": json.dumps({"caption": "one", "url": "x"}).encode(),
        "b.PNG": picture(1, "PNG"),
        "b.json": json.dumps({"caption": ["two", "three"]}).encode(),
        "b.cls": b"7",
        "c.jpg": picture(2),
        "c.json": json.dumps({"caption": "from json"}).encode(),
        "c.txt": b"from txt",
        "README": b"passed over",
        "._c.jpg": b"passed over",
    }
    path = tar(tmp_path / "a.tar", files)
    assert [s.texts for s in shards(path)] == [("one",), ("two", "three"), ("from txt",)]
    assert shards(path, text_key="caption")[2].texts == ("from json",)
    with pytest.raises(DataError, match=r"sample 'a': no column 'alt'; .*'caption', 'url'"):
        shards(path, text_key="alt")[0]


BAD_SAMPLES = {
    "sample 'a': has an empty text": {"a.jpg": b"x", "a.txt": b" \n"},
    "sample 'a': byte 1 of its text is not UTF-8": {"a.jpg": b"x", "a.txt": b"\xe9"},
    "sample 'a': its text holds a zero byte": {"a.jpg": b"x", "a.txt": b"a\0"},
    "sample 'a': its .json is not JSON": {"a.jpg": b"x", "a.json": b"{"},
    "sample 'a': its .json is not JSON: nested": {"a.jpg": b"x", "a.json": b"[" * 100_000},
    "sample 'a': its .json must be an object": {"a.jpg": b"x", "a.json": b"[]"},
    "sample 'a': no column with the text": {"a.jpg": b"x", "a.json": b"{}"},
    "sample 'a': 'text' must be a text": {"a.jpg": b"x", "a.json": b'{"text": 1}'},
    "sample 'a': holds a zero byte or half": {"a.jpg": b"x", "a.json": b'{"text": "\\ud800"}'},
}


@pytest.mark.parametrize("message", BAD_SAMPLES)
def test_a_bad_text_is_named_when_read(tmp_path: Path, message: str):
    data = shards(tar(tmp_path / "s.tar", {**BAD_SAMPLES[message], **pair("b")}))
    with pytest.raises(DataError, match=f"s.tar: {message}"):
        data[0]
    assert data[1].texts == ("a cat",)


BAD_GROUPS = {
    "'a' has 0 pictures": {"a.txt": b"x"},
    "'a' has 2 pictures": {"a.jpg": b"x", "a.png": b"x", "a.txt": b"x"},
    "'b' has no .txt or .json": {**pair("a"), "b.jpg": b"x"},
    "members of sample 'a' do not lie together": {"a.jpg": b"", **pair("b"), "a.txt": b""},
    "two members .txt": {"a.jpg": b"x", "a.txt": b"x", "a.TXT": b"x"},
    "unprintable": pair("a\nb"),
    "holds no samples": {"README": b""},
}


@pytest.mark.parametrize("message", BAD_GROUPS)
def test_incomplete_samples_are_refused_at_once(tmp_path: Path, message: str):
    with pytest.raises(DataError, match=f"(?s)s.tar: .*{message}"):
        shards(tar(tmp_path / "s.tar", BAD_GROUPS[message]))


@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "FIFOTYPE"])
def test_links_and_devices_are_refused(tmp_path: Path, kind: str):
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("evil.jpg")
        info.type, info.linkname = getattr(tarfile, kind), "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"s.tar: 'evil.jpg' is a.*only plain files are read"):
        shards(path)


def test_sparse_files_are_refused(tmp_path: Path):
    path = tmp_path / "s.tar"
    info = tarfile.TarInfo("a.jpg")
    info.type = tarfile.GNUTYPE_SPARSE
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(DataError, match=r"'a.jpg' is a sparse file"):
        shards(path)
    info = tarfile.TarInfo("a.jpg")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "a.jpg"}
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with pytest.raises(DataError, match="is a sparse file"):
        shards(path)


def test_folders_are_passed_over(tmp_path: Path):
    path = tmp_path / "s.tar"
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name, data in pair("a").items():
        (tmp_path / "in" / "deep" / name).write_bytes(data)
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "in", "in")
    assert shards(path)[0].id == "s.tar:in/deep/a"


# --- damage ------------------------------------------------------------------------------------


def test_a_cut_at_any_byte_is_refused_or_gives_the_whole_samples_before(tmp_path: Path):
    wanted = samples(4)[:3]
    (whole,) = write_shards(wanted, tmp_path / "whole")
    data = whole.read_bytes()
    path = tmp_path / "cut.tar"
    most = 0
    for length in [*range(0, len(data) - 1024, 97), len(data) - 1024]:
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut.tar: ends .*copy it again, or allow_truncated"):
            shards(path)
        try:
            some = shards(path, allow_truncated=True)
        except DataError as error:
            assert "holds no samples" in str(error)
            continue
        same(some, wanted[: len(some)])
        most = max(most, len(some))
        with pytest.raises(DataError, match="ends"):  # the stored index is no way around it
            shards(path)
    assert most == 2


def test_packed_joined_and_foreign_files(tmp_path: Path):
    path = tar(tmp_path / "a.tar", pair("a"))
    good = path.read_bytes()
    second = list(members(path))[1].offset - 512
    cases = {
        "compressed with gzip.*gunzip": gzip.compress(good),
        "goes on after its end mark": good + good,
        "byte 0: no tar header": b"PK\x03\x04" + bytes(range(256)) * 8,
        f"byte {second}: no tar header": good[:second] + b"damage" + good[second + 6 :],
        "without the end mark": b"",
    }
    for message, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"a.tar: .*{message}"):
            shards(path)


FUZZ = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4))
def test_flipped_bytes_give_samples_or_a_named_error(tmp_path: Path, changes: list):
    path = tar(tmp_path / "a.tar", {**pair("a"), **pair("b" * 200)}, tarfile.PAX_FORMAT)
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(data)
    try:
        list(shards(path))
    except DataError as error:
        assert "a.tar" in str(error)


@FUZZ
@given(st.binary(max_size=2000))
def test_garbage_gives_a_named_error(tmp_path: Path, data: bytes):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tar"):
        shards(tmp_path / "a.tar")


# --- the index beside the shard ----------------------------------------------------------------


def test_the_index_is_kept_and_used(tmp_path: Path):
    path = tar(tmp_path / "a.tar", pair("a"))
    shards(path)
    kept = tmp_path / "a.tar.idx"
    first = (kept.read_bytes(), kept.stat().st_mtime_ns)
    same(shards(path), [Captioned(picture(1), ("a cat",), "")])
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == first
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "a.tar.idx"]


def test_an_index_that_does_not_fit_is_made_again(tmp_path: Path):
    path = tar(tmp_path / "a.tar", pair("a"))
    shards(path)
    kept = tmp_path / "a.tar.idx"
    good = kept.read_bytes()
    for bad in (
        b"",
        b"garbage",
        b"[]\n",
        good[:-1],
        good[:-1] + b"z",
        b"\xff" + good,
        good + b"\n",
    ):
        kept.write_bytes(bad)
        assert shards(path)[0].id == "a.tar:a"
        assert kept.read_bytes() == good
    stamp = path.stat()
    tar(path, pair("z"))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same time
    assert path.stat().st_size == stamp.st_size
    assert shards(path)[0].id == "a.tar:z"


def test_an_index_that_points_outside_is_made_again(tmp_path: Path):
    path = tar(tmp_path / "a.tar", pair("a"))
    shards(path)
    kept = tmp_path / "a.tar.idx"
    first, _, body = kept.read_bytes().partition(b"\n")
    forged = (10**6).to_bytes(8, "little") + body[8:]
    about = {**json.loads(first), "sha256": hashlib.sha256(forged).hexdigest()}
    kept.write_bytes(json.dumps(about).encode() + b"\n" + forged)
    assert shards(path)[0].image == picture(1)


def test_a_shard_that_changes_while_in_use(tmp_path: Path):
    path = tar(tmp_path / "a.tar", pair("a"))
    data = shards(path)
    tar(path, pair("a", "another text"))
    with pytest.raises(DataError, match=r"a.tar: has changed since the data set was opened"):
        data[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path):
    path = tar(tmp_path / "a.tar", pair("a"))
    tmp_path.chmod(0o555)
    data = pickle.loads(pickle.dumps(shards(path)))
    assert data[0].texts == ("a cat",)
    assert os.listdir(tmp_path) == ["a.tar"]


# --- naming shards -----------------------------------------------------------------------------


def test_patterns(tmp_path: Path):
    for folder in ("x", "y"):
        for i in (8, 9, 10):
            (tmp_path / folder).mkdir(exist_ok=True)
            tar(tmp_path / folder / f"t-{i}.tar", pair(f"{folder}{i}"))
            tar(tmp_path / folder / f"t-{i:03}.tar", pair(f"{folder}{i}"))
    data = shards(str(tmp_path / "x" / "t-{8..10}.tar"))
    assert list(data.ids) == ["t-8.tar:x8", "t-9.tar:x9", "t-10.tar:x10"]
    assert len(shards(str(tmp_path / "x" / "t-{008..010}.tar"))) == 3
    both = shards([tmp_path / "x" / "t-8.tar", tmp_path / "y" / "t-8.tar"])
    assert list(both.ids) == [f"{tmp_path}/{f}/t-8.tar:{f}8" for f in "xy"]
    with pytest.raises(DataError, match=r"t-11.tar: no such shard"):
        shards(str(tmp_path / "x" / "t-{10..11}.tar"))
    with pytest.raises(DataError, match=r"the range {3..1} is empty"):
        shards("t-{3..1}.tar")
    with pytest.raises(DataError, match="named twice"):
        shards([tmp_path / "x" / "t-8.tar"] * 2)
    with pytest.raises(DataError, match="no shards are named"):
        shards([])
