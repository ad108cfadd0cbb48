"""An index of pictures: what it finds, what a second run costs, and what no kill can break."""

import io
import json
import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import ClipBPE
from sensorium.datasets.emoji import emoji
from sensorium.media import MediaError, canvas
from sensorium.models.clip import TINY
from sensorium.verbs import near
from sensorium.verbs.index import identity, index, recall, search
from sensorium.verbs.load import assemble
from sensorium.verbs.model import Model
from sensorium.verbs.store import open_store

PROCESSES = multiprocessing.get_context("fork")  # torch need not be imported again


def tiny(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    words = {"model": TINY.spec(), "transform": canvas(64), "tokenizer": ClipBPE(77).spec()}
    return assemble(TINY.build().state_dict(), words, None)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """150 emoji as files, in two folders."""
    samples = emoji(["noto"], keywords=False)
    for i in range(150):
        file = tmp_path / "pictures" / ("odd" if i % 2 else "even") / f"{i:03d}.webp"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(samples[i].image)
    return tmp_path / "pictures"


def png(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(out, "PNG")
    return out.getvalue()


def vectors(at: Path) -> dict[str, np.ndarray]:
    """What an index says: names, contents and vectors."""
    store = open_store(at)
    rows = store.take(np.array([f.row for f in store.files.values()], np.int64))
    return {f"{n} {f.sha256}": row for (n, f), row in zip(store.files.items(), rows, strict=True)}


def assert_same(a: Path, b: Path) -> None:
    """Equal but for the rounding of batches that are cut differently."""
    one, two = vectors(a), vectors(b)
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-5)


def test_search_is_sorting_by_cosine(model: Model, pictures: Path, tmp_path: Path):
    report = index(model, pictures, tmp_path / "index")
    assert (report.pictures, report.embedded, report.unreadable) == (150, 150, [])
    files = sorted(str(p.relative_to(pictures)) for p in pictures.rglob("*.webp"))
    known = model.embed(images=[pictures / f for f in files])
    for query in (
        "two red hearts",
        "赤い二つのハート",
        pictures / "odd/003.webp",
        png((200, 0, 0)),
    ):
        asked = {"texts": [query]} if isinstance(query, str) else {"images": [query]}
        scores = known @ model.embed(**asked)[0]  # type: ignore[arg-type]
        hits = search(model, tmp_path / "index", query, k=7)
        np.testing.assert_allclose([h.score for h in hits], np.sort(scores)[::-1][:7], atol=1e-5)
        assert [h.rank for h in hits] == list(range(1, 8))
        for hit in hits:
            assert hit.score == pytest.approx(scores[files.index(hit.name)], abs=1e-5)
            assert hit.path == pictures / hit.name and not hit.missing
    assert search(model, tmp_path / "index", pictures / "odd/003.webp")[0].name == "odd/003.webp"
    assert len(search(model, tmp_path / "index", "x", k=1000)) == 150
    assert recall(tmp_path / "index", model=model) == near.Recall(10, 1.0, 1.0)


def test_a_second_run_embeds_what_is_new(model: Model, pictures: Path, tmp_path: Path):
    at = tmp_path / "index"
    index(model, pictures, at)
    again = index(model, pictures, at)
    assert (again.unchanged, again.embedded, again.removed) == (150, 0, 0)

    (pictures / "even/000.webp").rename(pictures / "renamed.webp")  # known by its content
    shutil.copy(pictures / "even/002.webp", pictures / "copy.webp")
    os.utime(pictures / "even/004.webp")  # touched
    (pictures / "even/006.webp").unlink()
    (pictures / "even/008.webp").write_bytes(png((0, 0, 255)))  # changed
    (pictures / "new.png").write_bytes(png((0, 255, 0)))
    report = index(model, pictures, at)
    assert report.pictures == 151
    assert (report.unchanged, report.recognised, report.embedded) == (146, 3, 2)
    assert report.removed == 2
    index(model, pictures, tmp_path / "fresh")
    assert_same(at, tmp_path / "fresh")


def test_many_small_runs_are_merged(model: Model, pictures: Path, tmp_path: Path):
    for i in range(30):
        (pictures / f"new {i}.png").write_bytes(png((i, 0, 0)))
        index(model, pictures, tmp_path / "index")
        assert len(open_store(tmp_path / "index").vectors) <= 8
    shutil.rmtree(pictures / "odd")
    index(model, pictures, tmp_path / "index")
    store = open_store(tmp_path / "index")
    assert store.live.all()  # the vectors of what is gone are gone too
    names = sorted(p.name for p in (tmp_path / "index").iterdir())
    entries = [*store.manifest["vectors"], store.manifest["files"]]
    assert names == sorted([".lock", "index.json", *(e["name"] for e in entries)])
    index(model, pictures, tmp_path / "fresh")
    assert_same(tmp_path / "index", tmp_path / "fresh")


def test_equal_scores_stand_in_order_of_paths(model: Model, tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("d.png", "a.png", "c.png", "b.png"):
        (folder / name).write_bytes(png((9, 9, 9)))
    assert index(model, folder, tmp_path / "index").embedded == 1
    hits = search(model, tmp_path / "index", "grey", k=3)
    assert [h.name for h in hits] == ["a.png", "b.png", "c.png"]


def test_what_cannot_be_read_is_named_and_the_rest_indexed(
    model: Model, pictures: Path, tmp_path: Path
):
    (pictures / "empty.png").touch()
    (pictures / "cut.webp").write_bytes((pictures / "odd/001.webp").read_bytes()[:300])
    (pictures / "page.jpg").write_bytes(b"%PDF-1.7")
    (pictures / "huge.png").write_bytes(png((1, 1, 1))[:16] + b"\x00\x01\x00\x00" * 2 + bytes(9))
    (pictures / "out.png").symlink_to("/etc/hostname")
    (pictures / "lost.png").symlink_to(pictures / "nowhere.png")
    (pictures / "folder.png").mkdir()
    os.mkfifo(pictures / "pipe.png")
    (pictures / "notes.txt").write_text("no picture")
    (pictures / ".hidden.png").write_bytes(png((1, 2, 3)))
    (pictures / ".cache").mkdir()
    (pictures / ".cache" / "x.png").write_bytes(png((1, 2, 3)))
    with open(os.fsencode(pictures) + b"/\xff.png", "wb") as file:
        file.write(png((3, 2, 1)))
    report = index(model, pictures, tmp_path / "index")
    assert report.pictures == report.embedded == 150
    reasons = dict(report.unreadable)
    assert sorted(reasons) == sorted(
        [
            "cut.webp",
            "empty.png",
            "huge.png",
            "lost.png",
            "out.png",
            "page.jpg",
            "pipe.png",
            "�.png",
        ]
    )
    assert "a PDF document" in reasons["page.jpg"]
    assert "leads out" in reasons["out.png"] and "UTF-8" in reasons["�.png"]
    (pictures / "empty.png").write_bytes(png((7, 7, 7)))  # mended
    assert index(model, pictures, tmp_path / "index").embedded == 1


def test_the_pictures_are_never_written_to(model: Model, pictures: Path, tmp_path: Path):
    before = sorted((str(p), p.stat().st_mtime_ns) for p in [pictures, *pictures.rglob("*")])
    index(model, pictures, tmp_path / "index")
    assert before == sorted(
        (str(p), p.stat().st_mtime_ns) for p in [pictures, *pictures.rglob("*")]
    )


def test_an_index_inside_the_pictures_is_not_searched_for_pictures(model: Model, pictures: Path):
    index(model, pictures, pictures / "index")
    (pictures / "index" / "sheet.png").write_bytes(png((1, 1, 1)))
    assert index(model, pictures, pictures / "index").pictures == 150


def test_missing_files_are_marked(model: Model, pictures: Path, tmp_path: Path):
    index(model, pictures, tmp_path / "index")
    first = search(model, tmp_path / "index", "a")[0]
    first.path.unlink()
    hits = search(model, tmp_path / "index", "a")
    assert hits[0].name == first.name and [h.missing for h in hits] == [True] + 11 * [False]


def test_pictures_that_moved_with_their_folder(model: Model, pictures: Path, tmp_path: Path):
    index(model, pictures, tmp_path / "index")
    moved = pictures.rename(tmp_path / "moved")
    assert index(model, moved, tmp_path / "index").embedded == 0
    assert not any(h.missing for h in search(model, tmp_path / "index", "a"))


# --- refusals -------------------------------------------------------------------------------------


def test_another_model_is_refused(model: Model, pictures: Path, tmp_path: Path):
    index(model, pictures, tmp_path / "index")
    other = tiny(1)
    assert identity(other) != identity(model) == identity(tiny())
    with pytest.raises(DataError, match=r"made by another model.*load the model that made it"):
        search(other, tmp_path / "index", "x")
    with pytest.raises(DataError, match="or index into another folder"):
        index(other, pictures, tmp_path / "index")


def test_places_that_are_refused(model: Model, pictures: Path, tmp_path: Path):
    with pytest.raises(DataError, match="holds something else"):
        index(model, pictures, pictures)
    with pytest.raises(DataError, match="this is a file"):
        index(model, pictures, pictures / "odd/001.webp")
    with pytest.raises(DataError, match="no such folder"):
        index(model, tmp_path / "nowhere", tmp_path / "index")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures below it"):
        index(model, tmp_path / "empty", tmp_path / "index")
    with pytest.raises(DataError, match="this is no index"):
        search(model, tmp_path / "index", "x")
    index(model, pictures / "odd", tmp_path / "index")
    with pytest.raises(DataError, match=r"the index of .*odd, not of"):
        index(model, pictures / "even", tmp_path / "index")
    with pytest.raises(DataError, match="the query is empty"):
        search(model, tmp_path / "index", " ")
    with pytest.raises(MediaError, match="no such file"):
        search(model, tmp_path / "index", Path("nowhere.png"))


def test_a_disk_that_is_not_mounted_costs_nothing(model: Model, pictures: Path, tmp_path: Path):
    index(model, pictures, tmp_path / "index")
    pictures.rename(tmp_path / "away")
    pictures.mkdir()
    with pytest.raises(DataError, match="nothing was changed"):
        index(model, pictures, tmp_path / "index")
    assert len(vectors(tmp_path / "index")) == 150


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])


