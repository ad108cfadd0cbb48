"""From raw samples to what a net reads."""

import io

import numpy as np
import torch
from PIL import Image

from sensorium.media import canvas, transform
from sensorium.media.augment import Ranges
from sensorium.models.inputs import LabelInputs, Views
from sensorium.types import Labelled


def square(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 12), colour).save(file, "PNG")
    return file.getvalue()


def test_pictures_that_share_an_id_are_not_taken_for_each_other() -> None:
    """Joined data sets may each have a "1.png"."""
    views = Views(transform(canvas(12)), 8, Ranges(hue=0.0, grey=0.0))
    inputs = LabelInputs(transform(canvas(8)), views)
    red, blue = (Labelled(square(c), 0, "1.png") for c in ("red", "blue"))
    for sample, channel in ((red, 0), (blue, 2), (red, 0)):
        pixels, _ = inputs(sample, np.random.default_rng(3))
        assert int(pixels.mean((0, 1)).argmax()) == channel
    assert len(views.kept) == 2


def test_a_view_depends_on_the_generator_and_not_on_what_is_kept() -> None:
    picture = square("teal")
    kept, fresh = (Views(transform(canvas(12)), 8, Ranges(), budget) for budget in (1 << 20, 0))
    for seed in (0, 1, 0):
        a, b = (v(picture, "a", np.random.default_rng(seed)) for v in (kept, fresh))
        assert np.array_equal(a, b)
    assert len(kept.kept) == 1 and not fresh.kept


def test_a_batch_is_its_pictures_each_normalised() -> None:
    transform_ = transform(canvas(8, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)))
    inputs = LabelInputs(transform_, None)
    samples = [Labelled(square(c), i, c) for i, c in enumerate(("red", "olive", "navy"))]
    batch = inputs.batch([inputs(sample, None) for sample in samples])
    assert torch.equal(batch.image, torch.stack([transform_(s.image) for s in samples]))
    assert batch.label.tolist() == [0, 1, 2]
