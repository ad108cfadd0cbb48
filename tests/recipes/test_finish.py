"""The tenth that is kept for the scores may hold pictures that cannot be read."""

import json
from pathlib import Path

from PIL import Image

from sensorium.datasets.folder import folder
from sensorium.datasets.parts import part
from sensorium.recipes.finish import PictureScores


def test_unreadable_pictures_are_left_out_of_the_scores(tmp_path: Path) -> None:
    lines = []
    for i in range(40):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / f"{i}.png")
        lines.append(json.dumps({"image": f"{i}.png", "text": f"grey {i}"}))
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    kept = part(folder(tmp_path), "test")
    broken = kept[0].id
    (tmp_path / broken).write_bytes(b"junk")
    assert broken not in [one.id for one in PictureScores(str(tmp_path)).samples()]
    assert len(PictureScores(str(tmp_path)).samples()) == len(kept) - 1
