"""Pairs, entailment, referring expressions and ranking: from their published files to scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.data.errors import DataError
from sensorium.datasets.karpathy import karpathy
from sensorium.media import shorter, transform
from sensorium.models.faster_rcnn import TINY_SMALL
from sensorium.models.uniter import TINY
from sensorium.recipes import rank as ranking
from sensorium.recipes.answerers import headed
from sensorium.recipes.entail import entail
from sensorium.recipes.evaluate import evaluate
from sensorium.recipes.execute import finish
from sensorium.recipes.pairs import pairs
from sensorium.recipes.parts import expressions, halves, hypotheses, sized, statements
from sensorium.recipes.rank import rank
from sensorium.recipes.refer import refer
from sensorium.verbs.ask import Asker
from sensorium.verbs.load import load_folder
from sensorium.weights import folder as folders
from tests.datasets import nlvr_scenes as write

COUNT = 48  # pictures; readers are proved on 200 in tests/datasets, training in docs/questions.md


def quiet(text: str) -> None:
    """Progress that nobody asked for."""


def nlvr2_folder(folder: Path) -> Path:
    """Pictures in each of two parts."""
    scenes = write.drawn(2 * COUNT)
    write.as_nlvr2(scenes[:COUNT], folder)
    write.as_nlvr2(scenes[COUNT:], folder / "other")
    lines = (folder / "other" / "dev.json").read_text()
    (folder / "train.json").write_text(lines)
    (folder / "other" / "dev").rename(folder / "train")
    return folder


def snli_ve_folder(folder: Path) -> Path:
    """One file, cut in two parts."""
    at = write.as_snli_ve(write.drawn(COUNT), folder)
    lines = at.read_text().splitlines(keepends=True)
    (folder / "snli_ve_train.jsonl").write_text("".join(lines[:28]))
    at.write_text("".join(lines[28:]))
    return folder


def refcoco_folder(folder: Path) -> Path:
    """Three quarters of the pictures are to learn from."""

    def save(at: Path, refs: list) -> Path:
        for row in refs:
            row["split"] = {"val": "train"}.get(row["split"], row["split"])
        return write.pickled(2)(at, refs)

    write.as_refcoco(write.drawn(COUNT), folder, save)
    return folder


def karpathy_folder(folder: Path, count: int = 16) -> Path:
    rows = []
    for i, scene in enumerate(write.drawn(count)):
        write.put(folder / "images", f"{i}.jpg", scene.png)
        texts = [f"a {c} {s}, number {i}" for c, s, _ in scene.objects[:2]]
        split = ("train", "train", "restval", "test")[i % 4]
        said = [{"raw": text, "tokens": text.split()} for text in texts]
        rows.append({"filename": f"{i}.jpg", "imgid": i, "split": split, "sentences": said})
    (folder / "dataset_scenes.json").write_text(json.dumps({"images": rows}))
    return folder


# --- the parts of a folder ----------------------------------------------------------------------


def test_parts_are_told_by_the_names_of_files(tmp_path: Path) -> None:
    found = statements(nlvr2_folder(tmp_path / "nlvr2"))
    assert {name: len(part) for name, part in found.items()} == {"train": 24, "dev": 24}
    found = hypotheses(snli_ve_folder(tmp_path / "ve"))
    assert {name: len(part) for name, part in found.items()} == {"train": 27, "dev": 20}
    found = expressions(refcoco_folder(tmp_path / "ref"))
    assert {name: len(part) for name, part in found.items()} == {"train": 72, "testA": 24}
    train, test = halves(found, "ref")
    assert (len(train), len(test)) == (72, 24)
    with pytest.raises(DataError, match=r"has the parts train; training needs train, and one of"):
        halves({"train": train}, "ref")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no file \*.json of a part that is known"):
        statements(tmp_path / "empty")
    with pytest.raises(DataError, match=r"holds 0 and 0 files named refs\*.p and instances.json"):
        expressions(tmp_path / "empty")


def test_karpathys_splits(tmp_path: Path) -> None:
    at = karpathy_folder(tmp_path) / "dataset_scenes.json"
    train, test = (karpathy(at, tmp_path / "images", part) for part in ("train", "test"))
    assert (len(train), len(test)) == (12, 4)
    assert test.ids[0] == "3" and test[0].texts[0].endswith("number 3")
    with pytest.raises(DataError, match=r"no picture is of the split 'val'; there are"):
        karpathy(at, tmp_path / "images", "val")
    (tmp_path / "images" / "3.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 4 entries name pictures .*3.jpg"):
        karpathy(at, tmp_path / "images", "test")


def test_pictures_are_seen_at_a_size_that_a_small_net_reads() -> None:
    (scene,) = write.drawn(1)
    assert sized([scene.png] * 3) == (96, 24, 384)


# --- from files to scores -----------------------------------------------------------------------


@pytest.mark.parametrize("system", ["vilt", "albef"])
def test_statements_about_two_pictures(system: Any, tmp_path: Path) -> None:
    data = nlvr2_folder(tmp_path / "data")
    run = pairs(str(data), system, steps=2, batch=4)
    found = finish(run, tmp_path / "run", quiet)
    assert found["queries"] == {"accuracy": {"all": 24}, "consistency": {"all": 12}}
    assert 0.2 < found["without the picture"]["all"] < 0.9
    model = load_folder(tmp_path / "run" / "checkpoint")
    assert model.manifest["labels"] == ["false", "true"]
    scores = evaluate(model, "pairs", str(data))["scores"]
    assert scores == found["scores"]
    with pytest.raises(ValueError, match="it needs no detector"):
        evaluate(model, "pairs", str(data), detector=model)
    again = pairs(str(data), system, start=str(tmp_path / "run" / "checkpoint"), steps=2)
    before = model.net.state_dict()
    assert all(torch.equal(t, before[name]) for name, t in again.net().state_dict().items())


def test_region_systems_judge_pairs_by_a_detectors_regions(tmp_path: Path) -> None:
    data, finder = nlvr2_folder(tmp_path / "data"), detector(tmp_path / "finder")
    for path in (data / "train.json", data / "dev.json"):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    for system in ("visualbert", "uniter", "lxmert", "vilbert"):
        run = pairs(str(data), system, finder, steps=1, batch=2)  # type: ignore[arg-type]
        found = finish(run, tmp_path / system, quiet)
        assert found["queries"]["accuracy"]["all"] == 3
        model, eye = (load_folder(at) for at in (tmp_path / system / "checkpoint", finder))
        assert evaluate(model, "pairs", str(data), detector=eye)["scores"] == found["scores"]
    with pytest.raises(ValueError, match="grounding looks for no regions"):
        evaluate(model, "grounding", str(data), detector=eye)


@pytest.mark.parametrize("system", ["vilt", "albef"])
def test_entailment(system: str, tmp_path: Path) -> None:
    data = snli_ve_folder(tmp_path / "data")
    run = entail(str(data), system, steps=2, batch=4)  # type: ignore[arg-type]
    found = finish(run, tmp_path / "run", quiet)
    assert found["queries"]["accuracy"]["all"] == 20
    model = load_folder(tmp_path / "run" / "checkpoint")
    said = model.ask(data / "flickr30k" / "100.jpg", "There is a yellow thing.")
    assert said.keys() == {"contradiction", "neutral", "entailment"}
    assert evaluate(model, "entailment", str(data))["scores"] == found["scores"]


@pytest.mark.parametrize("system", ["uniter", "vilbert"])
def test_referring_expressions(system: str, tmp_path: Path) -> None:
    data = refcoco_folder(tmp_path / "data")
    run = refer(str(data), system, steps=2, batch=8)  # type: ignore[arg-type]
    found = finish(run, tmp_path / "run", quiet)
    assert found["queries"]["grounding"]["accuracy@0.5"] == 24
    model = load_folder(tmp_path / "run" / "checkpoint")
    one = expressions(data)["testA"][0]
    said = model.ask(one.image, one.text, one.boxes)
    assert said.keys() == {str(i) for i in range(len(one.boxes))}
    assert sum(said.values()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="none of no regions can be meant"):
        model.ask(one.image, one.text, [])
    assert evaluate(model, "grounding", str(data))["scores"] == found["scores"]


def test_referring_among_a_detectors_regions(tmp_path: Path) -> None:
    """Regions that overlap no object by half answer nothing, and are left out of training."""
    data, finder = refcoco_folder(tmp_path / "data"), detector(tmp_path / "finder")
    refs = write.pickled(2)
    scenes = write.drawn(12)
    write.as_refcoco(scenes, data, lambda at, rows: refs(at, [r | SPLIT[r["split"]] for r in rows]))
    run = refer(str(data), "uniter", finder, steps=1, batch=2)
    with pytest.warns(UserWarning, match=r"none of their answers is among|have no answer"):
        try:
            found = finish(run, tmp_path / "run", quiet)
        except DataError as wrong:  # an untrained detector may find nothing at all
            assert "no question has an answer" in str(wrong)
        else:
            assert found["queries"]["grounding"]["accuracy@0.5"] == 6


SPLIT = {"val": {"split": "train"}, "testA": {"split": "testA"}}


@pytest.mark.parametrize("system", ["albef", "vilt"])
def test_ranking(system: str, tmp_path: Path) -> None:
    data = karpathy_folder(tmp_path / "data")
    run = rank(str(data), system, steps=2, batch=4, augment=True)  # type: ignore[arg-type]
    found = finish(run, tmp_path / "run", quiet)
    assert found["queries"]["image_to_text"]["R@1"] == 4
    assert ("by the towers alone" in found) == (system == "albef")
    model = load_folder(tmp_path / "run" / "checkpoint")
    asker = Asker(model.net, model.tokenizer, model.manifest)
    test = ranking.captioned(str(data)).test
    images, texts = [test[i].image for i in (0, 1)], [test[i].texts[0] for i in (1, 0)]
    both = asker.match(images, texts)
    alone = [float(asker.match([i], [t])[0]) for i, t in zip(images, texts, strict=True)]
    np.testing.assert_allclose(both, alone, rtol=1e-4, atol=1e-5)
    said = model.ask(images[0], texts[0])
    assert said.keys() == {"match"} and 0 < said["match"] < 1
    assert evaluate(model, "reranking", str(data))["scores"] == found["scores"]


def test_ranking_by_a_detectors_regions(tmp_path: Path) -> None:
    data = karpathy_folder(tmp_path / "data", 8)
    run = rank(str(data), "uniter", detector(tmp_path / "finder"), steps=1, batch=4)
    found = finish(run, tmp_path / "run", quiet)
    assert found["queries"]["image_to_text"]["R@1"] == 2


def test_wrong_captions_are_others_of_the_batch(tmp_path: Path) -> None:
    """Never another caption of the same picture, nor an equal text."""
    data = karpathy_folder(tmp_path / "data")
    run = rank(str(data), "vilt", steps=1, batch=4)
    source = run.asks["rank"].source()
    some = [source.inputs(source.data[i], None) for i in (0, 1, 0, 2)]
    batch = source.collate(some)
    assert batch.label.tolist() == [0] * 4
    ids = [one.item.ids for one in some]
    rows = [batch.of.text.ids[row[:n]].tolist() for row, n in laid(batch.of.text)]
    assert rows[0] == ids[0] and rows[1] == ids[1] and rows[2] == ids[3]
    assert ids[0] not in rows[1:4]


def laid(text) -> list:
    return [(text.rows[i], int(n)) for i, n in enumerate(text.lengths)]


def test_a_head_for_two_pictures_tells_them_apart() -> None:
    assert headed(TINY, "nlvr").args["text"].types == 3
    assert headed(TINY, "vqa").args["text"].types == TINY.args["text"].types


def detector(at: Path) -> str:
    """The checkpoint of a detector that has learnt nothing."""
    torch.manual_seed(0)
    net, look = TINY_SMALL.build(), transform(shorter(50, 200))
    manifest = {"model": TINY_SMALL.spec(), "transform": look.spec, "tokenizer": None}
    folders.save(at, net.state_dict(), manifest, {})
    return str(at)
