"""Real weights: CTranslate2 folders tiny.en and base, in the folder SENSORIUM_WHISPER names."""

import os
from pathlib import Path

import pytest

import sensorium
from sensorium.datasets.speech import Recordings
from sensorium.tasks.transcription import transcription
from sensorium.verbs.model import Model
from sensorium.verbs.speech.result import Transcript

WHERE = os.environ.get("SENSORIUM_WHISPER")
pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(WHERE is None, reason="SENSORIUM_WHISPER names no folder"),
]


@pytest.fixture(scope="module", params=["tiny.en", "base"])
def model(request: pytest.FixtureRequest) -> Model:
    return sensorium.load(Path(str(WHERE)) / request.param)


def test_it_understands_read_speech(model: Model) -> None:
    samples = Recordings("ljspeech_mini", "test")

    def said(sounds):
        found = model.transcribe(list(sounds), batch=4)
        return [one.text if isinstance(one, Transcript) else "" for one in found]

    assert transcription(said, samples)["normalised"]["wer"].value < 0.08


def test_words_have_times_inside_their_segments_and_the_language_is_told(model: Model) -> None:
    sample = Recordings("librispeech_mini", "test")[0]
    (found,) = model.transcribe([sample.sound], words=True)
    assert isinstance(found, Transcript) and found.language == "en"
    assert found.chance > 0.9 and len(found.words) > 20
    for segment in found.segments:
        times = [t for w in segment.words for t in (w.start, w.end)]
        assert times == sorted(times)
        assert segment.start <= times[0] and times[-1] <= segment.end + 1e-6
