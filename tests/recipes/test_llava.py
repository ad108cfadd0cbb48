"""LLaVA from a language model to a checkpoint that is talked with, at a size for tests."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.data.errors import DataError
from sensorium.datasets.asked import Entry, Questions
from sensorium.media import openai_clip, transform
from sensorium.models import clip
from sensorium.recipes.clip import tower as see
from sensorium.recipes.execute import finish
from sensorium.recipes.find import recipe
from sensorium.recipes.llava import align, instruct, lora
from sensorium.recipes.llava_scores import Talked, replies
from sensorium.verbs.exchange import save_model
from sensorium.verbs.load import load_folder
from sensorium.verbs.merge import merge_model
from sensorium.verbs.model import Model
from sensorium.verbs.shown import shows
from sensorium.weights.errors import WeightsError
from tests.models.nets import filled
from tests.verbs.test_shown import asks, drawn
from tests.verbs.test_speak import model_of

SMALL: dict[str, Any] = dict(steps=2, batch=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, a CLIP, and a file of conversations with its pictures."""
    at = tmp_path_factory.mktemp("llava")
    lm = model_of()
    lm.net.float()
    save_model(lm, at / "lm")
    spec = openai_clip(64)
    manifest = {"name": "clip", "model": clip.TINY.spec(), "transform": spec, "tokenizer": None}
    manifest |= {"data": "none", "licence": "none"}
    save_model(Model(filled(clip.TINY), transform(spec), None, manifest), at / "clip")
    rows = []
    for i in range(6):
        drawn(i).save(at / f"{i}.png")
        said = [("human", "<image>\nwhat is it?"), ("gpt", f"the number {i}")]
        said += [("human", "sure?"), ("gpt", "yes")]
        turns = [{"from": who, "value": text} for who, text in said]
        rows.append({"id": f"n{i}", "image": f"{i}.png", "conversations": turns})
    (at / "data.json").write_text(json.dumps(rows))
    return at


def quiet(text: str) -> None:
    """Nothing is said."""


@pytest.fixture(scope="module")
def aligned(folder: Path) -> Path:
    run = align(str(folder / "lm"), str(folder / "clip"), str(folder / "data.json"), **SMALL)
    finish(run, folder / "aligned", quiet)
    return folder / "aligned" / "checkpoint"


def test_a_tower_of_the_users_own_pictures_is_what_stage_one_reads(
    folder: Path, tmp_path: Path
) -> None:
    rows = []
    for i in range(12):
        drawn(i).save(tmp_path / f"{i}.png")
        rows.append(json.dumps({"image": f"{i}.png", "text": f"the number {i}"}))
    (tmp_path / "captions.jsonl").write_text("\n".join(rows))
    finish(see(str(tmp_path), **SMALL), tmp_path / "tower", quiet)
    at = tmp_path / "tower" / "checkpoint"
    run = align(str(folder / "lm"), str(at), str(folder / "data.json"), **SMALL)
    finish(run, tmp_path / "aligned", quiet)
    seen = load_folder(tmp_path / "aligned" / "checkpoint").net.state_dict()
    taught = load_folder(at).net.state_dict()
    kept = [name for name in seen if name.startswith("image.")]
    assert kept and all(torch.equal(seen[name], taught[name]) for name in kept)


def changed(a: Model, b: Model) -> set[str]:
    """The parts of two nets that differ."""
    before = b.net.state_dict()
    return {
        name.split(".")[0]
        for name, tensor in a.net.state_dict().items()
        if not torch.equal(tensor, before[name])
    }


def test_stage_one_learns_the_bridge_alone(folder: Path, aligned: Path) -> None:
    model, lm, tower = (load_folder(at) for at in (aligned, folder / "lm", folder / "clip"))
    assert shows(model.net) and model.manifest["chat"] == "plain"
    assert model.manifest["data"]["template"] == "chatml"
    for name, tensor in lm.net.state_dict().items():
        assert torch.equal(tensor, model.net.state_dict()[f"decoder.{name}"])
    blocks = model.net.get_submodule("image.stack.blocks")
    assert len(list(blocks.children())) == 1  # of two: the last but one
    for name, tensor in model.net.image.state_dict().items():
        assert torch.equal(tensor, tower.net.state_dict()[f"image.{name}"])
    assert recipe("llava.align") is align and recipe("llava.instruct") is instruct
    assert recipe("llava.lora") is lora