@pytest.mark.parametrize("kind", ["cut", "gone", "flipped"])
@pytest.mark.parametrize("name", ["vectors", "files"])
def test_damage_is_named_and_the_next_run_repairs_it(
    model: Model, pictures: Path, tmp_path: Path, name: str, kind: str
):
    at = tmp_path / "index"
    index(model, pictures, at, part=64)
    shutil.copytree(at, tmp_path / "whole")
    broken = next(at.glob(f"{name}-*"))
    damage(broken, kind)
    if kind != "flipped":  # which only the next run looks for
        with pytest.raises(DataError, match=rf"{broken.name}: .*run `sensorium index` again"):
            search(model, at, "x")
    report = index(model, pictures, at)
    assert report.repaired == [broken.name]
    assert report.embedded == (64 if name == "vectors" else 0)
    assert_same(at, tmp_path / "whole")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "sensorium-index/9"},
        {"width": "16"},
        {"vectors": [{"name": "../secret", "rows": 1, "bytes": 1, "sha256": ""}]},
        {"files": 3},
    ],
)
def test_manifests_that_are_refused(model: Model, pictures: Path, tmp_path: Path, change: dict):
    index(model, pictures, tmp_path / "index")
    path = tmp_path / "index/index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    for use in (
        lambda: search(model, path.parent, "x"),
        lambda: index(model, pictures, path.parent),
    ):
        with pytest.raises(DataError, match="remove this folder and run `sensorium index` again"):
            use()
    path.write_text("{")
    with pytest.raises(DataError, match=r"not JSON.*remove this folder"):
        search(model, path.parent, "x")


