"""Region files of every kind give back what was written, and say what is wrong with them."""

import base64
import json
import pickle
from io import BytesIO
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest

from sensorium.data.errors import DataError
from sensorium.datasets.region_files import KINDS, Needs, Seen, check, open_regions
from sensorium.datasets.region_files.arrays import packed_npz, packed_uniter
from sensorium.datasets.region_files.open import missing
from sensorium.datasets.region_files.tsv import butd_line, lxmert_line
from sensorium.datasets.region_files.write import FORMATS, writing

NAME = "r101@0123"


def drawn(name: str, n: int = 5, width: int = 8) -> Seen:
    rng = np.random.default_rng(len(name) + n)
    low = rng.uniform(0, 40, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 20, (n, 2))], axis=1).astype(np.float32)
    probs = rng.dirichlet(np.ones(7), n).astype(np.float32)
    order = np.argsort(-probs[:, 1:].max(1))
    probs = probs[order]
    return Seen(
        name,
        (80.0, 64.0),
        boxes,
        rng.random((n, width)).astype(np.float32),
        NAME,
        probs,
        probs[:, 1:].argmax(1).astype(np.int64),
        probs[:, 1:].max(1),
        rng.integers(0, 4, n).astype(np.int64),
        rng.random(n).astype(np.float32),
    )


SEEN = [drawn("a"), drawn("b/c", 9), drawn("d", 0)]


def same(got: Seen, want: Seen, *fields: str, atol: float = 0.0) -> None:
    for field in fields:
        a, b = got._asdict()[field], want._asdict()[field]
        assert a is not None and np.allclose(a, b, atol=atol), field


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read(form: str, tmp_path: Path) -> None:
    seen = SEEN[:2]
    with writing(tmp_path / "it", form, NAME, {}) as file:
        for one in seen:
            file.add(one)
    data = open_regions(tmp_path / "it")
    assert len(data) == 2 and [one.id for one in data] == ["a", "b/c"]
    for got, want in zip(data, seen, strict=True):
        assert got.detector == NAME
        if form == "uniter":
            assert got.size == (1.0, 1.0)
            same(got, want, "features", "probs", "score", atol=1e-3)
            assert np.allclose(got.boxes, want.shares(), atol=1e-3)
            continue
        same(got, want, "boxes", "features")
        assert got.size == want.size
        if form != "butd":
            same(got, want, "label", "score", "attribute", "attribute_score")


def test_the_two_tsv_files_differ_in_the_order_of_width_and_height(tmp_path: Path) -> None:
    lines = {"butd": butd_line(SEEN[0]), "lxmert": lxmert_line(SEEN[0])}
    assert lines["butd"].split(b"\t")[1:4] == [b"80", b"64", b"5"]
    assert lines["lxmert"].split(b"\t")[1:3] == [b"64", b"80"]
    for name, line in lines.items():
        path = tmp_path / name
        path.write_bytes(line)
        assert open_regions(path, kind="tsv", detector=NAME)[0].size == (80, 64)


def test_a_killed_extraction_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "it.tsv"
    with pytest.raises(KeyboardInterrupt), writing(path, "lxmert", NAME, {"min": 1}) as file:
        file.add(SEEN[0])
        raise KeyboardInterrupt
    part = tmp_path / "it.tsv.part"
    part.write_bytes(lxmert_line(SEEN[0]) + lxmert_line(SEEN[1])[:50])  # cut off in a line
    assert not path.exists()
    with writing(path, "lxmert", NAME, {"min": 1}) as file:
        assert file.held == {"a"}
        file.add(SEEN[1])
    assert [one.id for one in open_regions(path)] == ["a", "b/c"] and not part.exists()
    with writing(path, "lxmert", NAME, {"min": 1}) as file:
        assert file.held == {"a", "b/c"}
    with pytest.raises(DataError, match="begun with another settings"):
        writing(path, "lxmert", NAME, {"min": 2}).__enter__()
    with pytest.raises(DataError, match="begun with another detector"):
        writing(path, "lxmert", "other", {"min": 1}).__enter__()


# --- files of others ------------------------------------------------------------------------------


