"""Batches of pictures with texts."""

import pytest
import torch

from sensorium.data.errors import DataError
from sensorium.data.joint import Piece, answered, choices, joint, scored
from sensorium.data.regions import Looked
from sensorium.types import Joint, JointPair, Regions


def looked(r: int) -> Looked:
    return Looked(torch.ones(r, 4), torch.ones(r, 4))


REGIONS = [Piece(looked(2), [1, 2, 3]), Piece(looked(0), [4], [1])]
PIXELS = [Piece(torch.ones(3, 8, 8), [1]), Piece(torch.zeros(3, 8, 8), [2, 3])]


def test_regions_and_pixels_with_their_texts() -> None:
    batch = joint(REGIONS)
    assert isinstance(batch, Joint) and isinstance(batch.image, Regions)
    assert batch.image.lengths.tolist() == [2, 0] and batch.text.lengths.tolist() == [3, 1]
    assert batch.text.kind is not None and batch.text.kind.tolist() == [0, 0, 0, 1]
    assert joint(PIXELS).image.shape == (2, 3, 8, 8)  # type: ignore[union-attr]
    two = joint([piece._replace(second=looked(1)) for piece in REGIONS])
    assert isinstance(two, JointPair) and isinstance(two.second, Regions)
    assert two.second.lengths.tolist() == [1, 1]


def test_questions_with_labels_scores_and_candidates() -> None:
    assert answered(REGIONS, [3, 0]).label.tolist() == [3, 0]
    soft = scored(REGIONS, [{0: 1.0, 2: 0.3}, {}], answers=3)
    assert torch.allclose(soft.score, torch.tensor([[1, 0, 0.3], [0, 0, 0]]))
    groups = choices([REGIONS, REGIONS], [1, 0])
    assert groups.label.tolist() == [1, 0] and len(groups.of.text.lengths) == 4


def test_what_does_not_go_together_is_refused() -> None:
    cases = [
        (lambda: joint([]), "no pictures with texts"),
        (lambda: joint([REGIONS[0], PIXELS[0]]), "of one form"),
        (lambda: joint([PIXELS[0], Piece(torch.ones(3, 4, 8), [1])]), "of one form"),
        (lambda: joint([REGIONS[0]._replace(second=looked(1)), REGIONS[1]]), "all or none"),
        (lambda: joint([Piece(looked(1), [])]), "no ids"),
        (lambda: joint([Piece(looked(1), [1] * 9)], longest=8), "limit is 8"),
        (lambda: answered(REGIONS, [1]), "2 questions and 1 answers"),
        (lambda: scored(REGIONS, [{3: 1.0}, {}], answers=3), "answer 3 of 3"),
        (lambda: scored(REGIONS, [{0: 1.5}, {}], answers=3), "score of 1.5"),
        (lambda: choices([REGIONS, REGIONS[:1]], [0, 0]), "candidates"),
        (lambda: choices([REGIONS], [2]), "labels"),
    ]
    for make, why in cases:
        with pytest.raises(DataError, match=why):
            make()
