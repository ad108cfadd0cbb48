"""Rotary positions (Su et al. 2021, "RoFormer", section 3.2), and the ways to stretch them.

Dimension i of a head is turned together with dimension i + r/2 (r: how many are turned), by the
angle position / theta^(2i/r). Files whose heads pair neighbours (2i, 2i + 1) instead, as Meta's,
GPT-J's and GGUF's do, are brought to this order when they are imported: see `halves` in
`models.decoder_rules`.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

KINDS = ("linear", "llama3", "yarn")


class Scaling(NamedTuple):
    """How frequencies are changed for texts longer than those first trained on.

    Attributes:
        kind: "linear" (all slower by `factor`, Chen et al. 2023), "llama3" (the slow ones only,
            LLaMA 3.1's code) or "yarn" (Peng et al. 2023, section 3.2).
        low, high: llama3's low and high frequency factors; yarn's beta_slow and beta_fast.
        original: the context that was first trained on, in tokens.
    """

    kind: str
    factor: float
    low: float = 1.0
    high: float = 4.0
    original: int = 8192


class Turned(NamedTuple):
    """The cosines and sines by which each token's heads are turned."""

    cos: Float[Tensor, "t 1 r2"]
    sin: Float[Tensor, "t 1 r2"]

    def __call__(self, x: Float[Tensor, "t h w"]) -> Float[Tensor, "t h w"]:
        """Queries or keys, turned; dimensions beyond the turned ones are left as they are."""
        r = self.cos.shape[2]
        a, b = x[..., :r], x[..., r : 2 * r]
        parts = [a * self.cos - b * self.sin, b * self.cos + a * self.sin]
        return torch.cat(parts if 2 * r == x.shape[2] else [*parts, x[..., 2 * r :]], dim=2)


class Rope(nn.Module):
    """The angles of positions; without parameters and without buffers.

    Args:
        turned: how many dimensions of each head are turned, an even number.
        theta: the base; 10,000 in the paper.

    Raises:
        ValueError: an odd number of dimensions, or a scaling that is not known.
    """

    def __init__(self, turned: int, theta: float, scaling: Scaling | None = None):
        super().__init__()
        if turned < 2 or turned % 2:
            raise ValueError(f"{turned} dimensions of a head cannot be turned in pairs")
        if scaling is not None and (scaling.kind not in KINDS or not scaling.factor >= 1):
            raise ValueError(f"scaling {scaling}: kind is one of {KINDS}, factor at least 1")
        self.turned, self.theta, self.scaling = turned, theta, scaling

    def frequencies(self, device: torch.device) -> Float[Tensor, " r2"]:
        """The angle a position of each pair, scaled; float32, as published models compute it."""
        exponents = torch.arange(0, self.turned, 2, device=device).float() / self.turned
        plain = 1.0 / self.theta**exponents
        s = self.scaling
        if s is None:
            return plain
        if s.kind == "linear":
            return plain / s.factor
        if s.kind == "llama3":
            wave = 2 * math.pi / plain
            smooth = (s.original / wave - s.low) / (s.high - s.low)
            between = (1 - smooth) * plain / s.factor + smooth * plain
            slow = torch.where(wave > s.original / s.low, plain / s.factor, between)
            return torch.where(wave < s.original / s.high, plain, slow)
        first, last = (self._pair(turns, s.original) for turns in (s.high, s.low))
        first, last = max(math.floor(first), 0), min(math.ceil(last), self.turned - 1)
        place = torch.arange(self.turned // 2, device=device).float()
        ramp = ((place - first) / (last - first if last > first else 1e-3)).clamp(0, 1)
        return plain / s.factor * ramp + plain * (1 - ramp)

    def _pair(self, turns: float, original: int) -> float:
        """The (fractional) pair that makes so many turns over the original context."""
        return self.turned * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(self.theta))

    @property
    def gain(self) -> float:
        """What cosines and sines are multiplied by: yarn's temperature, else 1."""
        s = self.scaling
        return 0.1 * math.log(s.factor) + 1 if s is not None and s.kind == "yarn" else 1.0

    def forward(self, pos: Int[Tensor, " t"], dtype: torch.dtype) -> Turned:
        angle = pos[:, None].float() * self.frequencies(pos.device)
        cos, sin = angle.cos() * self.gain, angle.sin() * self.gain
        return Turned(cos[:, None].to(dtype), sin[:, None].to(dtype))