def test_lmdb_of_uniter(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "it"), map_size=1 << 24) as env, env.begin(write=True) as into:
        for one in SEEN[:2]:
            into.put(f"{one.id}.npz".encode(), packed_uniter(one))
        into.put(b"__keys__", json.dumps(["b/c.npz", "a.npz"]).encode())
    data = open_regions(tmp_path / "it", kind="lmdb", detector=NAME)
    assert [one.id for one in data] == ["b/c", "a"]
    same(data[1], SEEN[0], "features", "probs", atol=1e-3)


class Harm:
    """A pickle of it would run a program where it is loaded."""

    def __reduce__(self):
        return print, ("harm",)


def test_lmdb_of_vilbert_is_read_without_running_its_pickles(tmp_path: Path) -> None:
    def value(one: Seen) -> dict:
        arrays = {"boxes": one.boxes, "features": one.features}
        coded = {key: base64.b64encode(a.tobytes()) for key, a in arrays.items()}
        sizes = {"image_id": one.id, "image_w": 80, "image_h": 64, "num_boxes": len(one.boxes)}
        return sizes | coded

    with lmdb.open(str(tmp_path / "it"), map_size=1 << 24) as env, env.begin(write=True) as into:
        into.put(b"a", pickle.dumps(value(SEEN[0])))
        into.put(b"bad", pickle.dumps({"image_h": Harm()}))
        into.put(b"array", pickle.dumps(np.zeros(3)))
        into.put(b"torn", pickle.dumps(value(SEEN[0]))[:-9])
        into.put(b"keys", pickle.dumps([b"a", b"bad", b"array", b"torn", b"gone"]))
    data = KINDS["lmdb"](tmp_path / "it", NAME)
    same(data[0], SEEN[0], "boxes", "features")
    for place, why in ((1, "print"), (2, "numpy"), (3, "no sound pickle"), (4, "not there")):
        with pytest.raises(DataError, match=why):
            data[place]


def test_hdf5(tmp_path: Path) -> None:
    one = SEEN[0]
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["features"], file["boxes"] = one.features[None], one.boxes[None]
        file["sizes"], file["ids"] = [[80, 64]], ["a"]
    same(open_regions(tmp_path / "stack.h5", kind="hdf5", detector=NAME)[0], one, "boxes")
    folder = tmp_path / "vlp"
    folder.mkdir()
    rows = np.concatenate([one.boxes, one.label[:, None], one.score[:, None]], axis=1)  # type: ignore[index]
    for name, table in (("bbox", rows), ("x_feat123", one.features), ("x_cls123", one.probs)):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["img_0123"] = table
    got = open_regions(folder, kind="hdf5", detector=NAME)[0]
    same(got, one, "boxes", "features", "probs", "label", "score")
    assert got.size == (float(one.boxes[:, 2].max()), float(one.boxes[:, 3].max()))


