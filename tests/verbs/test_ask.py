"""Questions asked of a checkpoint: answers, bad questions, and where the net looked."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.questions import Question
from sensorium.data.tokenizers import train_wordpiece
from sensorium.media import transform
from sensorium.recipes.answerers import Wanted, answerer
from sensorium.recipes.asking import Regions, ask, box
from sensorium.verbs.ask import Asker, Asking, said
from sensorium.verbs.looked import Read, by_word, drawn, rollout, show, where
from sensorium.verbs.model import Model
from sensorium.verbs.pointed import gained
from sensorium.verbs.pointed import said as pushed
from tests.datasets import nlvr_scenes as write

SYSTEMS = ("vilt", "albef", "visualbert", "uniter", "lxmert", "vilbert")
ANSWERS = ["yes", "no", "red"]
QUESTION = "is it red?"
BOXES = [(0.0, 0.0, 30.0, 30.0), (10.0, 50.0, 90.0, 99.0), (300.0, 0.0, 350.0, 60.0)]


def model(system: str) -> Model:
    """An untrained net with all that a checkpoint says."""
    torch.manual_seed(0)
    words = train_wordpiece([QUESTION, "yes no red ?"], 60, 16)
    how = answerer(system, Wanted(words.vocab, 16, 3, 32, 2, 32, 8, 128, None))
    scores = "decoder" if system == "albef" else "softmax"
    manifest = {
        "model": how.model.spec(),
        "transform": how.look and how.look.spec,
        "tokenizer": words.spec(),
        "labels": ANSWERS,
        "asking": Asking(how.sees, "vqa", scores).spec(),
    }
    assert how.look is not None
    return Model(how.model.build(), transform(how.look.spec), words, manifest)


def asker(system: str) -> Asker:
    made = model(system)
    return Asker(made.net, made.tokenizer, made.manifest)


def regions(system: str) -> list | None:
    return None if system in ("vilt", "albef") else BOXES


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    path.write_bytes(write.drawn(1)[0].png)
    return path


@pytest.mark.parametrize("system", SYSTEMS)
def test_answers_and_where_it_looked(system: str, picture: Path, tmp_path: Path):
    one = asker(system)
    answers = one.ask(picture, QUESTION, regions(system))
    assert sum(answers.values()) == pytest.approx(1, abs=1e-5)
    looked = where(one, one.item(picture, QUESTION, regions(system)))
    count = {"vilt": 4 * 16, "albef": 16}.get(system, 3)
    assert len(looked.shares) == len(looked.boxes) == count
    assert looked.shares.sum() == pytest.approx(1, abs=1e-5) and (looked.shares >= 0).all()
    assert 0 < looked.words < 1
    assert (looked.boxes >= 0).all() and (looked.boxes <= 1 + 1e-6).all()
    show(tmp_path / "out.png", picture, looked, QUESTION, answers)
    with Image.open(tmp_path / "out.png") as shown:
        assert shown.size == (512, 128 + 84)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_it_asks_does_not_depend_on_being_watched(system: str, picture: Path):
    one = asker(system)
    before = one.ask(picture, QUESTION, regions(system))
    where(one, one.item(picture, QUESTION, regions(system)))
    assert one.ask(picture, QUESTION, regions(system)) == before


def test_rollout_of_one_stream_by_hand():
    """Two layers of which each passes on half of what it read."""
    a = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    z = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    reads = [Read("all", "all", a, "stack.blocks.0"), Read("all", "all", z, "stack.blocks.1")]
    half = torch.eye(2) / 2
    assert torch.allclose(rollout(reads, 1), (half + z / 2) @ (half + a / 2))


def test_two_streams_read_each_other_as_both_came_in():
    to_text, to_image = torch.ones(1, 1), torch.ones(1, 1)
    reads = [
        Read("text", "image", to_text, "stack.blocks.0.both.cross.f"),
        Read("image", "text", to_image, "stack.blocks.0.both.cross.f"),
    ]
    assert torch.allclose(rollout(reads, 1), torch.full((2, 2), 0.5))


def test_regions_that_are_all_alike_share_alike(picture: Path):
    one = asker("visualbert")  # reads no places
    looked = where(one, one.item(picture, QUESTION, [BOXES[0]] * 4))
    assert looked.shares == pytest.approx([0.25] * 4, abs=1e-5)


def test_no_region_at_all(picture: Path):
    one = asker("uniter")
    item = one.item(picture, QUESTION, [])
    looked = where(one, item)
    assert len(looked.shares) == 0 and looked.words == pytest.approx(1, abs=1e-5)
    assert drawn(Image.new("RGB", (40, 10)), looked, QUESTION, {"yes": 1.0}).size == (512, 212)
    assert sum(one.ask(picture, QUESTION, []).values()) == pytest.approx(1, abs=1e-5)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ("", "the question is empty"),
        (" \n", "the question is empty"),
        ("red " * 10_000, r"the question has 10002 tokens, .* reads 16: shorten it"),
    ],
)
def test_bad_questions(question: str, error: str, picture: Path):
    with pytest.raises(ValueError, match=error):
        asker("vilt").ask(picture, question)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_pictures_of_one_pixel(system: str, size: tuple[int, int], tmp_path: Path):
    path = tmp_path / "thin.png"
    Image.new("RGB", size, (200, 10, 10)).save(path)
    boxes = None if regions(system) is None else [(0.0, 0.0, float(size[0]), float(size[1]))]
    answers = asker(system).ask(path, QUESTION, boxes)
    assert np.isfinite(list(answers.values())).all()


def test_unknown_words_are_read_as_unknown(picture: Path):
    answers = asker("uniter").ask(picture, "ξύλο qqqq ☃?", BOXES)
    assert sum(answers.values()) == pytest.approx(1, abs=1e-5)


def test_regions_where_none_are_seen_and_none_where_they_are(picture: Path):
    with pytest.raises(ValueError, match="this model sees patches"):
        asker("vilt").ask(picture, QUESTION, BOXES)
    with pytest.raises(ValueError, match="give their boxes, a detector that finds them"):
        asker("uniter").ask(picture, QUESTION)
    with pytest.raises(ValueError, match="has no area in a picture of 400 x 100"):
        asker("uniter").ask(picture, QUESTION, [(9.0, 9.0, 9.0, 20.0)])


def test_models_that_cannot_be_asked():
    with pytest.raises(ValueError, match="this model answers no questions"):
        said({})
    good = model("uniter").manifest["asking"]
    for key, value in (("picture", "smells"), ("scores", 3), ("patch", -1), ("words", None)):
        with pytest.raises(ValueError, match=re.escape("the manifest's 'asking'")):
            said({"asking": {**good, key: value}})
    with pytest.raises(ValueError, match=re.escape("the manifest's 'asking'")):
        said({"asking": {"picture": "crops"}})


# --- the command ----------------------------------------------------------------------------------


def test_ask_with_boxes_from_the_command_line(picture: Path, tmp_path: Path):
    found = ask(
        model("uniter"),
        str(picture),
        QUESTION,
        Regions(boxes=["0,0,30,30", "10,50,90,99"]),
        tmp_path / "out.png",
    )
    assert list(found) == ["answers", "regions", "shown"] and found["regions"] == 2
    assert set(found["answers"]) == set(ANSWERS) and (tmp_path / "out.png").is_file()
    for bad in ("1,2,3", "a,b,c,d", ""):
        with pytest.raises(ValueError, match="four numbers are expected"):
            box(bad)
    with pytest.raises(ValueError, match="in one way"):
        ask(model("uniter"), str(picture), QUESTION, Regions(["0,0,1,1"], file="x"))


def test_many_questions_at_once_are_as_one_by_one():
    one = asker("lxmert")
    some = [
        Question((s.png,), QUESTION, (), f"{i}", f"{i}", boxes=(tuple(BOXES[: i + 1]),))
        for i, s in enumerate(write.drawn(3))
    ]
    whole = one.shares(some)
    alone = np.concatenate([one.shares([each]) for each in some])
    assert np.abs(whole - alone).max() < 1e-5


def test_albefs_questions_are_cleaned_and_none_is_cut_without_a_word(picture: Path):
    one = asker("albef")
    plain = one.item(picture, "is it red")
    assert one.item(picture, "Is it, RED?!").ids == plain.ids
    with pytest.raises(ValueError, match=r"the question '\?\?!' holds no words"):
        one.ask(picture, "??!")
    with pytest.raises(ValueError, match="has 20002 tokens"):
        one.ask(picture, "it " * 10_000)


@pytest.mark.parametrize("scores", ["decoder", "match"])
def test_grad_cam_is_what_more_of_each_share_would_gain(scores: str, picture: Path):
    """Beside slopes by small steps, share by share."""
    one = asker("albef")
    one.net.double()  # type: ignore[attr-defined]
    if scores == "match":
        d = one.net.fusion.blocks[0].cross.f.q.in_features  # type: ignore[attr-defined]
        one.net.heads["itm"] = torch.nn.Linear(d, 2).double()
        one.how = one.how._replace(head="itm", scores="match")
    item = one.item(picture, QUESTION)
    batch = one.placed(one.inputs.joint([item]))
    best = int(one.answer(batch)[0].argmax())
    whole: list[torch.Tensor] = []

    def note(shares: torch.Tensor) -> torch.Tensor:
        whole.append(shares)
        return shares

    with torch.no_grad():
        start = float(pushed(one, batch, best, note))
        first, cam = whole[0], torch.zeros_like(whole[0])
        for place in np.ndindex(*first.shape):
            step = torch.zeros_like(first)
            step[place] = 1e-5
            slope = (float(pushed(one, batch, best, lambda s, by=step: s + by)) - start) / 1e-5
            cam[place] = first[place] * max(slope, 0.0)
    expected = cam[0].mean(dim=(0, 1))
    np.testing.assert_allclose(gained(one, batch), expected, rtol=1e-3, atol=1e-8)


def test_each_of_vilts_words_has_its_way_to_the_patches(picture: Path, tmp_path: Path):
    one = asker("vilt")
    found = by_word(one, one.item(picture, QUESTION))
    assert "".join(name.replace("##", "") for name, _ in found) == "isitred?"
    assert all(np.isclose(looked.shares.sum(), 1, atol=1e-5) for _, looked in found)
    even = sum(looked.shares for _, looked in found) / len(found)  # patches hold equal shares
    np.testing.assert_allclose(even, 1 / len(found[0][1].shares), rtol=0.1)
    assert by_word(asker("albef"), asker("albef").item(picture, QUESTION)) == []
    ask(model("vilt"), str(picture), QUESTION, at=tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as shown:
        assert shown.size[0] == 512 and shown.size[1] > 128 + 84
