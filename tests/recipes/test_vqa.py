"""Questions answered by every system: from drawn pictures to scores, and to answers asked for."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.data.errors import DataError
from sensorium.data.questions import Question
from sensorium.data.tokenizers import train_wordpiece
from sensorium.datasets.asked import Entry, Questions
from sensorium.media import canvas, shorter, transform
from sensorium.models.faster_rcnn import TINY_SMALL
from sensorium.models.question_inputs import QuestionInputs, Sees, cut_out
from sensorium.objectives.rows import take_picture
from sensorium.recipes.asking import Regions, ask
from sensorium.recipes.execute import finish
from sensorium.recipes.questions import (
    Cut,
    boxed_by,
    cut,
    learnable,
    seen_by,
    shares,
    table_of,
    without_picture,
)
from sensorium.recipes.vqa import Effort, answering, vqa
from sensorium.types import Joint, JointPair, Shared
from sensorium.verbs.ask import Asker
from sensorium.verbs.load import load_folder
from sensorium.verbs.model import Model
from tests.datasets import nlvr_scenes as write

SYSTEMS = ("vilt", "albef", "visualbert", "uniter", "lxmert", "vilbert")
EFFORT = Effort(steps=2, batch=8, lr=1e-3, precision="float32", seed=0)


def one_shape(folder: Path, count: int = 12) -> Cut:
    """Pictures of the first object of a scene, with a question each."""
    folder.mkdir(exist_ok=True)
    entries = []
    for i, scene in enumerate(write.drawn(count)):
        colour, shape, (x, y, w, h) = scene.objects[0]
        (folder / f"{i}.png").write_bytes(scene.png)
        box = (float(x), float(y), float(x + w), float(y + h))
        asked = [("what colour is it?", colour), (f"is it a {shape}?", "yes"), ("no shape?", "no")]
        for k, (text, answer) in enumerate(asked):
            name = f"{i}-{k}"
            entries.append(Entry((f"{i}.png",), text, (answer,), name, f"{i}", boxes=((box,),)))
    some = Questions(folder, entries)
    return Cut(some, Questions(folder, entries[:9]), (32, 16, 128))


@pytest.mark.parametrize("system", SYSTEMS)
def test_from_questions_to_answers(system: str, tmp_path: Path):
    parts = one_shape(tmp_path / "data")
    run = answering(system, lambda: parts, lambda: None, None, EFFORT, {"questions": "drawn"})
    found = finish(run, tmp_path / "run", lambda text: None)
    assert found["queries"]["accuracy"]["all"] == 9
    assert found["without the picture"]["all"] >= 2 / 3  # two of three need no picture
    model = load_folder(tmp_path / "run" / "checkpoint")
    asker = Asker(model.net, model.tokenizer, model.manifest)
    one = parts.test[0]
    boxes = one.boxes[0] if system not in ("vilt", "albef") else None
    said = asker.ask(one.images[0], one.text, boxes)
    assert list(said) == sorted(said, key=lambda a: -said[a]) and set(said) == set(asker.answers)
    assert sum(said.values()) == pytest.approx(1, abs=1e-5)
    assert said[asker.answers[0]] == pytest.approx(float(asker.shares([one])[0, 0]), abs=1e-5)


def test_going_on_from_a_checkpoint(tmp_path: Path):
    parts = one_shape(tmp_path / "data")
    args = (lambda: parts, lambda: None)
    run = answering("uniter", *args, None, EFFORT, {})
    finish(run, tmp_path / "run", lambda text: None)
    start = str(tmp_path / "run" / "checkpoint")
    again = answering("uniter", *args, start, EFFORT, {}).net()
    before = load_folder(start).net.state_dict()
    assert all(torch.equal(t, before[name]) for name, t in again.state_dict().items())
    with pytest.raises(ValueError, match=r"is a uniter.uniter, not a lxmert"):
        answering("lxmert", *args, start, EFFORT, {}).net()


@pytest.mark.parametrize("system", ["vilt", "albef"])
def test_several_answers_from_files_of_vqa_v2(system: str, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    write.as_vqa_v2(write.drawn(40), data)
    run = vqa(system, str(data), steps=2, batch=8)
    found = finish(run, tmp_path / "run", lambda text: None)
    count = found["queries"]["accuracy"]["all"]
    assert 0 < count < 15
    assert cut(str(data)).several
    with pytest.raises(DataError, match=r"holds 0 and 0 files named"):
        cut(str(data / "val2014"))


def test_region_systems_need_boxes(tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    write.as_vqa_v2(write.drawn(40), data)
    run = vqa("uniter", str(data), steps=2, batch=8)
    with pytest.raises(DataError, match="sees regions and no boxes are given"):
        finish(run, tmp_path / "run", lambda text: None)


def test_from_a_detectors_regions(tmp_path: Path):
    """An untrained detector's features: the way from its checkpoint to answers is what is tried."""
    parts = one_shape(tmp_path / "data", 4)
    look = transform(shorter(50, 200))
    manifest = {"model": TINY_SMALL.spec(), "transform": look.spec, "tokenizer": None}
    torch.manual_seed(0)
    finder = Model(TINY_SMALL.build(), look, None, manifest)
    features = seen_by(finder, parts)
    assert features.keys() == {one.id for one in parts.train.entries}
    assert features["0-0"] is features["0-1"]  # one picture, looked at once
    only = features["0-0"][0]
    assert 1 <= len(only.boxes) <= 36 and (only.boxes <= 1).all()
    run = answering("lxmert", lambda: parts, lambda: features, None, EFFORT, {})
    found = finish(run, tmp_path / "run", lambda text: None)
    assert found["queries"]["accuracy"]["all"] == 9
    model = load_folder(tmp_path / "run" / "checkpoint")
    picture = tmp_path / "data" / "0.png"
    said = ask(model, str(picture), "no shape?", Regions(detector=finder), tmp_path / "out.png")
    assert said["regions"] == len(only.boxes) and (tmp_path / "out.png").is_file()
    with pytest.raises(ValueError, match="sees regions"):
        model.ask(picture, "no shape?")


