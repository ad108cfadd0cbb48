"""Where a net looked, by the means of two papers: ALBEF's Grad-CAM, and ViLT's transport of words.

ALBEF (Li et al. 2021, section 5 and `Grounding.py` of its release): the shares of one layer's
cross-attention, each times what the answer would gain from more of it, where that is a gain; heads
and words averaged. ViLT (Kim et al. 2021, figure 4 and `demo.py`): the plan by which each word's
mass goes to the patches at the least cost.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sensorium.nn.answering import OfAnswers, Told, chosen
from sensorium.nn.attention import CrossAttention
from sensorium.nn.transport import costs, plan
from sensorium.types import Fused, Joint
from sensorium.verbs.ask import Asker

SHARP, ROUNDS = 0.1, 1000  # of the plan, as ViLT's own drawings have it

Change = Callable[[Float[Tensor, "1 h n k"]], Float[Tensor, "1 h n k"]]


class Opened(TorchFunctionMode):
    """Runs the attention of one part as plain products, its shares changed by `change`."""

    def __init__(self, part: nn.Module, change: Change):
        super().__init__()
        self.change, self.inside = change, False
        self.hooks = [
            part.register_forward_pre_hook(lambda *_: self.enter(True)),
            part.register_forward_hook(lambda *_: self.enter(False)),
        ]

    def enter(self, inside: bool) -> None:
        """Notes whether the part is running."""
        self.inside = inside

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not functional.scaled_dot_product_attention or not self.inside:
            return func(*args, **(kwargs or {}))
        q, k, v, mask = args[0], args[1], args[2], args[3] if len(args) > 3 else None
        score = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        score = score if mask is None else score.masked_fill(~mask, float("-inf"))
        return self.change(score.softmax(dim=3)) @ v

    def ended(self) -> None:
        """Takes the hooks out again."""
        for hook in self.hooks:
            hook.remove()


def gained(asker: Asker, batch: Joint) -> Float[Tensor, " k"]:
    """Grad-CAM of the likeliest answer over the picture's tokens; all 0 where more of none helps.

    ValueError: the net has no layers of cross-attention to a picture.
    """
    best = int(asker.answer(batch)[0].argmax())
    kept: list[Tensor] = []

    def keep(shares: Tensor) -> Tensor:
        kept.append(shares.detach().requires_grad_())
        return kept[-1]

    with torch.enable_grad():
        score = said(asker, batch, best, keep)
        (slope,) = torch.autograd.grad(score, kept[0])
    return (kept[0].detach() * slope.clamp(min=0))[0].mean(dim=(0, 1))


def said(asker: Asker, batch: Joint, best: int, change: Change) -> Float[Tensor, ""]:
    """The number that stands for an answer, with the middle layer's attention changed."""
    found = [
        part
        for name, part in asker.net.named_modules()  # type: ignore[attr-defined]
        if isinstance(part, CrossAttention) and name.startswith("fusion.")
    ]
    if not found:
        raise ValueError("this net has no layers in which words read the picture")
    opened = Opened(found[(len(found) - 1) // 2], change)
    try:
        with opened:
            if asker.how.scores != "decoder":
                return asker.logits(batch)[0, best if asker.how.scores != "match" else -1]
            head = asker.net.heads[asker.how.head]
            assert isinstance(head, OfAnswers)
            only = torch.tensor([best], device=batch.text.ids.device)
            answer = chosen(asker.placed(asker.known), only)
            return head(asker.net.fuse, Told(batch, answer, torch.zeros_like(only)))[0, 0]
    finally:
        opened.ended()


@torch.no_grad()
def carried(said: Fused, words: int) -> Float[np.ndarray, "n p"]:
    """How the mass of each word, [CLS] and [SEP] left out, goes to the patches, the class token
    left out: rows add up to 1."""
    text, image = said.text.x[:, 1 : words - 1].float(), said.image.x[:, 1:].float()
    real = [torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) for x in (text, image)]
    found = plan(costs(text, image), real[0], real[1], SHARP, ROUNDS)[0]
    return (found / found.sum(dim=1, keepdim=True)).cpu().numpy()
