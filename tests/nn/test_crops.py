"""Where a box is, told finely, beside what it cuts out."""

import math
from typing import Any

import torch

from sensorium.data.regions import Looked, lay_regions
from sensorium.models.over_crops import over_crops
from sensorium.models.uniter import TINY
from sensorium.nn.crops import waves


def test_waves_are_sines_and_cosines_of_each_corner():
    boxes = torch.tensor([[0.1, 0.2, 0.35, 0.9], [0.0, 0.5, 1.0, 1.0]])
    found = waves(boxes, 3)
    assert found.shape == (2, 24)
    for row in range(2):
        angles = [2 * math.pi * 2**k * float(c) for c in boxes[row] for k in range(3)]
        want = [*map(math.sin, angles), *map(math.cos, angles)]
        assert torch.allclose(found[row], torch.tensor(want), atol=1e-5)


def test_places_reach_the_net_only_where_they_are_asked_for():
    crops = torch.rand(2, 3 * 8 * 8)
    boxes = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.7, 0.4]])
    regions = lay_regions([Looked(crops, boxes)])
    torch.manual_seed(0)
    spec: dict[str, Any] = dict(of=TINY.spec(), side=8, channels=(4, 8), feature=32)
    nets: tuple[Any, Any] = over_crops(**spec, waves=4).eval(), over_crops(**spec).eval()
    fine, plain = nets
    extra = fine.state_dict().keys() - plain.state_dict().keys()
    assert extra == {"image.place.proj.weight", "image.place.proj.bias"}
    plain.load_state_dict({k: v for k, v in fine.state_dict().items() if k not in extra})
    assert not torch.allclose(fine.image(regions).x, plain.image(regions).x)
    with torch.no_grad():
        for name, tensor in fine.named_parameters():
            if name in extra:
                tensor.zero_()
    assert torch.equal(fine.image(regions).x, plain.image(regions).x)
