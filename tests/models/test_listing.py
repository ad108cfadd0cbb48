"""The survey's table, from the declarations: every cell is the survey's, or a note says why not.

The cells are those of Du et al. 2022, "A Survey of Vision-Language Pre-Trained Models", table 1.
"""

import json

import pytest

from sensorium.models.listing import one, table

CELLS = ("text", "vision", "fusion", "objectives", "data")
SURVEY = {
    "visualbert": "BERT | Faster R-CNN | Single stream | MLM+ITM | COCO",
    "uniter": "BERT | Faster R-CNN | Single stream | MLM+ITM+WRA+MRFR+MRC | CC+COCO+VG+SBU",
    "vilbert": "BERT | Faster R-CNN | Dual stream | MLM+MRC+ITM | CC",
    "lxmert": "BERT | Faster R-CNN | Dual stream | MLM+ITM+MRC+MRFR+VQA | COCO+VG+VQA",
    "albef": "BERT | ViT | Dual stream | MLM+ITM+CMCL | CC+COCO+VG+SBU",
    "vilt": "ViT | Linear Projection | Single stream | MLM+ITM | CC+COCO+VG+SBU",
    "clip": "GPT2 | ViT, ResNet |  | CMCL | self-collected",
}
DIFFERENT = {"vilt": {"text", "objectives"}, "albef": {"fusion"}, "clip": {"fusion"}}


@pytest.mark.parametrize("name", SURVEY)
def test_a_row_is_the_surveys_but_for_what_its_notes_say(name: str) -> None:
    row = table()[name]
    cells = dict(zip(CELLS, SURVEY[name].split(" | "), strict=True))
    other = {key for key, cell in cells.items() if row[key].casefold() != cell.strip().casefold()}
    assert other == DIFFERENT.get(name, set())
    assert other <= row.get("notes", {}).keys() <= set(CELLS)


def test_the_listing_is_plain_json_and_leaves_out_what_is_empty() -> None:
    rows = table()
    assert json.loads(json.dumps(rows)) == rows
    assert "notes" not in rows["bert"] and rows["vilt"]["notes"]["text"].startswith("the survey")
    assert one("vilt") == {"vilt": rows["vilt"]}
