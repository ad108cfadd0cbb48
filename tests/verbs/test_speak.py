"""A language model in a folder: kept, proved, generating, talking, in Python and the terminal."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import sensorium
from sensorium import cli
from sensorium.data.errors import DataError
from sensorium.models import gpt2, llama, t5
from sensorium.models.scored import placed
from sensorium.nn.generate.choices import losses
from sensorium.nn.generate.speaks import How
from sensorium.verbs.exchange import export_model, save_model
from sensorium.verbs.model import Model
from sensorium.verbs.tail import Tail
from tests.data.test_words import PAIRS
from tests.models.drawn import state

WORDS = PAIRS["digits"][1]
TINY = llama.TINY._replace(args=llama.TINY.args | dict(vocab=WORDS.vocab, length=256))
ASK = [{"role": "user", "content": "Hello <|im_end|>, it's 2024?"}]


def model_of(declaration: Any = TINY, words: Any = WORDS, chat: str | None = "chatml") -> Model:
    net = declaration.build()
    net.load_state_dict(state({name: t.shape for name, t in net.state_dict().items()}))
    spec = words and words.spec()
    manifest = {"name": "tiny", "model": declaration.spec(), "transform": None, "tokenizer": spec}
    manifest |= {"data": "none", "licence": "none"} | ({"chat": chat} if chat else {})
    return Model(net.double() if words else net, None, None, manifest, None, words)


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = model_of()
    model.net.float()
    return save_model(model, tmp_path_factory.mktemp("speak") / "tiny")


def test_a_folder_gives_the_model_again_and_proves_it(folder: Path, tmp_path: Path) -> None:
    again = sensorium.load(folder)
    assert again.words is not None and again.words.encode("naïve 12") == WORDS.encode("naïve 12")
    assert (folder / "probes.safetensors").is_file()
    report = export_model(folder, "hf-llama", tmp_path / "hf")
    assert report["differences"] == {"score": 0.0}
    table = folder / "words.json"
    held = table.read_bytes()
    table.write_bytes(held[:-1] + b" ")
    with pytest.raises(ValueError, match="sha256"):
        sensorium.load(folder)
    table.write_bytes(held)
    for declaration in (gpt2.TINY, t5.TINY_GATED):
        at = save_model(model_of(declaration, None, None), tmp_path / declaration.function.__name__)
        assert sensorium.load(at).words is None


def test_texts_are_continued_together_as_alone(model: Model) -> None:
    prompts = ["the quick", "it's 2024, isn't", "中文"]
    for settings in ({}, {"temperature": 0.9, "top_p": 0.9, "seed": 7}):
        together = model.generate(prompts, n=2, max_tokens=12, **settings)
        alone = [r for p in prompts for r in model.generate(p, n=2, max_tokens=12, **settings)]
        assert [r.ids for r in together] == [r.ids for r in alone]
        assert [r.text for r in together] == [r.text for r in alone]
        assert all(len(r.logprobs) == len(r.ids) <= 12 for r in together)
    same = model.generate("the", n=3, max_tokens=8, temperature=1.0)
    assert len({r.ids for r in same}) > 1
    assert same[0].ids == model.generate("the", max_tokens=8, temperature=1.0)[0].ids


def test_what_an_encoder_reads_is_written_anew() -> None:
    wide = t5.TINY_GATED._replace(args=t5.TINY_GATED.args | dict(vocab=WORDS.vocab))
    model = model_of(wide, WORDS, None)
    prompts = ["the quick brown", "it's 2024"]
    together = model.generate(prompts, max_tokens=6)
    alone = [model.generate(prompt, max_tokens=6)[0] for prompt in prompts]
    assert [r.ids for r in together] == [r.ids for r in alone]
    assert together[0].ids != together[1].ids
    source = [*WORDS.encode(prompts[0]), WORDS.eos]
    assert model.generate([source], max_tokens=6)[0].ids == together[0].ids
    best = model.generate(prompts, n=2, beams=3, max_tokens=6)
    assert [r.ids for r in best[:2]] == [
        r.ids for r in model.generate(prompts[0], n=2, beams=3, max_tokens=6)
    ]
    (single,) = model.generate(prompts[0], beams=1, max_tokens=6)
    assert single.ids == together[0].ids
    assert single.logprobs == pytest.approx(together[0].logprobs, abs=1e-6)
    drawn = model.generate(prompts[1], n=2, temperature=1.0, max_tokens=6)
    assert drawn[1].ids == model.generate(prompts, n=2, temperature=1.0, max_tokens=6)[3].ids


def test_beams_find_a_text_no_less_likely_than_the_greedy_one(model: Model) -> None:
    prompts = ["the quick", "it"]
    best = model.generate(prompts, n=2, beams=4, penalty=0.0, max_tokens=8)
    greedy = model.generate(prompts, max_tokens=8)
    for one, first, second in zip(greedy, best[::2], best[1::2], strict=True):
        assert sum(first.logprobs) >= sum(second.logprobs)
        if len(first.ids) == len(one.ids) == 8:
            assert sum(first.logprobs) >= sum(one.logprobs) - 1e-4
    (single,) = model.generate("it", beams=1, max_tokens=8)
    assert single.ids == greedy[1].ids and single.text == greedy[1].text
    assert single.logprobs == pytest.approx(greedy[1].logprobs, abs=1e-5)
    wrong = {"1 to 2": {"n": 3}, "stop strings": {"stop": ["a"]}, "at 0": {"temperature": 1.0}}
    for why, said in wrong.items():
        with pytest.raises(ValueError, match=why):
            model.generate("it", beams=2, max_tokens=8, **said)


@pytest.mark.compiled
def test_a_quickened_model_says_the_same_and_follows_its_weights() -> None:
    model = model_of()
    model.net.float()
    slow = model.generate(["the quick", "it"], max_tokens=9)
    report = model.quicken()
    assert report["bytes"] > 0
    assert [r.ids for r in model.generate(["the quick", "it"], max_tokens=9)] == [
        r.ids for r in slow
    ]
    few = model.quicken(8)
    assert few["bytes"] < report["bytes"] and few["error"]["largest"] < 0.02
    with torch.no_grad():
        for p in model.net.parameters():
            p.mul_(0.5)
    changed = model.generate("the quick", max_tokens=9)[0]
    model.quicken(8)
    assert changed == model.generate("the quick", max_tokens=9)[0]


def test_a_stop_string_ends_a_text_before_it(model: Model) -> None:
    whole = model.generate("the quick", max_tokens=30)[0].text
    stop = whole[7:10]
    cut = model.generate("the quick", max_tokens=30, stop=[stop, "never"])[0]
    assert cut.end == "stop" and cut.text == whole[: whole.index(stop)]


def test_pieces_of_a_stream_are_the_whole(model: Model) -> None:
    for seed in range(4):
        settings: dict[str, Any] = dict(max_tokens=25, temperature=1.2, seed=seed)
        whole = model.chat(ASK, **settings)
        bits = list(model.stream(ASK, **settings))
        assert bits[-1].reply == whole and "".join(b.text for b in bits).strip() == whole.text


def test_a_second_turn_reads_only_what_is_new_and_says_the_same(model: Model) -> None:
    talk, said = model.talk(), list(ASK)
    for text in ("And then?", "Why?"):
        (*_, last) = talk.stream(said, How(9))
        assert last.reply[:2] == model.chat(said, max_tokens=9)[:2]
        said += [{"role": "assistant", "content": last.reply.text}]
        said += [{"role": "user", "content": text}]
    (*_, last) = talk.stream(said, How(9))
    assert last.reply[:2] == model.chat(said, max_tokens=9)[:2]
    whole = model.talk()
    list(whole.stream(said, How(9)))
    assert talk.read < whole.read


def test_letters_and_stop_strings_are_held_back_until_they_are_sure() -> None:
    text = "né😀 stopera stop end"
    for stop in ((), ("stop ",), ("op e", "nothing")):
        tail, shown = Tail(stop), []
        for byte in text.encode():
            piece = tail.push(bytes([byte]))
            assert "\ufffd" not in piece
            shown.append(piece)
        shown.append(tail.finish())
        wanted = text
        for one in stop:
            wanted = wanted[: wanted.index(one)] if one in wanted else wanted
        assert "".join(shown) == wanted and tail.stopped == (wanted != text)


def test_what_makes_no_sense_is_refused(model: Model) -> None:
    for call, word in (
        (lambda: model.generate(""), "empty"),
        (lambda: model.generate([]), "empty"),
        (lambda: model.generate("a", max_tokens=0), "max_tokens"),
        (lambda: model.generate("a " * 300), "context"),
        (lambda: model.generate("a", heat=1), "heat"),
        (lambda: model.generate("a", n=0), "n is 0"),
        (lambda: model.generate("a", stop="x"), "list"),
        (lambda: model.chat([{"role": "system", "content": "x"}]), "user turn"),
        (lambda: model_of(chat=None).chat(ASK), "names no chat template"),
        (lambda: model_of(words=None).chat(ASK), "no tokenizer"),
        (lambda: model.embed(images=["x.png"]), "classifier|no space"),
        (lambda: model.transform, "no pictures"),
    ):
        with pytest.raises((ValueError, DataError), match=word):
            call()


def test_the_terminal_answers_clears_and_remembers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "Hello\n/history\n/clear\n/history\n/what\n\nHello\n/exit\nnever\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert cli.main(["chat", str(folder), "--set", "max_tokens=6", "temperature=0.5"]) == 0
    out = capsys.readouterr().out
    assert "user: Hello" in out and "(cleared)\n(empty)\n/clear forgets" in out
    assert out.count("[cut at max_tokens]") in (0, 2)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert cli.main(["chat", str(folder), "--set", "max_tokens=many"]) == 1
    assert cli.main(["chat", str(folder), "--set", "heat=1"]) == 1
    assert "is a number" in capsys.readouterr().err


def test_losses_are_those_of_a_pass_over_the_text(model: Model) -> None:
    ids = WORDS.encode("the quick brown fox")
    loss = losses(model.net, [ids])[0]  # type: ignore[arg-type]
    with torch.no_grad():
        logits = model.net(placed([ids], torch.device("cpu")))
    wanted = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
    assert list(loss) == pytest.approx(wanted.tolist(), abs=1e-9)
    assert json.dumps(loss)
