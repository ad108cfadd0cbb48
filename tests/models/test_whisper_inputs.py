"""What Whisper is trained on: spectrograms as transcription makes them, changed by chance."""

import io
import wave

import numpy as np
import pytest
import torch

from sensorium.data.clips import Clip, Piece
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, Spoken, published
from sensorium.models.whisper_inputs import (
    CHANGES,
    Changes,
    SpeechInputs,
    masked,
    spectrum,
    stretched,
    toned,
)
from sensorium.nn.mel import RATE, centres, log_mel
from sensorium.verbs.speech.track import Track

SPOKEN = Spoken(published(ENGLISH_ONLY))
STILL = Changes(*[0] * len(Changes._fields))  # nothing is changed
FRAMES = 200  # tokens: 4 s


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal(round(16000 * seconds))
    return (0.1 * drawn).astype(np.float32)


def wav(seconds: float, seed: int = 0) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((noise(seconds, seed) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def clip(seconds: float, text: str = "a word", before: str = "") -> Clip:
    said = (Piece(0.0, None, text),)
    return Clip(wav(seconds), said, False, 0.0, None, "en", "transcribe", before, "", "a")


def inputs(**said: float) -> SpeechInputs:
    return SpeechInputs(SPOKEN, 80, FRAMES, 64, STILL._replace(**said))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seconds", [0.02, 1.0, 3.999, 4.0])
def test_spectrograms_are_those_of_transcription_and_of_short_clips(seconds: float) -> None:
    sound = noise(seconds)
    track = Track(lambda: iter([sound]), 80, 2 * FRAMES)
    heard = track.window(0, track.frames)
    assert torch.allclose(spectrum(sound, 80, 2 * FRAMES, False), heard, atol=1e-6)
    short = log_mel(torch.from_numpy(sound), 80, 4 * 16000 - len(sound) + 400)[:, : 2 * FRAMES]
    assert torch.allclose(spectrum(sound, 80, 2 * FRAMES, True), short, atol=1e-6)


def test_without_chance_a_clip_is_what_it_is() -> None:
    made = inputs()([clip(1.0, before="Before it.")], None)
    again = SpeechInputs(SPOKEN, 80, FRAMES, 64, CHANGES)([clip(1.0, before="Before.")], None)
    assert torch.equal(made.mel, again.mel) and made.script == again.script
    assert SPOKEN.words.decode(made.script.ids[2:-1]) == " a word"
    text, learnt, mel = inputs().batch([made, again])
    assert mel.shape == (2, 80, 2 * FRAMES)
    assert learnt.tolist() == made.script.learnt * 2 and len(text.ids) == len(learnt)


def test_joined_clips_have_their_times_and_a_last_one_its_start() -> None:
    chain = [clip(1.5), clip(1.0), clip(3.0)]
    found = inputs(joined=1, stamps=1)
    ids = {tuple(found(chain, rng(seed)).script.ids) for seed in range(20)}
    stamp, word = SPOKEN.stamp, SPOKEN.words.encode(" a word")
    one = (SPOKEN.sot, stamp, *word, stamp + 75)
    two = (*one, stamp + 75, *word, stamp + 125)
    assert ids == {(*one, SPOKEN.eot), (*two, SPOKEN.eot), (*two, stamp + 125, SPOKEN.eot)}
    plain = {tuple(inputs(joined=1)(chain, rng(seed)).script.ids) for seed in range(20)}
    assert max(map(len, plain)) == 2 + 2 * len(word) + 1


def test_a_timed_window_without_times_ends_where_a_piece_is_cut() -> None:
    pieces = (Piece(0.0, 1.0, "a word"), Piece(2.0, None, "cut"))
    one = Clip(wav(8.0), pieces, True, 1.0, 5.0, "en", "transcribe", "", "", "a")
    made = inputs()([one], None)
    assert SPOKEN.text(made.script.ids) == " a word"
    assert bool((made.mel[:, 200:] == 0).all()) and bool((made.mel[:, :200] != 0).any())
    timed = inputs(stamps=1)([one], rng())
    assert bool((timed.mel[:, 300:] != 0).any())
    assert timed.script.ids[-2:] == [SPOKEN.stamp + 100, SPOKEN.eot]


def test_chances() -> None:
    quiet = inputs(silence=1)([clip(1.0)], rng())
    assert quiet.script.ids == [SPOKEN.sot, SPOKEN.no_speech, SPOKEN.eot]
    told = inputs(prompt=1)([clip(1.0, before="Before it.")], rng())
    assert told.script.ids[0] == SPOKEN.start_of_prev and not any(told.script.learnt[:4])
    changed = SpeechInputs(SPOKEN, 80, FRAMES, 64, CHANGES)
    one, same, other = (changed([clip(1.0)], rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.mel, same.mel) and one.script == same.script
    assert not torch.equal(one.mel, other.mel)


def test_masks_hide_bands_and_spans_of_the_sound_alone() -> None:
    mel = torch.randn(80, 400, generator=torch.Generator().manual_seed(0))
    out = masked(mel, 300, STILL._replace(bands=2, band=20, spans=2, span=100), rng(3))
    moved = out != mel
    assert not moved[:, 300:].any() and int(moved.sum()) > 0
    assert bool((out[moved] == mel[:, :300].mean()).all())
    columns = int(moved.all(dim=0).sum())
    assert 0 < columns <= 60 and int(moved[:, :300].all(dim=1).sum()) <= 40


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(DataError, match=r"has 5\.0 s, and the model hears 4 s"):
        inputs()([clip(5.0)], None)
    with pytest.raises(DataError, match="no speech"):
        inputs()([clip(0.005)], None)
    with pytest.raises(DataError, match="cut it into pieces"):
        inputs()([clip(1.0, text="many words " * 40)], None)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    at = np.arange(round(RATE * seconds)) / RATE
    return np.sin(2 * np.pi * hertz * at).astype(np.float32)


@pytest.mark.parametrize("by", [0.8, 1.0, 1.25])
def test_a_longer_tract_moves_what_is_heard_by_its_share(by: float) -> None:
    mel = stretched(spectrum(tone(1500), 80, 100, silent=False), by)
    heard = float(centres(80)[mel[:, 50].argmax()])
    assert heard == pytest.approx(1500 * by, rel=0.04)  # bins are 4% apart


def test_another_microphone_changes_how_loud_a_tone_is_and_nothing_else() -> None:
    sound = toned(tone(1500), 8.0, rng())
    middle = slice(4000, 12000)
    factor = np.abs(sound[middle]).max()
    assert 10 ** (-8 / 20) < factor < 10 ** (8 / 20)
    np.testing.assert_allclose(sound[middle], factor * tone(1500)[middle], atol=2e-3)