def test_stage_two_learns_bridge_and_words_and_talks(
    folder: Path, aligned: Path, tmp_path: Path
) -> None:
    data = str(folder / "data.json")
    found = finish(instruct(str(aligned), data, **SMALL), tmp_path / "run", quiet)
    assert abs(found["plain text"]["rise"]) < 1
    model = load_folder(tmp_path / "run" / "checkpoint")
    assert changed(model, load_folder(aligned)) == {"bridge", "decoder"}
    assert model.manifest["chat"] == "chatml"
    (one, two) = replies(model, (folder / "0.png").read_bytes(), ["what is it?", "sure? ok?"])
    for text, said in (("what is it?", one), ("sure? ok?", two)):
        assert model.chat([asks(text, drawn(0))], max_tokens=8).text == said
    assert (
        replies(model, None, ["sure?"])[0]
        == model.chat([{"role": "user", "content": "sure?"}], max_tokens=8).text
    )
    entries = [Entry((f"{i}.png",), "what is it?", (f"{i}",), f"{i}", f"{i}") for i in range(3)]
    scored = Talked(lambda: Questions(folder, entries), lambda: model).scores(
        model, tmp_path, lambda done, total: None
    )
    assert scored["queries"]["questions"]["accuracy"] == 3


def test_additions_learn_in_the_words_stead_and_are_merged(
    folder: Path, aligned: Path, tmp_path: Path
) -> None:
    run = lora(str(aligned), str(folder / "data.json"), rank=2, **SMALL)
    finish(run, tmp_path / "run", quiet)
    at = tmp_path / "run" / "checkpoint"
    made = load_folder(at)
    plain = load_folder(aligned).net.state_dict()
    moved = {
        n for n, t in made.net.state_dict().items() if n in plain and not torch.equal(t, plain[n])
    }
    assert {name.split(".")[0] for name in moved} == {"bridge"}
    assert any(p.any() for n, p in made.net.named_parameters() if n.endswith(".up"))
    assert merge_model(at, tmp_path / "merged")["difference"] <= 1e-5
    merged = load_folder(tmp_path / "merged")
    said = [asks("what is it?", drawn(0))]
    assert merged.chat(said, max_tokens=5).ids == made.chat(said, max_tokens=5).ids
    assert "decoder" in changed(merged, load_folder(aligned))


def test_nothing_is_trained_on_what_was_not_meant(folder: Path, aligned: Path) -> None:
    rows = json.loads((folder / "data.json").read_text())
    rows[1]["conversations"][3]["value"] = "very long " * 200
    (folder / "long.json").write_text(json.dumps(rows))
    run = instruct(str(aligned), str(folder / "long.json"), **SMALL)
    with pytest.raises(DataError, match=r"1 of 6 .* n1: .* answer 2 of 2 would be cut"):
        run.asks["talk"].source()
    data = str(folder / "data.json")
    with pytest.raises(WeightsError, match="was trained with chatml"):
        instruct(str(aligned), data, template="vicuna", **SMALL).asks["talk"].source()
    with pytest.raises(WeightsError, match="a LLaVA with a tokenizer is wanted"):
        instruct(str(folder / "lm"), data, **SMALL).net()
    with pytest.raises(WeightsError, match="a LLaMA with a tokenizer is wanted"):
        align(str(folder / "clip"), None, data, **SMALL).net()
    with pytest.raises(WeightsError, match="a CLIP with a ViT is wanted"):
        align(str(folder / "lm"), str(folder / "lm"), data, **SMALL).net()


def test_without_a_tower_a_small_one_learns_too(folder: Path) -> None:
    run = align(str(folder / "lm"), None, str(folder / "data.json"), bridge="linear", **SMALL)
    net = run.net()
    assert net.image.embed.pos.shape == (65, 192)  # type: ignore[union-attr]
    assert [pattern for pattern, rule in run.rules if "Freeze" in repr(rule)] == [r".*"]