def test_a_detectors_boxes_take_the_place_of_given_ones(tmp_path: Path):
    parts = one_shape(tmp_path / "data", 3)
    look = transform(shorter(50, 200))
    manifest = {"model": TINY_SMALL.spec(), "transform": look.spec, "tokenizer": None}
    torch.manual_seed(0)
    finder = Model(TINY_SMALL.build(), look, None, manifest)
    found = boxed_by(finder, parts.train)
    assert [one.text for one in found.entries] == [one.text for one in parts.train.entries]
    for one in found.entries:
        boxes = np.array(one.boxes[0])
        assert len(one.boxes) == 1 and (boxes == boxes.round()).all()
    assert found.entries[0].boxes is found.entries[1].boxes  # one picture, looked at once


# --- answers --------------------------------------------------------------------------------------


def entry(i: int, answers: tuple[str, ...], text: str = "what?") -> Entry:
    return Entry((), text, answers, f"{i}", f"{i}")


def test_the_table_and_the_shares_of_answers():
    one = [entry(i, (a,)) for i, a in enumerate(("red", "blue", "red", "the sky"))]
    assert table_of(one) == {"red": 0, "blue": 1, "the sky": 2}
    ten = ("Two",) * 3 + ("2",) * 2 + ("three",) * 5
    many = [entry(i, ten) for i in range(9)] + [entry(9, ("rare",) * 10)]
    table = table_of(many)
    assert table == {"2": 0, "3": 1}  # as the official evaluation reads them; rare ones are not
    assert shares(ten, table) == pytest.approx([1.0, 1.0])
    assert shares(("Two",) * 2 + ("x",) * 8, table) == pytest.approx([0.6, 0.0])


def test_what_is_left_out_or_cut_is_counted(tmp_path: Path):
    rows = [entry(i, ("yes",) if i % 4 else ("maybe",)) for i in range(20)]
    words = train_wordpiece(["what?"], 40, 12, truncate=True)
    with pytest.warns(UserWarning, match="5 of 20 questions are left out of training"):
        kept = learnable(Questions(tmp_path, rows), {"yes": 0}, words, 8)
    assert len(kept) == 15
    long = [entry(i, ("yes",), "what " * (10_000 if i == 3 else 1)) for i in range(5)]
    with pytest.warns(UserWarning, match="1 of 5 questions of the training part are longer than 8"):
        learnable(Questions(tmp_path, long), {"yes": 0}, words, 8)
    with pytest.raises(DataError, match="no question has an answer that can be learnt"):
        warnings.simplefilter("ignore")
        learnable(Questions(tmp_path, rows), {"no": 0}, words, 8)


