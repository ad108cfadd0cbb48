"""Batches of pictures with texts, and of questions about them, from one worker's items."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import DataError
from sensorium.data.ragged import lay
from sensorium.data.regions import Looked, lay_regions
from sensorium.types import Answered, Choices, Joint, JointPair, Pictured, Scored


class Piece(NamedTuple):
    """One text with its picture: regions, or pixels as the net reads them. `second` is another
    picture, for texts about two; `kinds` are the segments of the ids (None: all 0)."""

    image: Looked | Float[Tensor, "c y x"]
    ids: list[int]
    kinds: list[int] | None = None
    second: Looked | Float[Tensor, "c y x"] | None = None


def joint(pieces: Sequence[Piece], longest: int | None = None) -> Joint | JointPair:
    """The pieces as one batch; with second pictures, a `JointPair`.

    DataError: no pieces, a text that is empty or longer than `longest`, regions that do not belong
    together, or a second picture with some texts only.
    """
    if len(pieces) == 0:
        raise DataError("no pictures with texts: a batch needs at least one")
    kinds = None
    if any(piece.kinds is not None for piece in pieces):
        kinds = [piece.kinds or [0] * len(piece.ids) for piece in pieces]
    text = lay([piece.ids for piece in pieces], longest=longest, kinds=kinds)
    image = pictured([piece.image for piece in pieces])
    seconds = [piece.second for piece in pieces if piece.second is not None]
    if not seconds:
        return Joint(image, text)
    if len(seconds) < len(pieces):
        raise DataError(f"{len(seconds)} of {len(pieces)} texts have a second picture: all or none")
    return JointPair(image, pictured(seconds), text)


def pictured(images: Sequence[Looked | Tensor]) -> Pictured:
    """Pictures as one batch: regions laid end to end, or pixels stacked.

    DataError: some are regions and some pixels, or pixels are of several shapes.
    """
    regions = [image for image in images if isinstance(image, Looked)]
    if len(regions) == len(images):
        return lay_regions(regions)
    pixels = [image for image in images if isinstance(image, Tensor)]
    shapes = {tuple(image.shape) for image in pixels}
    if regions or len(shapes) > 1:
        said = f"{len(regions)} as regions, pixels of the shapes {sorted(shapes)}"
        raise DataError(f"the pictures of a batch must be of one form: {said}")
    return torch.stack(pixels)


def answered(pieces: Sequence[Piece], labels: Sequence[int]) -> Answered:
    """Questions with one right answer each."""
    _check(pieces, labels)
    return Answered(joint(pieces), torch.tensor(list(labels), dtype=torch.long))


def scored(pieces: Sequence[Piece], scores: Sequence[dict[int, float]], answers: int) -> Scored:
    """Questions with the share of being right of each answer (VQA): {answer: score}, of `answers`.

    DataError: an answer outside the vocabulary, or a score that is not between 0 and 1.
    """
    _check(pieces, scores)
    out = torch.zeros(len(scores), answers)
    for row, shares in enumerate(scores):
        for answer, share in shares.items():
            if not 0 <= answer < answers or not 0 <= share <= 1:
                raise DataError(
                    f"question {row}: answer {answer} of {answers} with a score of {share}; "
                    "leave answers outside the vocabulary out"
                )
            out[row, answer] = share
    return Scored(joint(pieces), out)


def choices(groups: Sequence[Sequence[Piece]], labels: Sequence[int]) -> Choices:
    """Groups of candidates, of which one each is right (VCR, ranking).

    DataError: groups of unlike size, or a label outside its group.
    """
    _check(groups, labels)
    sizes = {len(group) for group in groups}
    if len(sizes) != 1 or not all(0 <= y < min(sizes) for y in labels):
        raise DataError(f"groups have {sorted(sizes)} candidates, labels are {list(labels)[:8]}")
    of = joint([piece for group in groups for piece in group])
    if not isinstance(of, Joint):
        raise DataError("candidates have one picture each")
    return Choices(of, torch.tensor(list(labels), dtype=torch.long))


def _check(pieces: Sequence, labels: Sequence) -> None:
    if len(pieces) != len(labels):
        raise DataError(f"{len(pieces)} questions and {len(labels)} answers")
