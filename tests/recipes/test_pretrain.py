"""Pre-training: what is said of pictures is true, and every system runs from data to scores."""

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.ragged import unlay
from sensorium.data.tokenizers import train_wordpiece
from sensorium.media import canvas, transform
from sensorium.models.question_inputs import QuestionInputs, Sees
from sensorium.recipes import pretrain
from sensorium.recipes.execute import start
from sensorium.recipes.lxmert import LXMERT
from sensorium.recipes.pretrain import TellingInputs, chosen, vocabulary
from sensorium.recipes.told import ANSWERS, Told, caption, counted, question, related
from sensorium.recipes.uniter import UNITER
from sensorium.types import Regions

NAMES = ("blue square", "red circle", "blue square", "box")
BOXES = (
    (0.0, 0.0, 4.0, 4.0),
    (10.0, 1.0, 14.0, 5.0),
    (2.0, 9.0, 6.0, 13.0),
    (9.0, 9.0, 16.0, 16.0),
)


def one(names: tuple[str, ...] = NAMES, texts: tuple[str, ...] = ()) -> Told:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (10, 200, 30)).save(file, "PNG")
    labels = tuple(("blue square", "red circle", "box").index(name) for name in names)
    boxes = BOXES[: len(names)]
    return Told(file.getvalue(), texts, boxes, names, labels, (-1,) * len(names), "one")


def inputs(**more) -> TellingInputs:
    texts = ["there is are a an and , . ? no left right of above below how many nothing", *NAMES]
    words = train_wordpiece([*texts, *"0123456789", "boxes squares circles people"] * 2, 200, 40)
    seen = QuestionInputs(transform(canvas(8)), words, Sees("crops", "plain"))
    said = dict(grid=None, two=False, asked=0.0) | more
    return TellingInputs(seen, ("blue square", "red circle", "box"), **said)  # type: ignore[arg-type]


def test_captions_count_and_place_what_is_there() -> None:
    counts = {"2 blue squares", "a red circle", "a box"}
    seen, told = set(), set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        words = counted(NAMES, rng)
        parts = words.removeprefix("there is ").removeprefix("there are ").removesuffix(" .")
        assert set(parts.replace(" and ", " , ").split(" , ")) <= counts
        seen.add(words)
        told.add(related(one(), rng))
    assert len(seen) > 5
    assert "a blue square is left of a red circle ." in told
    assert "a red circle is above a box ." in told
    assert not {"a red circle is left of a blue square .", "a box is above a red circle ."} & told
    assert counted((), np.random.default_rng(0)) == "there is nothing ."
    people = Counter(caption(one(texts=("people",)), np.random.default_rng(i)) for i in range(200))
    assert 30 < people["people"] < 90


def test_questions_have_their_true_answer() -> None:
    there = {f"is there a {name} ?" for name in NAMES}
    for seed in range(80):
        rng = np.random.default_rng(seed)
        text, answer = question(one(NAMES[:3]), ("blue square", "red circle", "box"), rng)
        if text.startswith("is there"):
            assert ANSWERS[answer] == ("no" if "box" in text else "yes") and text in there
        else:
            wanted = "2" if "squares" in text else "0" if "boxes" in text else "1"
            assert ANSWERS[answer] == wanted, text


def test_batches_hold_regions_what_is_known_of_them_and_answers() -> None:
    made = inputs(asked=1.0)
    batch = made.batch([made(one(), None), made(one(()), None)])
    assert isinstance(batch.of.image, Regions) and batch.said is not None
    assert batch.of.image.lengths.tolist() == [4, 0]
    assert batch.said.label.tolist() == [0, 1, 0, 2]
    assert batch.said.probs.argmax(1).tolist() == [1, 2, 1, 3]
    torch.testing.assert_close(batch.said.probs.sum(1), torch.ones(4))
    assert batch.score is not None and batch.score.sum(1).tolist() == [1.0, 1.0]
    again = made.batch([made(one(), None), made(one(()), None)])
    assert torch.equal(batch.of.text.ids, again.of.text.ids)  # without a generator always the same


def test_patches_stand_in_the_place_of_things_and_two_captions_are_two_segments() -> None:
    made = inputs(grid=8, two=True)
    batch = made.batch([made(one(), np.random.default_rng(0))])
    assert batch.said is None and isinstance(batch.of.image, Regions)
    assert (
        batch.of.image.boxes.tolist()[1] == [0.5, 0.0, 1.0, 0.5] and len(batch.of.image.boxes) == 4
    )
    kind, ids = batch.of.text.kind, unlay(batch.of.text)[0]
    assert kind is not None and ids.count(made.inputs.words.eot) == 2
    assert kind.tolist() == sorted(kind.tolist()) and set(kind.tolist()) == {0, 1}


def test_objectives_that_make_no_sense_are_refused() -> None:
    assert chosen(UNITER, "mlm, itm", "patches") == ["itm", "mlm"]
    for said, see, why in (
        ("mlm,itc", "regions", "itc is none of itm, wra"),
        ("mlm,mlm", "regions", "each once"),
        ("", "regions", "at least one"),
        ("mlm,mrckl", "patches", "mrckl needs what a detector says"),
    ):
        with pytest.raises(ValueError, match=why):
            chosen(UNITER, said, see)
    with pytest.raises(ValueError, match="obj needs"):
        chosen(LXMERT, "obj", "patches")
    with pytest.raises(ValueError, match="wra stands on the pairs of itm"):
        chosen(UNITER, "wra,mlm", "regions")


def test_a_vocabulary_knows_what_must_not_be_hidden() -> None:
    words = inputs().inputs.words
    known = vocabulary(words)
    assert known.mask == words.mask and set(known.never) == {words.pad, words.sot, words.eot}
    assert all(words.pieces[i].startswith("##") for i in known.goes_on) and known.goes_on
    assert not words.pieces[known.first].startswith("[")


@pytest.mark.data
@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("visualbert", {}),
        ("uniter", {"see": "patches", "objectives": "mlm,itm,wra,mrfr"}),
        ("uniter", {"data": "coco_open", "objectives": "mrc,itm"}),
        ("vilbert", {}),
        ("lxmert", {}),
        ("vilt", {"objectives": "itm,wpa"}),
        ("albef", {"slices": 2}),
    ],
)
def test_every_system_is_pretrained_from_data_to_scores(
    recipe: str, more: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "SCORED", 16)
    given = {"steps": 3, "batch": 8, **more}
    found = start(f"{recipe}.pretrain", given, tmp_path / "run", lambda text: None)
    losses = found["losses"].values()
    assert losses and all(np.isfinite(value) for value in losses)
    manifest = json.loads((tmp_path / "run" / "checkpoint" / "manifest.json").read_text())
    words = {"visualbert": "masked", "albef": "clean"}
    assert manifest["asking"]["words"] == words.get(recipe, "plain")
