"""Pictures in a conversation: what a model reads of them, and how its cache knows them again."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sensorium.data.conversations import Encoded
from sensorium.forms.prefix import Prefix
from sensorium.media import Transform
from sensorium.nn.generate.loop import Start
from sensorium.nn.generate.speaks import Request, check, laid
from sensorium.nn.slots import Cache

Key = int | tuple[str, int]


class Sight(NamedTuple):
    """The net that reads pictures among words, and the transform of its pictures."""

    net: Prefix
    transform: Transform

    @property
    def patches(self) -> int:
        """How many tokens a picture is."""
        return self.net.patches

    def pixels(self, images: Sequence[Any]) -> list[Tensor]:
        """Pictures as the net reads them. MediaError: one cannot be read."""
        parameter = next(self.net.parameters())
        return [self.transform(one).to(parameter.device, parameter.dtype) for one in images]

    @torch.inference_mode()
    def begin(
        self, request: Request, made: Encoded, pixels: Sequence[Tensor], cache: Cache | None
    ) -> Start:
        """Reads a prompt with pictures behind what the cache holds, which is whole pictures.

        Raises:
            ValueError: as `nn.generate.speaks.check`.
        """
        net, room = self.net, check(self.net.decoder, [request])
        if cache is None:
            cache = net.blank(1, room)
        elif cache.room < room:
            cache = cache.take([0], room)
        done, device = cache.lengths[0], cache.layers[0].k.device
        text = laid([made.ids[done:]], device)
        x = net.decoder.embed(text.ids, text.pos + done)
        fresh = [n for n, hole in enumerate(made.holes) if hole >= done]
        if fresh:
            seen = net.look(torch.stack([pixels[n] for n in fresh])).to(x.dtype)
            starts = torch.tensor([made.holes[n] - done for n in fresh], device=device)
            place = starts[:, None] + torch.arange(net.patches, device=device)
            x = x.index_copy(1, place.flatten(), seen[None])
        return Start(cache, net.begin(x, text, cache))


def keyed(made: Encoded, pixels: Sequence[Tensor], patches: int) -> list[Key]:
    """Ids, and at a picture's places what tells it from other pictures."""
    out: list[Key] = list(made.ids)
    for hole, one in zip(made.holes, pixels, strict=True):
        name = hashlib.sha256(one.cpu().float().numpy().tobytes()).hexdigest()
        out[hole : hole + patches] = [(name, i) for i in range(patches)]
    return out


def whole(same: int, holes: Sequence[int], patches: int) -> int:
    """The first `same` tokens without the beginning of a picture that is cut off there."""
    cut = [hole for hole in holes if hole < same < hole + patches]
    return cut[0] if cut else same
