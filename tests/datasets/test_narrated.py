"""Manifests of recordings, and the windows that are learnt from."""

import json
from pathlib import Path
from typing import Any

import pytest

from sensorium.data.clips import Piece
from sensorium.data.errors import DataError
from sensorium.datasets.narrated import Chains, Clips, Narrated, Told, narrated, parted, windows


def written(at: Path, rows: list[dict[str, Any]]) -> Path:
    for row in rows:
        (at / str(row.get("audio", "x.wav"))).write_bytes(str(row).encode())
    (at / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return at


def timed(*spans: tuple[float, float]) -> Told:
    pieces = tuple(Piece(a, z, f"from {a:g}") for a, z in spans)
    return Told("a.wav", pieces, True, "en", "transcribe", "", "", "a")


def test_a_manifest_says_texts_languages_tasks_and_speakers(tmp_path: Path) -> None:
    segments = [{"start": 0, "end": 2.5, "text": "One."}, {"start": 3, "end": 4, "text": "Two."}]
    rows = [
        {"audio": "a.wav", "text": "Hello.", "speaker": "ann", "before": "Well."},
        {"audio": "b.wav", "segments": segments, "language": "French", "task": "translate"},
        {"audio": "c.wav", "text": ""},
    ]
    root, told = narrated(written(tmp_path, rows), language="german")
    assert root == tmp_path
    assert [(t.language, t.task, t.timed, t.text) for t in told] == [
        ("de", "transcribe", False, "Hello."),
        ("fr", "translate", True, "One. Two."),
        ("de", "transcribe", False, ""),
    ]
    assert told[0].speaker == "ann" and told[0].before == "Well." and told[0].id == "a.wav"
    whole = Narrated(root, told)[1]
    assert whole.text == "One. Two." and whole.sound == (tmp_path / "b.wav").read_bytes()
    assert Clips(root, told)[2].pieces == ()


def test_sound_files_with_texts_beside_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b", "in/a"):
        (tmp_path / f"{name}.wav").write_bytes(b"x")
        (tmp_path / f"{name}.txt").write_text(f"{name} said \n")
    told = narrated(tmp_path)[1]
    assert [(t.file, t.text) for t in told] == [("b.wav", "b said"), ("in/a.wav", "in/a said")]
    (tmp_path / "c.flac").write_bytes(b"x")
    with pytest.raises(DataError, match=r"c.flac' has no c.txt beside it"):
        narrated(tmp_path)


def test_long_recordings_become_windows_that_begin_where_one_was_cut() -> None:
    told = timed((0, 10), (12, 29), (29.5, 33), (40, 50), (120, 125))
    found = windows(told, 30.0)
    assert [(begin, end) for begin, end, _, _ in found] == [
        *((0.0, 30.0), (29.5, 59.5), (59.5, 89.5), (89.5, 119.5), (119.5, 149.5))
    ]
    assert found[0][2][-1] == Piece(29.5, None, "from 29.5")
    assert found[1][2] == (Piece(0.0, 3.5, "from 29.5"), Piece(10.5, 20.5, "from 40"))
    assert found[2][2] == ()  # nobody speaks
    assert found[1][3] == "from 0 from 12"


def test_clips_of_one_speaker_are_chained_and_know_the_text_before(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"audio": f"{i}.wav", "text": f"text {i}", "speaker": who} for i, who in enumerate("aaabb")
    ]
    rows += [{"audio": "5.wav", "speaker": "b", "segments": [dict(start=0, end=1, text="x")]}]
    chains = Chains(Clips(*narrated(written(tmp_path, rows))), most=2)
    assert [[c.id for c in chains[i]] for i in range(6)] == [
        *(["0.wav", "1.wav"], ["1.wav", "2.wav"], ["2.wav"], ["3.wav", "4.wav"]),
        *(["4.wav"], ["5.wav"]),
    ]
    assert [chains[i][0].before for i in range(6)] == ["", "text 0", "text 1", "", "text 3", ""]


def test_parts_do_not_overlap(tmp_path: Path) -> None:
    rows = [{"audio": f"{i}.wav", "text": "x"} for i in range(40)]
    told = narrated(written(tmp_path, rows))[1]
    train, test = parted(told, "train"), parted(told, "test")
    assert len(train) + len(test) == 40 and 0 < len(test) < 12
    assert not {t.id for t in train} & {t.id for t in test}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"audio": "../a.wav", "text": "x"}, "climbs out"),
        ({"audio": "a.wav"}, "either a text or segments"),
        ({"audio": "a.wav", "text": 3}, "'text' must be a text"),
        ({"audio": "a.wav", "text": "x", "task": "sing"}, "task 'sing' is not known"),
        ({"audio": "a.wav", "text": "x", "language": "xx"}, "language 'xx' is not known"),
        ({"audio": "a.wav", "segments": [{"start": 0, "end": 31, "text": "x"}]}, "at most 30 s"),
        ({"audio": "a.wav", "segments": [{"start": "0", "end": 3, "text": "x"}]}, "needs numbers"),
        ({"audio": "a.wav", "segments": []}, "something in it"),
    ],
)
def test_rows_that_make_no_sense_are_named(tmp_path: Path, row: dict[str, Any], why: str) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=why) as wrong:
        narrated(tmp_path)
    assert "row 1" in str(wrong.value)