def test_pairs_of_npy(tmp_path: Path) -> None:
    one = SEEN[0]
    np.save(tmp_path / "a.npy", one.features)
    np.save(tmp_path / "a_info.npy", np.array({"x": 1}, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is a pickle"):
        open_regions(tmp_path, kind="npy", detector=NAME)
    np.save(tmp_path / "a_boxes.npy", one.boxes)
    np.save(tmp_path / "a_size.npy", np.array([80, 64]))
    same(open_regions(tmp_path, kind="npy", detector=NAME)[0], one, "boxes", "features")


def test_a_pickled_part_of_an_npz_is_left_out(tmp_path: Path) -> None:
    with np.load(BytesIO(packed_npz(SEEN[0]))) as saved:
        arrays = {key: saved[key] for key in ("x", "bbox", "num_bbox", "image_w", "image_h")}
    np.savez(tmp_path / "a.npz", info=np.array({"objects_id": [1]}, dtype=object), **arrays)
    got = open_regions(tmp_path, kind="npz", detector=NAME)[0]
    assert got.label is None
    same(got, SEEN[0], "boxes", "features")


# --- refusals -------------------------------------------------------------------------------------


def wrong(**changes) -> Seen:
    return SEEN[0]._replace(**changes)


BOXES = SEEN[0].boxes
ODD = [
    (wrong(features=np.full((5, 8), np.nan, np.float32)), "NaN"),
    (wrong(features=SEEN[0].features[:3]), "3 rows of features for 5 boxes"),
    (wrong(boxes=BOXES / 80), "shares of the picture"),
    (wrong(boxes=BOXES * 3), "leaves the picture of 80 x 64"),
    (wrong(boxes=BOXES[:, [2, 3, 0, 1]]), "no area"),
    (wrong(boxes=np.full((5, 4), np.inf, np.float32)), "NaN or infinity"),
    (wrong(probs=SEEN[0].probs * 2), "do not add up to 1"),  # type: ignore[operator]
    (wrong(size=(0.0, 64.0)), "0.0 x 64.0"),
]


@pytest.mark.parametrize(("one", "why"), ODD, ids=[why for _, why in ODD])
def test_odd_regions_are_refused(one: Seen, why: str) -> None:
    with pytest.raises(DataError, match=why) as refused:
        check(one, "it.tsv: line 4")
    assert "it.tsv: line 4: picture 'a'" in str(refused.value) and ";" in str(refused.value)


def test_what_does_not_fit_the_model_is_refused() -> None:
    fits = Needs(NAME, width=8, least=5, most=5, probs=7, labels=True)
    assert check(SEEN[0], "it", fits) is SEEN[0]
    for needs, why in (
        (Needs("other"), "the model expects 'other'"),
        (Needs(width=2048), "width 8, the model reads 2048"),
        (Needs(least=36, most=36), "5 regions, the model reads 36"),
        (Needs(least=6), "5 regions"),
        (Needs(probs=1601), "those of 7"),
    ):
        with pytest.raises(DataError, match=why):
            check(SEEN[0], "it", needs)
    with pytest.raises(DataError, match="there are none"):
        check(wrong(label=None), "it", Needs(labels=True))


def test_no_regions_and_many_are_fine() -> None:
    assert len(check(SEEN[2], "it").boxes) == 0
    assert len(check(drawn("many", 300), "it").boxes) == 300


def test_detector_and_kind_must_be_known(tmp_path: Path) -> None:
    path = tmp_path / "it.tsv"
    path.write_bytes(butd_line(SEEN[0]))
    with pytest.raises(DataError, match="what kind of file"):
        open_regions(path)
    with pytest.raises(DataError, match="which detector"):
        open_regions(path, kind="tsv")
    with pytest.raises(DataError, match="the model expects 'x152'"):
        open_regions(path, kind="tsv", detector=NAME, needs=Needs("x152"))
    with pytest.raises(DataError, match="no such file"):
        open_regions(tmp_path / "other")
    data = open_regions(path, kind="tsv", detector=NAME)
    missing(data, ["a"], str(path))
    with pytest.raises(DataError, match="1 of 2 pictures are missing: 'z'"):
        missing(data, ["a", "z"], str(path))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"a\t1\t2\n", "3 columns"),
        (butd_line(SEEN[0])[:-60] + b"\n", "features"),
        (butd_line(SEEN[0]).replace(b"\t5\t", b"\t6\t"), "num_boxes right"),
        (butd_line(SEEN[0]).replace(b"\t80\t", b"\t8x\t"), "no whole number"),
        (butd_line(SEEN[0]) * 2, "occurs twice"),
        (b"", "is empty"),
    ],
)
def test_damaged_lines_are_refused(line: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "it.tsv").write_bytes(line)
    with pytest.raises(DataError, match=why):
        list(KINDS["tsv"](tmp_path / "it.tsv", NAME))


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    whole = packed_npz(SEEN[0])
    (tmp_path / "a.npz").write_bytes(whole[:-40])
    with pytest.raises(DataError, match="no sound npz"):
        KINDS["npz"](tmp_path, NAME)[0]
    file = BytesIO()
    np.savez(file, other=np.zeros(3))
    (tmp_path / "a.npz").write_bytes(file.getvalue())
    with pytest.raises(DataError, match=r"holds \['other'\]"):
        KINDS["npz"](tmp_path, NAME)[0]