def test_a_picture_that_climbs_out_of_its_folder(model: Model, pictures: Path, tmp_path: Path):
    index(model, pictures, tmp_path / "index")
    path = next((tmp_path / "index").glob("files-*"))
    path.write_text(path.read_text().replace("even/000.webp", "../e/000.webp"))
    with pytest.raises(DataError, match=r"the entry '../e/000.webp' is damaged"):
        open_store(tmp_path / "index")


# --- interruptions --------------------------------------------------------------------------------


def keep_indexing(pictures: Path, at: Path, started) -> None:
    torch.set_num_threads(1)
    model = tiny()
    started.set()
    index(model, pictures, at, part=16)


def test_kills_at_random_moments(model: Model, pictures: Path, tmp_path: Path):
    """Whatever a kill leaves, search refuses it or works, and the next run ends as any other."""
    rng, at = random.Random(0), tmp_path / "index"
    index(model, pictures, tmp_path / "whole")
    kept = 0
    for _ in range(12):
        started = PROCESSES.Event()
        child = PROCESSES.Process(target=keep_indexing, args=(pictures, at, started))
        child.start()
        assert started.wait(60)
        time.sleep(rng.uniform(0.0, 0.5))
        child.kill()
        child.join()
        finished = (at / "index.json").exists() and json.loads((at / "index.json").read_text())
        if finished and finished["files"]:
            search(model, at, "x")
            kept = 0
            if rng.random() < 0.5:
                shutil.rmtree(at)
        else:
            with pytest.raises(DataError, match=r"no index; make one|was never finished"):
                search(model, at, "x")
            now = sum(e["rows"] for e in finished["vectors"]) if finished else 0
            assert now >= kept  # what was embedded once stays
            kept = now
    index(model, pictures, at)
    assert_same(at, tmp_path / "whole")
    index(model, pictures, at)
    store = open_store(at)
    entries = [*store.manifest["vectors"], store.manifest["files"]]
    assert {p.name for p in at.iterdir()} == {".lock", "index.json", *(e["name"] for e in entries)}


