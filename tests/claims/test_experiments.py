"""Both experiments at toy size, from drawing to page, and the parts whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.claims import captions, clip, heads, vit
from sensorium.claims.record import Record, Row
from sensorium.claims.reproduce import measure, reproduce
from sensorium.claims.scenes import SHAPES, TEXTURES, Objects, draw
from sensorium.data.ragged import lay
from sensorium.types import ImageText, Layout, Tokens

VIT = vit.FULL._replace(sizes=(16, 32), seeds=(0, 1), steps=2, batch=4, test=8, probe=(80, 16))
CLIP = clip.FULL._replace(seen=(4, 8), seeds=(0, 1), batch=4, warmup=1, test=1)


# --- whole ---------------------------------------------------------------------------------------


def test_vit_is_measured_written_and_not_measured_again(tmp_path: Path) -> None:
    said: list[str] = []
    found = measure("vit", VIT, tmp_path, said.append, workers=0)
    assert found["verdicts"][0]["claim"] == "the gap shrinks with data"
    assert {v["word"] for v in found["verdicts"]} <= {"holds", "fails", "inconclusive"}
    assert json.loads((tmp_path / "verdicts.json").read_text()) == json.loads(json.dumps(found))
    assert "| 16 |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "claim.png").read_bytes().startswith(b"\x89PNG")
    again = measure("vit", VIT, tmp_path, said.append, workers=0)
    assert again == found


def test_clip_trains_every_arm_and_writes_its_page(tmp_path: Path) -> None:
    """Two steps teach nothing, so that the curves are put in place by hand before the page."""
    record = Record(tmp_path / "results.jsonl", CLIP)
    for job in clip.jobs(CLIP):
        found = clip.work(CLIP, job)
        assert len(found["curve"]) == 2 and all(0 <= value <= 1 for value in found["curve"])
        late = clip.ARMS.index(job["arm"])
        found["curve"] = [0.05, 0.3 + 0.1 * late + 0.01 * job["seed"]]
        if job["arm"] == "contrast":
            found |= {"bare": 0.4, "one": 0.5 + 0.01 * job["seed"], "ensemble": 0.5}
        record.add(Row(job, found, 0.1))
    found = measure("clip", CLIP, tmp_path, lambda text: None, workers=0)
    assert [v["word"] for v in found["verdicts"]][:2] == ["holds", "holds"]
    page = (tmp_path / "README.md").read_text()
    assert "| 8 |" in page and "**holds**" in page


def test_unknown_systems_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'bert'.*clip, .*vit"):
        reproduce(["bert"], tmp_path, lambda text: None)


# --- pictures and captions -----------------------------------------------------------------------


@pytest.mark.parametrize("place", range(len(SHAPES)))
def test_a_shape_is_drawn_where_it_is_said_to_be(place: int) -> None:
    texture = place % len(TEXTURES)
    one = Objects(
        *(np.array([[value]]) for value in (place, texture)),
        colour=np.ones((1, 1, 3)),
        **{key: np.full((1, 1), v) for key, v in dict(x=10.0, y=22.0, radius=7.0).items()},
        angle=np.zeros((1, 1)),
    )
    drawn = draw(one, np.random.default_rng(0), 0.0)
    assert drawn.shape == (1, 3, 32, 32) and drawn.dtype == np.float32
    bright = (drawn[0] > 0.5).all(0)
    assert bright[14:30, 2:18].sum() > 15 and not bright[:14].any() and not bright[:, 19:].any()


def test_the_same_seed_draws_the_same_pictures_for_every_arm() -> None:
    first, second = (
        vit.pictures(20, np.random.default_rng([3, 1]), vit.TRAINED, True) for _ in range(2)
    )
    assert torch.equal(first.image, second.image) and torch.equal(first.label, second.label)
    assert int(first.label.max()) < 24


def test_held_out_classes_are_never_shown_nor_told() -> None:
    shown, hidden = clip.split(0)
    assert len(shown) == 48 and len(hidden) == 16 and not set(shown) & set(hidden)
    assert clip.split(1)[1] != hidden


def test_every_caption_and_prompt_is_in_the_vocabulary() -> None:
    words, rng = captions.Vocabulary(), captions.Random(0)
    for one in captions.CLASSES:
        for template in captions.TEMPLATES:
            assert words.encode(captions.prompt(one, template))
        for _ in range(20):
            told = words.encode(captions.caption(one, captions.CLASSES, rng))
            assert 0 < len(told) <= clip.LONGEST
    with pytest.raises(ValueError, match="'zebra'"):
        words.encode("a zebra")


# --- nets ----------------------------------------------------------------------------------------


def test_both_arms_have_equally_many_parameters() -> None:
    counts = [sum(p.numel() for p in vit.net(arm, 24).tower.parameters()) for arm in vit.ARMS]
    assert max(counts) / min(counts) < 1.04


def test_position_likeness_of_a_known_field() -> None:
    place = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"))
    smooth = torch.cat([torch.zeros(1, 2), place.flatten(1).T])
    found = vit.neighbourhood(smooth)
    assert found["near"] > 0.5 > 0 > found["far"]
    found = vit.neighbourhood(torch.randn(65, 64))
    assert abs(found["near"]) < 0.1 and abs(found["far"]) < 0.1


def test_a_caption_is_as_likely_alone_as_beside_a_longer_one() -> None:
    net = heads.Captioner(vocab=20, length=8, end=1).eval()
    feature = torch.randn(2, heads.WIDTH)
    both = net.likelihood(feature, lay([[3, 4], [5, 6, 7, 8]]))
    alone = [
        net.likelihood(feature[:1], lay([[3, 4]])),
        net.likelihood(feature[1:], lay([[5, 6, 7, 8]])),
    ]
    assert torch.allclose(both, torch.cat(alone), atol=1e-5)


def test_a_caption_of_one_word_is_as_likely_as_its_two_steps() -> None:
    """p(word, end) = p(word | picture) p(end | picture, word); the words and the end sum to 1."""
    net = heads.Captioner(vocab=6, length=8, end=1).eval()
    feature = torch.randn(1, heads.WIDTH)
    x = torch.stack([net.prefix(feature[0]), net.word.weight[4]])[None] + net.pos[:2]
    first = net.stack(Tokens(x[:, :1])).x[0, 0]
    both = net.stack(Tokens(x, Layout(*(torch.tensor([[0, n]]) for n in (0, 1, 1, 0))))).x[0, 1]
    slow = net.out(first).log_softmax(0)[4] + net.out(both).log_softmax(0)[1]
    assert torch.allclose(net.likelihood(feature, lay([[4]]))[0], slow, atol=1e-5)


def test_a_bags_loss_is_the_cross_entropy_with_its_words() -> None:
    net = heads.BagPredictor(12).eval()
    image, text = torch.randn(2, 3, 32, 32), lay([[3, 4, 4], [5]])
    said = net.out(net.image(image)).log_softmax(1)
    slow = torch.stack([-(said[0, 3] + said[0, 4]) / 2, -said[1, 5]])
    assert torch.allclose(net(ImageText(image, text)), slow, atol=1e-5)
    marks = net.marks(image, [lay([[3, 4]]), lay([[5]])])
    assert torch.allclose(marks[:, 0], said[:, 3] + said[:, 4], atol=1e-5)


def test_a_bag_of_words_has_no_order() -> None:
    tower = heads.BagTower(12)
    first, second = tower(lay([[3, 4, 5], [7]])), tower(lay([[5, 3, 4], [7]]))
    assert torch.allclose(first, second, atol=1e-6)
    assert torch.allclose(first[1], tower.proj(tower.word.weight[7]), atol=1e-6)
