"""Flamingo from a language model to a checkpoint that is prompted with examples, at test size."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sensorium
from sensorium.data.interleaved import CHUNK, MARK
from sensorium.datasets.folder import labelled_folder
from sensorium.forms.gated import Gated
from sensorium.media import openai_clip, transform
from sensorium.models import clip
from sensorium.recipes.evaluate import evaluate
from sensorium.recipes.execute import finish
from sensorium.recipes.fewshots import classified
from sensorium.recipes.flamingo import mixture, train
from sensorium.tasks.fewshot import Plan
from sensorium.verbs.exchange import export_model, import_model, save_model
from sensorium.verbs.model import Model
from sensorium.verbs.tell import answered, caption
from sensorium.weights.errors import WeightsError
from tests.models.nets import filled
from tests.verbs.test_shown import drawn
from tests.verbs.test_speak import model_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, a CLIP, documents, and labelled pictures."""
    at = tmp_path_factory.mktemp("flamingo")
    lm = model_of()
    lm.net.float()
    save_model(lm, at / "lm")
    manifest = {"name": "clip", "model": clip.TINY.spec(), "transform": openai_clip(64)}
    manifest |= {"tokenizer": None, "data": "none", "licence": "none"}
    save_model(Model(filled(clip.TINY), transform(openai_clip(64)), None, manifest), at / "clip")
    rows = []
    for i in range(6):
        drawn(i).save(at / f"{i}.png")
        rows.append({"images": [f"{i}.png", None], "texts": [None, f"a {i}"]})
        for part in ("train", "test"):
            place = at / "named" / part / "abc"[i % 3]
            place.mkdir(parents=True, exist_ok=True)
            drawn(i + 10 * (part == "test")).save(place / f"{i}.png")
    (at / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return at


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    data = f"obelics:{folder / 'rows.jsonl'}=1"
    run = train(str(folder / "lm"), str(folder / "clip"), data, every=2, steps=2, batch=2)
    finish(run, folder / "run", lambda text: None)
    return folder / "run" / "checkpoint"


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return sensorium.load(trained)


def test_only_what_is_put_in_and_the_new_words_learn(folder: Path, model: Model) -> None:
    lm, tower = sensorium.load(folder / "lm"), sensorium.load(folder / "clip")
    net, before = model.net, lm.net.state_dict()
    assert isinstance(net, Gated) and model.words is not None
    after = net.state_dict()
    table = after["decoder.embed.word.weight"]
    old = before.pop("embed.word.weight")
    new = [model.words.specials[name] for name in (CHUNK, MARK)]
    assert net.mark == new[1] and len(table) == max(len(old), model.words.vocab)
    rest = [i for i in range(len(old)) if i not in new]
    assert torch.equal(table[rest], old[rest])
    head = before.pop("head.weight", None)
    if head is not None:
        assert torch.equal(after["decoder.head.weight"][rest], head[rest])
    assert all(torch.equal(after[f"decoder.{name}"], t) for name, t in before.items())
    seen = tower.net.state_dict()["image.embed.cls"]
    assert torch.equal(after["image.embed.cls"], seen)
    gates = [t for name, t in after.items() if name.endswith(".gate")]
    assert len(gates) == 2 and all(t.abs().item() > 0 for t in gates)


def test_prompts_of_words_and_pictures_are_continued(model: Model, folder: Path) -> None:
    shown = [folder / "0.png", "Output: a 0", drawn(1), "Output:"]
    greedy = model.generate([shown, shown[2:]], max_tokens=4)
    alone = model.generate([shown], max_tokens=4)
    assert greedy[0].ids == alone[0].ids and len(greedy) == 2
    drawn_ = model.generate([shown], n=2, max_tokens=4, temperature=1.0, seed=3)
    assert len(drawn_) == 2
    (best,) = model.generate([shown], beams=2, penalty=0.0, max_tokens=4)
    assert sum(best.logprobs) >= sum(alone[0].logprobs) - 1e-4
    assert model.generate(["plain words"], max_tokens=2)[0].ids
    assert isinstance(caption(model, str(folder / "0.png")), str)
    assert "answer" in answered(model, str(folder / "0.png"), "what is it?")
    with pytest.raises(ValueError, match="part 0 of the prompt is a float"):
        model.generate([[0.5, "x"]], max_tokens=2)
    with pytest.raises(ValueError, match="empty"):
        model.generate([[]], max_tokens=2)
    with pytest.raises(ValueError, match="no picture is given"):
        model.generate([[model.net.mark, 3]], max_tokens=2)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="context"):
        model.generate([["a" * 5000]], max_tokens=2)
    with pytest.raises(ValueError, match="no Flamingo"):
        model_of().teller()


