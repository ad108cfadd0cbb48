"""Transcription from file to subtitles, with a small net of random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

import sensorium
from sensorium.data.tokenizers.spoken import published
from sensorium.models.declaration import Declaration
from sensorium.models.whisper import Size, upper_half, whisper
from sensorium.models.whisper_rules import OPENAI_MAP
from sensorium.nn.mel import log_mel
from sensorium.verbs.exchange import export_model, save_model
from sensorium.verbs.load import assemble
from sensorium.verbs.model import Model
from sensorium.verbs.speech import track as tracks
from sensorium.verbs.speech.longform import repetition, sliced
from sensorium.verbs.speech.result import Failure, Segment, Transcript, Word
from sensorium.verbs.speech.track import Track
from sensorium.verbs.speech.voice import VOICE, Clock, only, parts
from sensorium.verbs.speech.write import FORMATS, Lines
from tests.models.drawn import state

SIZE = Size(64, 2, 1)
ARGS = dict(size=SIZE, listening=1, mels=80, vocab=51864, length=40, aligned=upper_half(SIZE))


@pytest.fixture(scope="module")
def model() -> Model:
    declaration = Declaration(whisper, ARGS)
    words = published(51864)
    shapes = {k: v.shape for k, v in declaration.build().state_dict().items()}
    manifest = {"name": "x", "model": declaration.spec(), "transform": None}
    manifest |= {"tokenizer": words.spec(), "data": "none", "licence": "none"}
    return assemble(state(shapes), manifest, None, words.data())


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    g = np.random.default_rng(seed)
    return (0.1 * g.standard_normal(int(16000 * seconds))).astype(np.float32)


PLAIN = dict(temperatures=(0.0,), silence=None)


def test_many_recordings_give_what_each_gives_alone_and_a_bad_one_stops_none(model: Model) -> None:
    sounds = [sound(3), sound(31, 1), np.zeros(0, np.float32), sound(1, 2)]
    together = model.transcribe([*sounds, "/no/such.wav"], batch=3, words=True, **PLAIN)
    assert isinstance(together[2], Failure) and "holds no sound" in together[2].reason
    assert isinstance(together[4], Failure) and "No such file" in together[4].reason
    for place in (0, 1, 3):
        (alone,) = model.transcribe([sounds[place]], words=True, **PLAIN)
        assert isinstance(alone, Transcript) and isinstance(together[place], Transcript)
        assert alone.text == together[place].text and alone.language == "en"
        for a, b in zip(alone.segments, together[place].segments, strict=True):
            assert (a.start, a.end, a.ids) == (b.start, b.end, b.ids)
            edges = [t for w in a.words for t in (w.start, w.end)]
            assert edges == sorted(edges)
            assert not edges or (a.start == edges[0] and a.end == edges[-1])


def test_settings_that_mean_nothing_are_refused(model: Model) -> None:
    for said, why in (
        ({"langage": "en"}, "unknown settings langage"),
        ({"language": "klingon"}, "is not known"),
        ({"language": "fr"}, "English alone"),
        ({"task": "translate"}, "English alone"),
        ({"beams": 0}, "at least 1"),
        ({"temperatures": ()}, "temperatures"),
    ):
        with pytest.raises(ValueError, match=why):
            model.transcribe([sound(1)], **said)
    with pytest.raises(ValueError, match="must be a list"):
        model.transcribe("talk.mp3")


@pytest.mark.parametrize("kept", [10**9, 100])
def test_windows_read_by_blocks_are_those_of_the_whole(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracks, "KEPT_FRAMES", kept)
    samples = sound(95.017) * np.linspace(0, 1, int(16000 * 95.017), dtype=np.float32)
    whole = log_mel(torch.from_numpy(samples), 80, 480_000)
    track = Track(lambda: iter(np.array_split(samples, 37)), 80)
    assert track.frames == whole.shape[1] - 3000 == 9501
    for start, size in ((0, 3000), (2950, 3000), (5000, 3000), (8000, 1501)):
        window = track.window(start, size)
        assert (window[:, :size] - whole[:, start : start + size]).abs().max() < 2e-5
        assert not window[:, size:].any()


@pytest.mark.parametrize("count", [1, 100, 200, 201, 399, 1600])
def test_the_shortest_sounds_have_a_beginning(count: int) -> None:
    samples = sound(1)[:count]
    track = Track(lambda: iter([samples]), 80)
    assert track.frames == count // 160
    want = log_mel(torch.from_numpy(samples), 80, 480_000)[:, :3000]
    assert (track.beginning() - want).abs().max() < 2e-5


def test_a_windows_tokens_are_cut_at_pairs_of_timestamps() -> None:
    t = 100  # the timestamp 0.00
    ids = [t, 1, 2, t + 50, t + 60, 3, t + 100, t + 100, 4]
    pieces, after, single = sliced(ids, t, 30.0, 3000)
    assert [(a, z) for a, z, _ in pieces] == [(30.0, 31.0), (31.2, 32.0)]
    assert (after, single) == (200, False)
    pieces, after, single = sliced([t, 1, t + 50, t + 50, 2, t + 75], t, 0.0, 1000)
    assert [z for _, z, _ in pieces] == [1.0, 1.5] and (after, single) == (1000, True)
    assert sliced([t, 1, 2], t, 0.0, 1000) == ([(0.0, 10.0, [t, 1, 2])], 1000, False)
    assert sliced([t, 1, t + 40], t, 0.0, 1000)[0][0][1] == 0.8
    assert repetition("ha " * 100) > 2.4 > repetition("the quick brown fox") and not repetition("")


def test_speech_is_kept_with_its_edges_and_times_are_put_back() -> None:
    step = 512 / 16000
    chances = [0.0] * 100 + [0.9] * 50 + [0.4] * 20 + [0.9] * 30 + [0.0] * 200 + [0.9] * 2
    chances += [0.0] * 100 + [0.9] * 40 + [0.0] * 20
    kept = parts(chances, len(chances) * 512, VOICE)
    assert kept == [(100 * 512 - 6400, 200 * 512 + 6400), (502 * 512 - 6400, 542 * 512 + 6400)]
    samples = np.arange(len(chances) * 512, dtype=np.float32)
    joined = np.concatenate([*only(iter(np.array_split(samples, 11)), kept)])
    assert len(joined) == sum(z - a for a, z in kept) and joined[0] == kept[0][0]
    clock = Clock(kept)
    length = (kept[0][1] - kept[0][0]) / 16000
    assert clock(0.5) == round(kept[0][0] / 16000 + 0.5, 3)
    assert clock(length, end=True) == round(kept[0][1] / 16000, 3)
    assert clock(length) == round(kept[1][0] / 16000, 3)
    assert step > 0


def test_silence_noise_and_hum_are_empty_with_voice_detection(model: Model) -> None:
    pytest.importorskip("silero_vad")
    time = np.arange(16000 * 20) / 16000
    hum = (0.3 * np.sin(2 * np.pi * 50 * time)).astype(np.float32)
    found = model.transcribe([np.zeros(160000, np.float32), sound(10), hum], voice=VOICE, **PLAIN)
    assert [one.text for one in found if isinstance(one, Transcript)] == ["", "", ""]


def test_openais_file_is_read_without_running_it(model: Model, tmp_path: Path) -> None:
    own = model.net.state_dict()
    theirs = {k: v.half() for k, v in OPENAI_MAP.save(own).items()}
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": theirs}, tmp_path / "tiny.pt")
    with pytest.raises(ValueError, match="allow_pickle"):
        sensorium.load(tmp_path / "tiny.pt", "openai-whisper")
    again = sensorium.load(tmp_path / "tiny.pt", "openai-whisper", allow_pickle=True)
    for name, value in again.net.state_dict().items():
        assert torch.equal(value, own[name].half().float())
    assert again.manifest["model"]["args"]["aligned"] == [[1, 0]]


WORDS = (Word(" Hello,", 0.0, 0.5, 0.9), Word(" big", 0.6, 1.0, 0.9), Word(" world", 1.1, 2.0, 0.8))
SEGMENTS = (
    Segment(0.0, 2.0, " Hello, big world", (1,), -0.1, 1.0, 0.0, 0.0, WORDS),
    Segment(3661.5, 3662.25, " a --> b", (2,), -0.1, 1.0, 0.0, 0.0),
)
TRANSCRIPT = Transcript("Hello, big world a --> b", SEGMENTS, "en", 1.0, 3700.0)


def test_formats() -> None:
    told = {name: write(TRANSCRIPT, Lines()) for name, write in FORMATS.items()}
    assert told["txt"] == "Hello, big world\na --> b\n"
    assert told["srt"].startswith(
        "1\n00:00:00,000 --> 00:00:02,000\nHello, big world\n\n2\n01:01:01,"
    )
    assert told["vtt"].startswith("WEBVTT\n\n00:00.000 --> 00:02.000\n")
    assert "01:01:01.500 --> 01:01:02.250\na -> b\n" in told["vtt"]
    assert told["tsv"].splitlines()[2] == "3661500\t3662250\ta --> b"
    data = json.loads(told["json"])
    assert data["segments"][0]["words"][1] == {
        "text": "big",
        "start": 0.6,
        "end": 1.0,
        "probability": 0.9,
    }
    narrow = FORMATS["srt"](TRANSCRIPT, Lines(width=10, count=1))
    assert "00:00:00,000 --> 00:00:01,000\nHello, big\n\n2\n00:00:01,100" in narrow


def test_a_checkpoint_proves_itself_and_transformers_opens_its_export(
    model: Model, tmp_path: Path
) -> None:
    folder = save_model(model, tmp_path / "own")
    found = export_model(folder, "hf-whisper", tmp_path / "hf")  # loads it, and runs its probes
    assert max(found["differences"].values()) <= 1e-5
    assert "words.json" in sensorium.load(folder).manifest["files"]
    theirs = WhisperForConditionalGeneration.from_pretrained(tmp_path / "hf").eval()
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want = theirs.model.encoder(mel).last_hidden_state
        assert (model.net.encode(mel) - want).abs().max() < 1e-5  # type: ignore[operator]
    words = WhisperTokenizer.from_pretrained(tmp_path / "hf")
    text = " Hello, naïve world's 12.5%"
    assert words.encode(text, add_special_tokens=False) == published(51864).encode(text)
    assert words.convert_tokens_to_ids("<|notimestamps|>") == 50362
