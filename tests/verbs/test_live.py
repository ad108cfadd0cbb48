"""Live transcription, the pieces of one recording together, hot words, and doubt."""

import argparse
import io
import json
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, Spoken, published
from sensorium.models.declaration import Declaration
from sensorium.models.whisper import Size, upper_half, whisper
from sensorium.verbs.load import assemble
from sensorium.verbs.model import Model
from sensorium.verbs.speech import live as lives
from sensorium.verbs.speech.deliver import coming
from sensorium.verbs.speech.doubt import Place, doubted, odd
from sensorium.verbs.speech.options import transcribing
from sensorium.verbs.speech.pieces import pieces
from sensorium.verbs.speech.result import Failure, Segment, Transcript, Word
from sensorium.verbs.speech.run import hearing
from sensorium.verbs.speech.track import Track
from sensorium.verbs.speech.voice import VOICE
from tests.models.drawn import state

SIZE = Size(64, 2, 1)
PLAIN: dict[str, Any] = dict(temperatures=(0.0,), silence=None)


@pytest.fixture(scope="module")
def model() -> Model:
    """A net of random weights that hears 2 s at a time."""
    args = dict(size=SIZE, listening=1, mels=80, vocab=ENGLISH_ONLY, frames=100, length=40)
    declaration = Declaration(whisper, args | {"aligned": upper_half(SIZE)})
    words = published(ENGLISH_ONLY)
    shapes = {k: v.shape for k, v in declaration.build().state_dict().items()}
    manifest = {"name": "x", "model": declaration.spec(), "transform": None}
    manifest |= {"tokenizer": words.spec(), "data": "none", "licence": "none"}
    return assemble(state(shapes), manifest, None, words.data())


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    g = np.random.default_rng(seed)
    drawn = 0.1 * g.standard_normal(round(16000 * seconds))
    drawn *= 0.3 + 0.7 * np.abs(np.sin(np.arange(len(drawn)) / 9000))
    drawn[300:700] *= 8  # the loudest moment comes first
    return drawn.astype(np.float32)


def one(model: Model, samples: np.ndarray, **said: Any) -> Transcript:
    (found,) = model.transcribe([samples], **said)
    assert isinstance(found, Transcript)
    return found


@pytest.mark.parametrize("condition", [True, False])
def test_live_in_whole_windows_is_what_a_file_gives(model: Model, condition: bool) -> None:
    samples, said = sound(7.3), PLAIN | {"condition": condition}
    blocks = np.array_split(samples, 41)
    heard = list(model.live(blocks, step=10.0, **said))
    assert all(piece.final for piece in heard)
    found = one(model, samples, **said).segments
    assert [p.segment.ids for p in heard] == [s.ids for s in found]
    assert [(p.segment.start, p.segment.end) for p in heard] == [(s.start, s.end) for s in found]


def test_live_looks_on_the_way_and_holds_no_more_than_a_window(model: Model) -> None:
    ear = lives._Ear(hearing(model.net, model.words, ()), lives.How("en", **PLAIN), 0.5)
    held, heard = 0, []
    for block in np.array_split(sound(9.0), 90):
        heard += ear.hear(block)
        held = max(held, ear.buffer.frames)
    heard += ear.end()
    assert held <= 200 + 10 and ear.buffer.frames == 0
    assert any(not piece.final for piece in heard)
    last = [piece.segment for piece in heard if piece.final]
    starts = [s.start for s in last]
    assert starts == sorted(starts) and len(starts) > 3
    whole, blocks = np.concatenate([sound(9.0)]), [sound(9.0)]
    again = [p.segment.ids for p in model.live(blocks, step=0.5, **PLAIN) if p.final]
    small = np.array_split(whole, 18)
    assert again == [p.segment.ids for p in model.live(small, step=0.5, **PLAIN) if p.final]


def test_silence_is_not_transcribed_live(model: Model) -> None:
    quiet = 0.001 * np.random.default_rng(0).standard_normal(16000 * 6)
    assert not list(model.live([quiet.astype(np.float32)], voice=VOICE, **PLAIN))


def test_live_settings_that_mean_nothing_are_refused(model: Model) -> None:
    refused: list[dict[str, Any]] = [{"words": True}, {"cut": True}, {"stamps": False}]
    for said in [*refused, {"step": 0.0}]:
        with pytest.raises(ValueError, match="live"):
            list(model.live([sound(1)], **said))


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    transcribing(parser)
    return parser.parse_args(words)


def test_standard_input_is_shown_line_by_line(model: Model) -> None:
    said: list[str] = []
    data = (sound(3.0) * 20000).astype("<i2").tobytes()
    asked = options("-", "--json", "--no-voice", "--step", "5")
    told = coming(model, asked, io.BytesIO(data), said.append)
    rows = [json.loads(line) for line in said]
    assert told.told == {"-": {"segments": len(rows)}} and rows
    assert all(row["language"] == "en" and row["text"] for row in rows)
    with pytest.raises(ValueError, match="is read alone"):
        coming(model, options("-", "a.wav"), io.BytesIO(data), said.append)


