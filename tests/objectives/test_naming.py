"""The contrast against all names, beside its definition."""

import math

import pytest
import torch
import torch.nn.functional as F

from sensorium.data.ragged import lay
from sensorium.models.clip import TINY
from sensorium.objectives.naming import Naming
from sensorium.types import ImageText

NAMES = [[7, 9], [8], [9, 7], [5, 5, 5]]


def asked(texts: list[list[int]]) -> ImageText:
    return ImageText(torch.randn(len(texts), 3, 64, 64), lay(texts))


def test_pictures_meet_all_names_and_names_the_pictures_of_the_batch() -> None:
    torch.manual_seed(0)
    net, naming = TINY.build().eval(), Naming((0.0, math.log(100)), lambda: lay(NAMES))
    batch = asked([NAMES[2], NAMES[0], NAMES[3]])
    question = naming.pose(net, batch, torch.Generator())
    assert question.own.tolist() == [2, 0, 3]
    found = naming.mark(naming.encode(net, question), question)["contrast"]
    scale = net.get_parameter("log_scale").exp()
    image, names = net.embed_image(batch.image), net.embed_text(lay(NAMES))
    pictures = F.cross_entropy(scale * image @ names.T, question.own, reduction="sum")
    texts = scale * net.embed_text(batch.text) @ image.T
    texts = F.cross_entropy(texts, torch.arange(3), reduction="sum")
    torch.testing.assert_close(found, (pictures + texts) / 2)
    assert naming.count(question) == {"contrast": 3}


def test_a_text_that_is_no_name_is_refused() -> None:
    naming = Naming((0.0, 1.0), lambda: lay(NAMES))
    with pytest.raises(ValueError, match=r"texts \[1\] of a batch are none of the 4 names"):
        naming.pose(TINY.build(), asked([[8], [7, 9, 9]]), torch.Generator())
