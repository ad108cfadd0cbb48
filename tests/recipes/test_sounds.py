"""Sounds as pictures, classified: inputs by hand, and a short training."""

from pathlib import Path

import numpy as np
import pytest

from sensorium.data.errors import DataError
from sensorium.datasets.sounds import sound_folder
from sensorium.media import open_image
from sensorium.models.sound_inputs import Frame, Shifts, drawn, hidden, shown
from sensorium.recipes.execute import finish
from sensorium.recipes.find import recipe
from sensorium.recipes.sounds import FRAME, classify, cut
from sensorium.verbs.load import load_folder
from tests.models.test_whisper_inputs import wav

SMALL = Frame(pixels=48, seconds=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("sounds")
    for kind in ("loud", "quiet"):
        (at / kind).mkdir()
        for i in range(12):
            (at / kind / f"{i}.wav").write_bytes(wav(0.3 + 0.1 * i, i))
    return at


def test_a_tone_is_a_line_at_its_pitch_and_a_click_a_column() -> None:
    time = np.arange(16000) / 16000
    tones = [shown(np.sin(2 * np.pi * f * time).astype(np.float32), SMALL) for f in (500, 3000)]
    low, high = (int(tone[:, 24, 1].argmax()) for tone in tones)
    assert low > high > 5  # high pitches above
    click = np.zeros(16000, np.float32)
    click[8000] = 1
    picture = shown(click, SMALL)
    assert set(np.flatnonzero(picture[..., 2].max(axis=0))) <= {23, 24}
    assert picture[..., 0].max() <= picture[..., 1].max() <= picture[..., 2].max() == 255
    short = shown(np.ones(100, np.float32), SMALL)
    assert short.shape == (48, 48, 3) and not short[:, 10:].any()


def test_the_picture_of_a_file_is_that_of_its_samples() -> None:
    sound = wav(1.0, 3)
    picture = np.asarray(open_image(drawn(sound, SMALL)))
    samples = np.frombuffer(sound[44:], "<i2").astype(np.float32) / 32768
    assert np.array_equal(picture, shown(samples, SMALL))


def test_bands_and_stretches_are_hidden() -> None:
    picture = shown(np.random.default_rng(0).standard_normal(16000).astype(np.float32), SMALL)
    out = hidden(picture, 2, np.random.default_rng(1))
    moved = (out != picture).any(axis=2)
    assert 0 < moved.mean() < 0.7 and np.array_equal(out, hidden(picture, 2, _rng(1)))


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_changes_are_drawn_by_the_generator_alone(folder: Path) -> None:
    train = cut(str(folder)).train
    source = classify(str(folder)).asks["classify"].source()
    one, same, other = (source.inputs(train[0], _rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    plain, label = source.inputs(train[0], None)
    assert np.array_equal(plain, np.asarray(open_image(drawn(train[0].sound, FRAME))))
    assert label == train.targets[0] and Shifts().mixed > 0


def test_a_folder_of_kinds_is_learnt_and_named(folder: Path, tmp_path: Path) -> None:
    found = finish(classify(str(folder), steps=2, batch=4), tmp_path / "run", lambda text: None)
    assert set(found["scores"]["per_class"]) == {"loud", "quiet"}
    model = load_folder(tmp_path / "run" / "checkpoint")
    shares = model.classify([drawn(wav(1.0), FRAME)])
    assert shares.shape == (1, 2) and model.manifest["sounds"] == FRAME._asdict()
    assert recipe("sounds.classify") is classify


def test_folders_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        sound_folder(tmp_path / "none")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.wav").write_bytes(b"x")
    with pytest.raises(DataError, match="sounds of 1 kinds"):
        sound_folder(tmp_path)
    (tmp_path / "b.wav").write_bytes(b"x")
    with pytest.raises(DataError, match="lies in no folder"):
        sound_folder(tmp_path)
