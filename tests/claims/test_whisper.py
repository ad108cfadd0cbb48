"""Whisper's claim at toy size: made speech, an arm, the page."""

from pathlib import Path

import numpy as np
import torch

from sensorium.claims import spoken, whisper
from sensorium.claims.record import Record, Row
from sensorium.claims.spoken import CLEAN, FRAMES, MELS, ONE, Room, placed, said, speech
from sensorium.claims.whisper_page import PAGE

TOY = whisper.FULL._replace(seeds=(0, 1), width=16, utterances=16, test=3)
TOY = TOY._replace(effort=TOY.effort._replace(steps=2, batch=4))


def test_speech_is_made_from_the_generator_alone() -> None:
    one, same = (speech(3, True, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one.mel, same.mel) and one.words == same.words
    assert one.mel.shape == (3, MELS, FRAMES) and bool(one.mel.isfinite().all())
    longest = said((1, 2, 3, 4), ONE._replace(pace=0.8), np.random.default_rng(0))
    assert len(longest) < FRAMES * 160


def test_rooms_do_what_they_say() -> None:
    g = np.random.default_rng(0)
    sound = said((1, 2), ONE, g)
    assert np.abs(placed(sound, CLEAN, g) - sound).max() < 1e-5
    noisy = placed(sound, Room(noise=10.0), g) - sound
    assert abs(10 * np.log10(np.mean(sound**2) / np.mean(noisy**2)) - 10) < 0.5
    waves = np.abs(np.fft.rfft(placed(sound, Room(top=2000.0), g))) ** 2
    high = np.fft.rfftfreq(len(sound), 1 / 16000) > 3000
    assert waves[high].sum() / waves.sum() < 1e-4
    still = np.concatenate([sound, np.zeros(8000, np.float32)])
    tail = placed(still, Room(echo=0.4), g)[len(sound) :]
    assert np.abs(tail[:1600]).mean() > 20 * np.abs(tail[-800:]).mean() > 0


def test_an_arm_is_trained_and_scored() -> None:
    found = whisper.work(TOY, {"arm": "many-25", "seed": 0})
    assert {"clean", "shifted", "loss", *whisper.SHIFTED} <= found.keys()
    mean = sum(found[name] for name in whisper.SHIFTED) / len(whisper.SHIFTED)
    assert abs(found["shifted"] - mean) < 1e-12
    model = whisper.net(TOY)
    texts = whisper.said(model, spoken.speech(2, True, np.random.default_rng(0)).mel)
    assert all(len(text) <= spoken.MOST + 1 and whisper.END not in text for text in texts)


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    design = whisper.FULL
    record = Record(tmp_path / "results.jsonl", design)
    for job in whisper.jobs(design):
        shifted = {"one": 0.6, "many-6": 0.5, "many-25": 0.3, "many-100": 0.2}[job["arm"]]
        shifted += 0.01 * job["seed"]
        found = {"clean": 0.02 + 0.001 * job["seed"], "shifted": shifted}
        record.add(Row(job, found | dict.fromkeys(whisper.SHIFTED, shifted), 1.0))
    judged = PAGE.verdicts(record, design)
    assert [one.word for one in judged] == ["holds"] * 4
    assert "| many voices | 2.1 (" in PAGE.text(record, design, judged)
    PAGE.plot(record, design, tmp_path / "claim.png")
    assert (tmp_path / "claim.png").read_bytes().startswith(b"\x89PNG")