def test_a_choice_reads_its_prompt_once_and_is_what_reading_it_whole_gives(
    model: Model, folder: Path
) -> None:
    teller = model.teller()
    demos = [(folder / "0.png", "a"), (None, "b")]
    prompt = teller.shown(demos, folder / "1.png")
    words = teller.words
    assert words is not None
    options = [words.encode(name) for name in ("a", "bcd", "xyz")]
    found = teller.likely(prompt, options)
    for option, one in zip(options, found, strict=True):
        for i, chance in enumerate(one.logprobs):
            ids = [*prompt.ids, *option[:i]]
            start = teller.begin([prompt._replace(ids=ids)], len(ids))
            wanted = start.scores[0].log_softmax(0)[option[i]]
            assert chance == pytest.approx(float(wanted), abs=1e-4)
    with pytest.raises(ValueError, match=r"one \{\} where"):
        teller.shown(demos, folder / "1.png", "no hole")
    with pytest.raises(ValueError, match="none of them empty"):
        teller.likely(prompt, [[]])


def test_few_shots_by_the_command_and_as_a_function(model: Model, folder: Path) -> None:
    at = folder / "named"
    data = labelled_folder(at / "train"), labelled_folder(at / "test")
    plan = Plan(shots=(0, 1, 2), seeds=(0, 1), queries=2)
    found = classified(model, *data, plan=plan)
    assert len(found) == 6
    for named in found.values():
        assert 0 <= named["accuracy"].value <= 1 and "spread over seeds" in named
    vectors = model.teller().vectors([data[0][0].image])
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="shots"):
        evaluate(model, "few-shot", str(at))  # 32 shots: too few pictures, or too long
    with pytest.raises(ValueError, match="one prompt"):
        evaluate(model, "few-shot", str(at), templates="imagenet")


def test_a_checkpoint_is_exported_and_imported_again(trained: Path, tmp_path: Path) -> None:
    """Where its parts are OpenFlamingo's; here the resampler's heads are not."""
    with pytest.raises(WeightsError, match="other heads"):
        export_model(trained, "openflamingo", tmp_path / "out")
    with pytest.raises((WeightsError, OSError)):
        import_model(tmp_path / "out", "openflamingo", tmp_path / "back")


def test_a_mixture_has_weights_and_known_names() -> None:
    found = mixture("openstax=1, pairs=0.2,mmc4:a.jsonl=2")
    assert [(one.name, one.weight, one.longest) for one in found] == [
        ("openstax", 1.0, 256),
        ("pairs", 0.2, 32),
        ("mmc4_2", 2.0, 256),
    ]
    bad: list[tuple[str, Any]] = [
        ("openstax", "NAME=WEIGHT"),
        ("openstax=0", "above 0"),
        ("openstax=x", "above 0"),
        ("books=1", "is not known"),
        ("mmc4=1", "is not known"),
        ("openstax:a=1", "is not known"),
        ("pairs=1,pairs=2", "twice"),
    ]
    for text, says in bad:
        with pytest.raises(ValueError, match=says):
            mixture(text)
