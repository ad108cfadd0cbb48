"""Whisper fine-tuned, with additions, and from scratch, at sizes for tests."""

import json
from pathlib import Path

import pytest
import torch

from sensorium.data.loader import Positions
from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, published
from sensorium.models.declaration import Declaration
from sensorium.models.whisper import Size, upper_half, whisper
from sensorium.nn.lowrank import LowRank
from sensorium.recipes.execute import finish
from sensorium.recipes.find import recipe
from sensorium.recipes.plan import plan
from sensorium.recipes.whisper import digits, finetune, lora
from sensorium.verbs.exchange import save_model
from sensorium.verbs.load import assemble, load_folder
from sensorium.verbs.merge import merge_model
from sensorium.verbs.speech.result import Transcript
from sensorium.weights.errors import WeightsError
from tests.models.drawn import state
from tests.models.test_whisper_inputs import wav

SIZE = Size(64, 2, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Whisper that hears 2 s at a time, and 12 recordings with their texts."""
    at = tmp_path_factory.mktemp("speech")
    heads = upper_half(SIZE)
    args = dict(size=SIZE, listening=1, mels=80, vocab=ENGLISH_ONLY, frames=100, length=40)
    declaration = Declaration(whisper, args | {"aligned": heads})
    words = published(ENGLISH_ONLY)
    shapes = {k: v.shape for k, v in declaration.build().state_dict().items()}
    manifest = {"name": "x", "model": declaration.spec(), "transform": None}
    manifest |= {"tokenizer": words.spec(), "data": "none", "licence": "none"}
    save_model(assemble(state(shapes), manifest, None, words.data()), at / "start")
    rows = []
    for i in range(12):
        (at / f"{i}.wav").write_bytes(wav(0.5 + 0.1 * i, i))
        rows.append({"audio": f"{i}.wav", "text": f"number {i}", "speaker": "ann"})
    (at / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return at


def quiet(text: str) -> None:
    """Nothing is said."""


def test_recordings_are_learnt_and_the_start_is_scored_beside(folder: Path, tmp_path: Path) -> None:
    run = finetune(str(folder / "start"), str(folder), steps=3, batch=2, lr=1e-3)
    found = finish(run, tmp_path / "run", quiet)
    assert found["queries"]["raw"]["wer"] >= 1
    assert found["before"]["queries"] == found["queries"]
    made = load_folder(tmp_path / "run" / "checkpoint")
    before = load_folder(folder / "start").net.state_dict()
    moved = {n for n, t in made.net.state_dict().items() if not torch.equal(t, before[n])}
    assert moved == {n for n, _ in made.net.named_parameters()}
    (one,) = made.transcribe([(folder / "3.wav").read_bytes()], words=True)
    assert isinstance(one, Transcript)


def test_additions_learn_in_its_stead_and_are_merged(folder: Path, tmp_path: Path) -> None:
    run = lora(str(folder / "start"), str(folder), rank=2, steps=2, batch=2)
    finish(run, tmp_path / "run", quiet)
    made, before = load_folder(tmp_path / "run" / "checkpoint"), load_folder(folder / "start")
    names = {n for n, m in made.net.named_modules() if isinstance(m, LowRank)}
    assert len(names) == 3 + 2 * 5
    own = before.net.state_dict()
    assert all(torch.equal(t, own[n]) for n, t in made.net.state_dict().items() if n in own)
    (one,) = made.transcribe([(folder / "3.wav").read_bytes()], words=True)
    assert isinstance(one, Transcript)
    told = merge_model(tmp_path / "run" / "checkpoint", tmp_path / "merged")
    assert told["maps"] == len(names) and told["difference"] < 1e-5
    plain = load_folder(tmp_path / "merged")
    assert set(plain.net.state_dict()) == set(own)


def test_a_plan_trains_nothing(folder: Path) -> None:
    told = plan("whisper.finetune", dict(start=str(folder / "start"), data=str(folder), batch=2))
    assert told["flops"]["step"] > 0 and told["memory_mib"]["peak"] > 0
    assert recipe("whisper.finetune") is finetune and recipe("whisper.lora") is lora


def test_what_is_no_whisper_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rank of 1 or more"):
        lora("x", rank=0)
    with pytest.raises((WeightsError, OSError)):
        finetune(str(tmp_path), str(folder)).asks["transcribe"].source()


@pytest.mark.data
def test_a_speaker_is_left_out_of_the_digits() -> None:
    run = digits("theo", steps=1)
    source = run.asks["transcribe"].source()
    speakers = {chain[0].speaker for chain in source.data}
    assert len(source.data) == 800 and "theo" not in speakers and len(speakers) == 4
    assert run.finish is not None
    _, told = run.finish.test()  # type: ignore[attr-defined]
    assert {one.speaker for one in told} == {"theo"} and len(told) == 250
    batch = Positions(source, 0)[[0, 1, 2]].batch
    assert batch.source.shape == (3, 80, 128) and int(batch.learnt.sum()) <= 9
    with pytest.raises(ValueError, match="george, jackson"):
        digits("nobody")