def test_an_interrupted_run_is_continued(model: Model, pictures: Path, tmp_path: Path):
    def stop(done: int, total: int) -> None:
        if done == 140:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(model, pictures, tmp_path / "index", progress=stop, part=32)
    assert index(model, pictures, tmp_path / "index").embedded == 150 - 128


def test_two_runs_at_once(model: Model, pictures: Path, tmp_path: Path):
    def second(done: int, total: int) -> None:
        with pytest.raises(DataError, match="another process is changing"):
            index(model, pictures, tmp_path / "index")

    index(model, pictures / "odd", tmp_path / "index", progress=second)


# --- approximate search ---------------------------------------------------------------------------


def test_approximate_search(model: Model, pictures: Path, tmp_path: Path):
    """Candidates of an inverted file, scored exactly; what is newer or gone is known at once."""
    pytest.importorskip("faiss")
    at, exact = tmp_path / "index", tmp_path / "exact"
    first = index(model, pictures, at, approximate_from=100)
    assert first.recall and min(first.recall.pictures, first.recall.texts or 0) >= 0.95
    again = recall(at, model=model)
    assert (again.pictures, again.texts) == (first.recall.pictures, first.recall.texts)
    (pictures / "new.png").write_bytes(png((250, 0, 0)))
    gone = search(model, at, "x", k=1)[0]
    gone.path.unlink()
    index(model, pictures, at, approximate_from=100)
    assert open_store(at).manifest["near"]["rows"] == 150  # not built anew
    index(model, pictures, exact)
    assert search(model, at, pictures / "new.png", k=1)[0].name == "new.png"
    assert gone.name not in {h.name for h in search(model, at, "x", k=150)}
    found = [
        len({h.name for h in search(model, at, q)} & {h.name for h in search(model, exact, q)}) / 12
        for q in ("x", "a red ball", "smile", "fire")
    ]
    assert np.mean(found) >= 0.9
    near_file = next(at.glob("near-*"))
    damage(near_file, "cut")
    with pytest.raises(DataError, match=r"near-.*it is damaged"):
        search(model, at, "x")
    assert index(model, pictures, at, approximate_from=100).repaired == [near_file.name]
    assert index(model, pictures, at).recall is None  # small again: searched exactly
    assert not list(at.glob("near-*"))


def test_without_faiss_a_large_index_is_refused_before_the_work(
    model: Model, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(DataError, match=r"pip install 'sensorium\[index\]'"):
        index(model, pictures, tmp_path / "index", approximate_from=100)
    assert not (tmp_path / "index").exists()
    assert index(model, pictures, tmp_path / "index").pictures == 150
