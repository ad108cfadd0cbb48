"""Which box is to learn which truth, and which boxes a step looks at."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.nn.detect.boxes import overlaps

IGNORED, NOTHING = -2, -1  # what a box may be matched with beside the place of a truth


def match(
    truth: Float[Tensor, "m 4"],
    boxes: Float[Tensor, "n 4"],
    low: float,
    high: float,
    *,
    rescue: bool = False,
    crowd: Bool[Tensor, " m"] | None = None,
    extra: int = 0,
) -> Int[Tensor, " n"]:
    """For each box the place of its truth, NOTHING or IGNORED (Ren et al. 2015, section 3.1.2).

    A box overlapping its best truth by at least `high` takes it, by less than `low` is NOTHING,
    between the two IGNORED; so are boxes that lie in a crowd and would be NOTHING. With `rescue`
    every truth also gets the boxes that overlap it most, however little.
    """
    if len(truth) == 0:
        return torch.full((len(boxes),), NOTHING, dtype=torch.long, device=boxes.device)
    over = overlaps(truth, boxes, extra)
    if crowd is None:
        crowd = torch.zeros(len(truth), dtype=torch.bool, device=truth.device)
    single = torch.where(crowd[:, None], torch.zeros_like(over), over)
    best, place = single.max(0)
    found = torch.where(best >= high, place, torch.where(best < low, NOTHING, IGNORED))
    if rescue:
        most = single.max(1).values
        held = (single == most[:, None]) & (most > 0)[:, None] & ~crowd[:, None]
        found = torch.where(held.any(0), place, found)
    if bool(crowd.any()):
        inside = over[crowd].max(0).values >= low
        found = torch.where((found == NOTHING) & inside, IGNORED, found)
    return found


def sample(
    found: Int[Tensor, " n"], noise: Float[Tensor, " n"], count: int, share: float
) -> tuple[Int[Tensor, " p"], Int[Tensor, " q"]]:
    """At most `count` places, at most `share` of them with a truth, the rest with NOTHING.

    Those with the least noise are taken, so that drawn noise makes a fair draw.
    """
    taken = []
    left = count
    for wanted, most in ((found >= 0, int(count * share)), (found == NOTHING, count)):
        places = wanted.nonzero().squeeze(1)
        few = noise[places].argsort(stable=True)[: min(most, left)]
        taken.append(places[few])
        left -= len(few)
    return taken[0], taken[1]


def noise(seed: Int[Tensor, ""] | int, count: int) -> Float[Tensor, " n"]:
    """Numbers in [0, 1) that are a pure function of a seed and their place (splitmix64).

    A step draws with them without drawing: the answer depends on the question alone.
    """
    device = seed.device if isinstance(seed, Tensor) else None
    z = torch.arange(1, count + 1, device=device) * -7046029254386353131 + seed
    z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    z = z ^ ((z >> 31) & 0x1FFFFFFFF)
    return ((z >> 40) & 0xFFFFFF).to(torch.float32) / (1 << 24)
