"""A model that reads pictures among words: kept, proved, talked with, asked side by side."""

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sensorium
from sensorium import cli
from sensorium.data.errors import DataError
from sensorium.data.ragged import lay
from sensorium.media import MediaError, transform
from sensorium.media.specs import padded_clip
from sensorium.models.llava import TINY
from sensorium.nn.generate.speaks import How
from sensorium.verbs.exchange import export_model, save_model
from sensorium.verbs.model import Model
from sensorium.verbs.tell import caption
from tests.data.test_words import PAIRS
from tests.models.nets import filled
from tests.verbs.test_speak import model_of as text_model

WORDS = PAIRS["digits"][1]
TEXT = TINY.args["text"]._replace(vocab=WORDS.vocab, length=256)
TALKS = TINY._replace(args=TINY.args | dict(text=TEXT))
SPEC = padded_clip(24)


def drawn(seed: int) -> Image.Image:
    """A picture of noise."""
    g = np.random.default_rng(seed)
    return Image.fromarray(g.integers(0, 256, (30, 40, 3), dtype=np.uint8))


def model_of(chat: str | None = "chatml") -> Model:
    manifest = {"name": "tiny", "model": TALKS.spec(), "transform": SPEC, "tokenizer": WORDS.spec()}
    manifest |= {"data": "none", "licence": "none"} | ({"chat": chat} if chat else {})
    return Model(filled(TALKS), transform(SPEC), None, manifest, None, WORDS)


def asks(text: str, *images: Image.Image) -> dict:
    """A user's message with pictures."""
    shown = [{"type": "image", "image": one} for one in images]
    return {"role": "user", "content": [*shown, {"type": "text", "text": text}]}


@pytest.fixture(scope="module")
def model() -> Model:
    model = model_of()
    model.net.double()  # so that a cache changes nothing
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("shown")
    drawn(0).save(at / "a.png")
    drawn(1).save(at / "b.png")
    return save_model(model_of(), at / "tiny").parent


def test_a_folder_is_proved_and_exported(folder: Path, tmp_path: Path) -> None:
    again = sensorium.load(folder / "tiny")
    said = [asks("what is it?", drawn(0))]
    assert again.chat(said, max_tokens=9) == model_of().chat(said, max_tokens=9)
    report = export_model(folder / "tiny", "hf-llava", tmp_path / "hf")
    assert report["differences"] == {"show": 0.0}
    half = sensorium.load(folder / "tiny", precision="bf16")
    assert half.chat(said, max_tokens=5).ids


def test_the_picture_matters_and_its_place_in_json_too(model: Model) -> None:
    one, other = (model.chat([asks("what?", drawn(i))], max_tokens=9) for i in (0, 1))
    assert one != other
    buffer = io.BytesIO()
    drawn(0).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    written = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what?"}]
    assert model.chat([{"role": "user", "content": written}], max_tokens=9) == one
    typed = model.chat([{"role": "user", "content": "<image>\nwhat?"}], max_tokens=9)
    assert typed.ids != one.ids


def test_many_rounds_read_only_what_is_new_and_say_the_same(model: Model) -> None:
    """The second round shows another picture, the fourth changes the first one."""
    talk = model.talk()
    said = [asks("what?", drawn(0))]
    reads = []
    for more in (asks("and this?", drawn(1), drawn(2)), asks("sure?"), None):
        last = list(talk.stream(said, How(7)))[-1]
        reads.append(talk.read)
        assert last.reply is not None and last.reply[:2] == model.chat(said, max_tokens=7)[:2]
        if more is not None:
            said += [{"role": "assistant", "content": last.reply.text}, more]
    assert reads[2] < reads[1]  # words alone, behind two pictures
    said[0] = asks("what?", drawn(3))
    (*_, last) = talk.stream(said, How(7))
    assert last.reply is not None and last.reply[:2] == model.chat(said, max_tokens=7)[:2]


def test_a_model_of_captions_is_asked_nothing_and_ends_at_a_new_line() -> None:
    plain = model_of("plain")
    plain.net.double()
    said = caption(plain, drawn(0))
    assert "\n" not in said and said != caption(plain, drawn(1))
    talk = plain.talk()
    first = [b.reply for b in talk.stream([asks("", drawn(0))], How(5)) if b.reply]
    again = [b.reply for b in talk.stream([asks("", drawn(0))], How(5)) if b.reply]
    assert first[0].ids == again[0].ids and first[0].logprobs == pytest.approx(again[0].logprobs)


@pytest.mark.compiled
def test_a_quickened_model_says_the_same() -> None:
    model = model_of()
    said = [asks("what is it?", drawn(0))]
    slow = model.chat(said, max_tokens=9)
    model.quicken()
    assert model.chat(said, max_tokens=9).ids == slow.ids
    model.quicken(8)
    assert len(model.chat(said, max_tokens=9).ids) <= 9


def test_what_makes_no_sense_is_refused(model: Model, folder: Path) -> None:
    for call, word in (
        (lambda: model.chat([asks("x", *[drawn(0)] * 30)]), "context"),
        (lambda: text_model().chat([asks("x", drawn(0))]), "reads text only"),
        (lambda: text_model().talk("alpaca"), "plain"),
        (lambda: caption(text_model(), drawn(0)), "does not talk about pictures"),
    ):
        with pytest.raises((ValueError, DataError), match=word):
            call()
    with pytest.raises(MediaError):
        model.chat([{"role": "user", "content": [{"type": "image", "image": b"no picture"}]}])


def test_the_terminal_shows_pictures(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = f"Hello\n/image {folder}/b.png\n/image nowhere.png\nAnd?\n/history\n/clear\n/history\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    words = [
        "chat",
        str(folder / "tiny"),
        "--image",
        str(folder / "a.png"),
        "--set",
        "max_tokens=4",
    ]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "user: [picture] Hello" in out and "user: [picture] And?" in out
    assert "nowhere.png" in out and out.endswith("(cleared)\n(empty)\n")


def test_one_question_is_put_to_several_models(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at, image = str(folder / "tiny"), str(folder / "a.png")
    assert cli.main(["ask", at, at, "--image", image, "what?", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["question"] == "what?" and set(found) == {"question", at}
    assert cli.main(["ask", at, image, "what?", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found[at]
    assert cli.main(["caption", at, image, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])) == {image}
    assert cli.main(["ask", at, image]) == 1
    assert "--image" in capsys.readouterr().err


def test_texts_alone_are_continued(model: Model) -> None:
    reply = model.generate("the quick", max_tokens=5)[0]
    with torch.no_grad():
        ids = WORDS.encode("the quick")
        scores = model.net.decoder.extend(  # type: ignore[union-attr]
            lay([ids]),
            model.net.blank(1, 64),  # type: ignore[operator]
        )
    assert reply.ids[0] == int(scores.argmax())