def test_pieces_together_are_what_they_are_one_by_one(model: Model) -> None:
    sounds = [sound(7.3), sound(0.5, 1), np.zeros(0, np.float32)]
    said: dict[str, Any] = PLAIN | {"cut": True, "words": True}
    alone = model.transcribe(sounds, batch=1, **said)
    together = model.transcribe(sounds, batch=5, **said)
    for a, b in zip(alone, together, strict=True):
        if isinstance(a, Failure):
            assert isinstance(b, Failure)
            continue
        assert isinstance(b, Transcript) and a.text == b.text
        assert [(s.start, s.end, s.ids) for s in a.segments] == [
            (s.start, s.end, s.ids) for s in b.segments
        ]
        assert [w.start for w in a.words] == [w.start for w in b.words]
    assert isinstance(alone[1], Transcript)
    short = one(model, sounds[1], **PLAIN)
    assert alone[1].text == short.text  # one piece is the whole


def test_pieces_end_where_it_is_quiet_and_cover_everything() -> None:
    samples = sound(9.7)
    for centre in (1.5, 3.1, 4.9):
        samples[int(16000 * (centre - 0.2)) : int(16000 * (centre + 0.2))] *= 1e-4
    found = list(pieces(Track(lambda: iter([samples]), 80, 200)))
    ends = [part.start + part.frames for part in found]
    assert [part.start for part in found] == [0, *ends[:-1]] and ends[-1] == 970
    assert max(part.frames for part in found) <= 200
    for end, centre in zip(ends, (150, 310, 490), strict=False):
        assert abs(end - centre) < 20


def test_hot_words_stand_before_every_window(model: Model) -> None:
    asked: list[list[int]] = []
    spoken = Spoken(published(ENGLISH_ONLY))
    samples, said = sound(5.0), PLAIN | {"prompt": "Before.", "condition": False}
    plain = one(model, samples, **said)
    hot = one(model, samples, hotwords="Sensorium", **said)
    assert plain.text != hot.text
    heard = lives._Ear(hearing(model.net, model.words, ()), lives.How(hotwords="Sensorium"), 1.0)
    asked.append(heard.prompt([spoken.sot]))
    assert asked[0] == [
        spoken.start_of_prev,
        *spoken.words.encode(" Sensorium"),
        spoken.sot,
    ]


def said_from(start: float, end: float, chance: float = 0.9, count: int = 4) -> Segment:
    step = (end - start) / count
    times = [(start + i * step, start + (i + 1) * step) for i in range(count)]
    words = tuple(Word(f" w{i}", a, z, chance) for i, (a, z) in enumerate(times))
    return Segment(start, end, "words", (1,), -0.1, 1.0, 0.0, 0.0, words)


def test_odd_segments_between_silences_are_left_out() -> None:
    good, made_up = said_from(1.0, 3.0), said_from(10.0, 12.0, chance=0.05)
    assert not odd(good) and odd(made_up) and not odd(None)
    assert odd(said_from(0.0, 0.2)) and odd(said_from(0.0, 16.0))
    place = Place(0, 3000, 3000, 9000, 0.0)
    left, seek, dropped = doubted([good, made_up], 1200, True, place, 2.0)
    assert left == [good] and seek == 1000 and not dropped
    left, seek, dropped = doubted([good, said_from(10.0, 12.0)], 1200, True, place, 2.0)
    assert len(left) == 2 and seek == 1200
    near = [said_from(1.0, 9.5), made_up, said_from(12.5, 14.0)]
    assert len(doubted(near, 1400, True, place, 2.0)[0]) == 3  # speech on both sides
    assert doubted([made_up], 1200, True, place, 2.0) == ([], 1000, True)
    late = said_from(27.0, 29.0)
    assert doubted([late], 2900, False, place, 2.0)[1] == 3000
    assert doubted([said_from(1.0, 20.0, count=12)], 2000, False, place, 2.0)[1] == 2000
    two = [good, said_from(9.0, 10.0, chance=0.05), said_from(11.0, 11.4, chance=0.05)]
    ending = Place(0, 1150, 3000, 1150, 0.0)
    assert doubted(two, 1140, True, ending, 2.0) == ([good], 1150, False)


def test_doubt_needs_word_times(model: Model) -> None:
    with pytest.raises(ValueError, match="needs word times"):
        model.transcribe([sound(1)], doubt=2.0)
    assert isinstance(one(model, sound(5.0), words=True, doubt=0.5, **PLAIN), Transcript)


def test_without_timestamps_a_window_has_one_text(model: Model) -> None:
    found = one(model, sound(5.0), stamps=False, **PLAIN)
    stamp = Spoken(published(ENGLISH_ONLY)).stamp
    assert all(i < stamp for s in found.segments for i in s.ids)
    assert [(s.start, s.end) for s in found.segments] == [(0.0, 2.0), (2.0, 4.0), (4.0, 5.0)]


def test_weights_laid_out_beforehand_say_the_same(model: Model) -> None:
    plain = one(model, sound(5.0), words=True, **PLAIN)
    quick = Model(model.net, None, None, model.manifest, None, model.words)
    if not quick.prepare():
        pytest.skip("no oneDNN here")
    found = one(quick, sound(5.0), words=True, **PLAIN)
    assert [s.ids for s in found.segments] == [s.ids for s in plain.segments]
    assert [w.start for w in found.words] == [w.start for w in plain.words]
    mel = quick._ready().get_buffer("embed.pos").new_ones((1, 80, 200))
    with torch.no_grad():
        a, b = (net.encode(mel) for net in (model.net, quick._ready()))  # type: ignore[operator]
    assert float((a - b).abs().max() / a.abs().max()) < 1e-5
