"""A model asked wrongly: one ValueError that says what was expected.

Wrong types are asked of the functions that check them: under test every signature is checked too.
"""

from typing import Any

import numpy as np
import pytest

from sensorium.data.tokenizers import ClipBPE
from sensorium.media import canvas, transform
from sensorium.models.clip import TINY
from sensorium.verbs.load import cast
from sensorium.verbs.model import Model, worded

PICTURE = [np.zeros((5, 5, 3), np.uint8)]


@pytest.fixture(scope="module")
def model() -> Model:
    words = ClipBPE(TINY.args["text"].length)
    return Model(TINY.build(), transform(canvas(64)), words, {})


@pytest.mark.parametrize(
    "asked",
    [
        {"texts": "abc"},
        {"texts": ["a"], "batch": 0},
        {"texts": ["a"], "batch": -1},
        {"texts": []},
        {"images": []},
        {"images": [np.zeros((5, 5, 3))]},
        {"images": "x.jpg"},
        {},
    ],
    ids=str,
)
def test_embed(model: Model, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a list|batch|empty|uint8|one of the two"):
        model.embed(**asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"labels": "cat"},
        {"labels": []},
        {"labels": None},
        {"labels": ["a", "a"]},
        {"labels": ["a"], "templates": "a {}"},
        {"labels": ["a"], "templates": ()},
        {"labels": ["a"], "templates": ["a"]},
    ],
    ids=str,
)
def test_classify(model: Model, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"labels|template"):
        model.classify(PICTURE, **asked)


@pytest.mark.parametrize("items", [[None], ["a", 1], [b"a"], "abc", iter("ab"), None], ids=str)
def test_texts_are_a_list_of_str(items: Any) -> None:
    with pytest.raises(ValueError, match=r"labels must be"):
        worded(items, "labels")


def test_texts_may_be_an_array() -> None:
    assert worded(np.array(["a", "b"]), "labels") == ["a", "b"]


def test_a_device_that_is_not_there(model: Model) -> None:
    with pytest.raises(ValueError, match="tpu"):
        cast(model, "float32", "tpu")
