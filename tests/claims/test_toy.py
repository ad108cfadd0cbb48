"""The toy world's facts, against a slow reading of its scenes."""

import numpy as np
import pytest
import torch

from sensorium.claims import toy
from sensorium.data.ragged import unlay
from sensorium.data.regions import unlay_regions

COUNT, FEATURE, NOISE = 40, 16, 0.1


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def of(rng: np.random.Generator) -> toy.Scenes:
    return toy.scenes(COUNT, rng, FEATURE, NOISE)


def things(of: toy.Scenes, i: int) -> list[tuple[str, str]]:
    """The colour and shape of each object of a scene, in words."""
    count = int(of.count[i])
    pairs = zip(of.colour[i, :count].tolist(), of.shape[i, :count].tolist(), strict=True)
    return [(toy.COLOURS[c], toy.SHAPES[s]) for c, s in pairs]


def words(texts: toy.Texts, i: int) -> list[str]:
    """A text without its frame."""
    told = [toy.WORDS[k] for k in texts.ids[i, : int(texts.length[i])].tolist()]
    assert told[0] == "[CLS]" and told[-1] == "[SEP]"
    return told[1:-1]


def named(text: list[str]) -> list[tuple[str, str]]:
    """What a caption says there is."""
    said = [word for word in text if word != "and"]
    return list(zip(said[::2], said[1::2], strict=True))


def test_a_scene_has_two_to_four_objects_no_two_alike(of: toy.Scenes) -> None:
    for i in range(COUNT):
        assert 2 <= len(things(of, i)) == len(set(things(of, i))) <= 4
        assert of.feature[i, of.count[i] :].eq(0).all()
        x1, y1, x2, y2 = of.box[i, : of.count[i]].T
        assert (x1 >= 0).all() and (x1 < x2).all() and (x2 <= 1).all()
        assert (y1 >= 0).all() and (y1 < y2).all() and (y2 <= 1).all()


def test_a_region_looks_like_its_colour_and_shape(of: toy.Scenes) -> None:
    hue, form = toy.codes(FEATURE)
    every = (hue[:, None] + form[None]).flatten(0, 1)
    at = torch.tensor([3, 0, 3])
    batch, said = toy.regions(of, at), toy.detected(of, at)
    for place, one in zip(at.tolist(), unlay_regions(batch), strict=True):
        nearest = torch.cdist(one.features, every).argmin(1).tolist()
        told = [(toy.COLOURS[k // 3], toy.SHAPES[k % 3]) for k in nearest]
        assert told == things(of, place)
    expected = [pair for place in at.tolist() for pair in things(of, place)]
    classes = zip(said.attribute.tolist(), said.label.tolist(), strict=True)
    assert [(toy.COLOURS[c], toy.SHAPES[s]) for c, s in classes] == expected
    assert said.probs.argmax(1).tolist() == (said.label + 1).tolist()
    assert torch.allclose(said.probs.sum(1), torch.ones(len(expected)))


def test_captions_are_true_and_point_at_what_they_name(
    of: toy.Scenes, rng: np.random.Generator
) -> None:
    told = toy.captions(of, rng, 2)
    for i in range(COUNT):
        assert len(set(named(words(told.text, i)))) == 2
        for k in range(2):
            at = int(told.place[i, k])
            pair = tuple(toy.WORDS[j] for j in told.text.ids[i, at : at + 2].tolist())
            assert pair == things(of, i)[int(told.object[i, k])] == named(words(told.text, i))[k]


def test_more_objects_than_there_are_cannot_be_named(
    of: toy.Scenes, rng: np.random.Generator
) -> None:
    with pytest.raises(ValueError, match="3 objects cannot be named"):
        toy.captions(of, rng, 3)


def test_distorted_captions_are_false_by_one_word(of: toy.Scenes, rng: np.random.Generator) -> None:
    told = toy.captions(of, rng, 2)
    wrong = toy.distorted(of, told, rng)
    assert (wrong.ids != told.text.ids).sum(1).tolist() == [1] * COUNT
    for i in range(COUNT):
        assert not set(named(words(wrong, i))) <= set(things(of, i))


def test_answers_are_right(of: toy.Scenes, rng: np.random.Generator) -> None:
    texts, answer, _ = toy.questions(of, rng)
    names = [*toy.COLOURS, *toy.SHAPES, *map(str, range(toy.MOST + 1))]
    assert len(names) == toy.ANSWERS
    kinds = set()
    for i in range(COUNT):
        asks, of_what, _, name = words(texts, i)
        fit = [pair for pair in things(of, i) if name in pair]
        kinds.add(of_what)
        if asks == "how":
            assert names[int(answer[i])] == str(len(fit))
        else:
            assert len(fit) == 1
            assert names[int(answer[i])] == fit[0][0 if of_what == "colour" else 1]
    assert kinds == {"colour", "shape", "many"}


@pytest.mark.parametrize(
    "made, says",
    [
        (toy.exactly_one, lambda left, right: left != right),
        (toy.both_have, lambda left, right: left and right),
    ],
)
def test_statements_about_two_scenes_are_labelled_right(made, says, rng) -> None:
    twos = made(400, rng, FEATURE, NOISE)
    for i in range(400):
        *_, colour, shape = words(twos.text, i)
        has = [(colour, shape) in things(one, i) for one in (twos.left, twos.right)]
        assert int(twos.label[i]) == says(*has)
    assert 0.4 < float(twos.label.double().mean()) < 0.6


def test_texts_are_laid_end_to_end_with_their_segments(
    of: toy.Scenes, rng: np.random.Generator
) -> None:
    first, second = (toy.captions(of, rng, k).text for k in (1, 2))
    both = toy.beside(first, second)
    at = torch.tensor([7, 2])
    laid = toy.laid(both, at)
    assert laid.kind is not None
    kinds = laid.kind.split(laid.lengths.tolist())
    for place, ids, kind in zip(at.tolist(), unlay(laid), kinds, strict=True):
        told = [toy.WORDS[k] for k in ids]
        cut = told.index("[SEP]") + 1
        assert told[1 : cut - 1] == words(first, place) and told[cut:-1] == words(second, place)
        assert kind.tolist() == [0] * cut + [1] * (len(told) - cut)
    question = toy.questions(of, rng)[0]
    which = torch.arange(COUNT) % 2 == 1
    mixed = toy.either(second, question, which)
    for i in range(COUNT):
        assert words(mixed, i) == words(question if i % 2 else second, i)


def test_nothing_is_seen_where_nothing_is_shown() -> None:
    batch = toy.unseen(3, FEATURE)
    assert batch.lengths.tolist() == [0, 0, 0] and batch.features.shape == (1, FEATURE)


def test_the_same_seed_makes_the_same_world() -> None:
    one, two = (toy.exactly_one(9, np.random.default_rng([1, 2]), 8, 0.5) for _ in range(2))
    assert torch.equal(one.left.feature, two.left.feature) and torch.equal(one.label, two.label)
