"""Talking with a Flamingo, and captions after examples, with a checkpoint that was trained here."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import sensorium
from sensorium import cli
from sensorium.data.chat import Message
from sensorium.data.conversations import pictured
from sensorium.data.errors import DataError
from sensorium.data.interleaved import CHUNK, MARK
from sensorium.nn.generate.speaks import How
from sensorium.recipes.execute import finish
from sensorium.recipes.flamingo import train
from sensorium.verbs.exchange import save_model
from sensorium.verbs.model import Model
from sensorium.verbs.tell import caption
from sensorium.verbs.turns import Turns
from tests.verbs.test_shown import asks, drawn
from tests.verbs.test_speak import model_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and a Flamingo with a tower of its own, trained for two steps."""
    at = tmp_path_factory.mktemp("turns")
    lm = model_of()
    lm.net.float()
    save_model(lm, at / "lm")
    rows = []
    for i in range(4):
        drawn(i).save(at / f"{i}.png")
        rows.append({"images": [f"{i}.png", None], "texts": [None, f"a {i}"]})
    (at / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = train(str(at / "lm"), None, f"obelics:{at / 'rows.jsonl'}=1", 2, steps=2, batch=2)
    finish(run, at / "run", lambda text: None)
    return at


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    """Opened, its gates opened too, in numbers so wide that a cache changes nothing."""
    model = sensorium.load(folder / "run" / "checkpoint", precision="float64")
    with torch.no_grad():
        for name, parameter in model.net.named_parameters():
            if name.endswith(".gate"):
                parameter.fill_(0.7)
    return model


def turns(model: Model, template: str | None = None) -> Turns:
    talk = model.talk(template)
    assert isinstance(talk, Turns)
    return talk


def test_a_turn_is_a_chunk_as_openflamingo_asks(model: Model) -> None:
    words = model.words
    assert words is not None
    mark, chunk = (words.specials[name] for name in (MARK, CHUNK))
    said = [asks("what?", drawn(0), drawn(1)), {"role": "assistant", "content": "a cat"}]
    said += [{"role": "user", "content": "sure?"}]
    flat = [{**said[0], "content": "\udfff\udfff\nwhat?"}, *said[1:]]
    messages = [Message(one["role"], one["content"]) for one in flat]
    want = [mark, mark, *words.encode("Question:what? Short answer:a cat"), chunk]
    start = [words.bos] if words.begins and words.bos is not None else []
    assert turns(model).ids(messages) == [
        *start,
        *want,
        *words.encode("Question:sure? Short answer:"),
    ]
    plain = turns(model, "plain").ids(messages)
    assert plain == [
        *start,
        *[mark, mark, *words.encode("what?a cat"), chunk],
        *words.encode("sure?"),
    ]
    assert turns(model).ids([Message("user", "\udfff")]) == [*start, mark, *words.encode("Output:")]


def test_what_is_typed_never_becomes_a_mark(model: Model) -> None:
    assert model.words is not None
    typed = f"{MARK}{CHUNK} {''.join(model.words.specials)}"
    ids = turns(model).ids([Message("user", typed)])
    start = 1 if model.words.begins else 0
    assert not set(ids[start:]) & set(model.words.specials.values())
    assert model.chat([{"role": "user", "content": typed}], max_tokens=2).ids


def test_many_rounds_read_only_what_is_new_and_say_the_same(model: Model) -> None:
    """With a picture, without, with two more; then the first picture is another."""
    talk = turns(model)
    said: list[Any] = [asks("what?", drawn(0))]
    whole, fresh = [], []
    more = [{"role": "user", "content": "sure?"}, asks("and?", drawn(1), drawn(2)), None]
    for asked in more:
        (*_, last) = talk.stream(said, How(5))
        whole.append(len(turns(model).ids(_messages(said))))
        fresh.append(talk.read)
        assert last.reply is not None
        assert last.reply[:2] == model.chat(said, max_tokens=5)[:2]
        if asked is not None:
            said += [{"role": "assistant", "content": last.reply.text}, asked]
    assert fresh[0] == whole[0] and fresh[1] < whole[1] and fresh[2] < whole[2]
    said[0] = asks("what?", drawn(3))
    (*_, last) = talk.stream(said, How(5))
    assert last.reply is not None and last.reply[:2] == model.chat(said, max_tokens=5)[:2]
    assert talk.read == len(turns(model).ids(_messages(said)))


def _messages(said: list[Any]) -> Any:
    return pictured(said)[0]


def test_the_picture_matters_and_what_makes_no_sense_is_refused(model: Model) -> None:
    one, other = (model.chat([asks("what?", drawn(i))], max_tokens=8) for i in (0, 1))
    assert one.logprobs != other.logprobs
    with pytest.raises(ValueError, match="vqa or plain, not in 'chatml'"):
        model.talk("chatml")
    with pytest.raises(DataError, match="no system message"):
        model.chat([{"role": "system", "content": "be kind"}, asks("what?", drawn(0))])
    with pytest.raises(ValueError, match="context"):
        model.chat([{"role": "user", "content": "a " * 5000}])
    with pytest.raises(ValueError, match="only a Flamingo"):
        caption(model_of(), drawn(0), shots=[(drawn(1), "x")])


def test_the_terminal_talks_and_captions(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at, image = str(folder / "run" / "checkpoint"), str(folder / "0.png")
    lines = f"What?\n/image {folder}/1.png\nAnd?\n/history\n/clear\n/history\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert cli.main(["chat", at, "--image", image, "--set", "max_tokens=3"]) == 0
    out = capsys.readouterr().out
    assert "user: [picture] What?" in out and "user: [picture] And?" in out
    assert out.endswith("(cleared)\n(empty)\n")
    assert cli.main(["chat", at, "--bits", "8"]) == 1
    assert "leave out --bits" in capsys.readouterr().err
    shots = [f"{folder}/1.png=a 1", f"{folder}/2.png=a = 2"]
    assert cli.main(["caption", at, image, "--json", "--shots", *shots]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    model = sensorium.load(at)
    teller = model.teller()
    demos = [(folder / "1.png", "a 1"), (folder / "2.png", "a = 2")]
    (want,) = teller.generate([teller.shown(demos, folder / "0.png")], How(128))
    assert said == {image: want.text.strip()}
    assert cli.main(["caption", "nowhere", image, "--shots", "a.png"]) == 1
    assert "PICTURE=WORDS" in capsys.readouterr().err