def test_without_the_picture_the_words_alone_answer():
    rows = [entry(i, (a,), "Is it  red?") for i, a in enumerate(("no", "yes", "no"))]
    rows += [entry(9, ("blue",), "what colour?")] * 3
    answer = without_picture(rows)
    asked = [Question((), text, (), "1", "1") for text in ("is it red?", "what colour?", "why?")]
    assert [one.text for one in answer(asked)] == ["no", "blue", "blue"]


# --- what is read ---------------------------------------------------------------------------------


def test_boxes_are_cut_out_and_small_pictures_are_read():
    scene = write.drawn(1)[0]
    look = transform(canvas(8))
    some = ((0.0, 0.0, 30.0, 30.0), (10.2, 5.1, 10.4, 5.3), (-5.0, -5.0, 4.0, 900.0))
    found = cut_out(scene.png, some, look, "p")
    assert found.features.shape == (3, 3 * 64) and found.features.dtype == np.uint8
    assert found.boxes[2].tolist() == pytest.approx([0, 0, 0.01, 1])
    none = cut_out(scene.png, (), look, "p")
    assert none.features.shape == (0, 192) and none.boxes.shape == (0, 4)
    for box in ((5.0, 5.0, 5.0, 9.0), (400.0, 0.0, 410.0, 9.0), (0.0, 0.0, float("nan"), 9.0)):
        with pytest.raises(DataError, match=r"p: box 0 .* has no area in a picture of 400 x 100"):
            cut_out(scene.png, (box,), look, "p")


def test_a_picture_without_regions_and_one_with_many_share_a_batch():
    scene = write.drawn(1)[0]
    words = train_wordpiece(["is it red?"], 60, 12)
    inputs = QuestionInputs(transform(canvas(8)), words, Sees("crops", "masked"))
    many = tuple((float(i), 0.0, float(i + 9), 9.0) for i in range(300))
    both = [
        inputs(Question((scene.png,), "is it red?", (), f"{i}", "c", boxes=(b,)))
        for i, b in enumerate((many, ()))
    ]
    joint = inputs.joint(both)
    assert joint.image.lengths.tolist() == [300, 0]
    assert joint.text.ids[-2] == words.mask


def test_pairs_of_pictures_and_single_ones_do_not_mix():
    png = write.drawn(1)[0].png
    words = train_wordpiece(["is it red?"], 60, 12)
    inputs = QuestionInputs(transform(canvas(8)), words, Sees("pixels", "plain"))
    two, one = (inputs(Question((png,) * n, "is it?", (), f"{n}", "c")) for n in (2, 1))
    pair = inputs.joint([two, two])
    assert isinstance(pair, JointPair)
    assert isinstance(pair.second, Shared)  # both are about one picture
    assert pair.second.images[pair.second.which].shape == (2, 3, 8, 8)
    with pytest.raises(DataError, match=r"about \[1, 2\] pictures"):
        inputs.joint([one, two])


def test_a_picture_of_several_questions_is_read_once_and_answers_stay(tmp_path: Path) -> None:
    parts = one_shape(tmp_path / "data")
    run = answering("albef", lambda: parts, lambda: None, None, EFFORT, {"questions": "drawn"})
    inputs = run.asks["vqa"].source().inputs.inputs  # type: ignore[attr-defined]
    items = [inputs(parts.train[i]) for i in (0, 4, 1, 2, 30)]  # of pictures 0, 1, 0, 0, 10
    joint = inputs.joint(items)
    assert isinstance(joint.image, Shared)
    assert len(joint.image.images) == 3
    assert joint.image.which.tolist() == [0, 1, 0, 0, 2]
    each = Joint(joint.image.images[joint.image.which], joint.text)
    net = run.net().eval()
    torch.testing.assert_close(net(joint).pooled, net(each).pooled)
    other = take_picture(joint.image, torch.tensor([3, 1]))
    torch.testing.assert_close(
        net.image(other).x,
        net.image(each.image[[3, 1]]).x,  # type: ignore[operator]
    )
    single = inputs.joint([items[0], items[1], items[4]])
    assert isinstance(single.image, torch.Tensor)
