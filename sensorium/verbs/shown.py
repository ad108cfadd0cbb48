"""How a model that reads pictures among words proves itself: what follows a picture and a text."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from sensorium.data.ragged import lay
from sensorium.forms.gated import Gated
from sensorium.forms.prefix import Prefix
from sensorium.models.scored import IDS
from sensorium.nn.pictured import Pictures
from sensorium.weights.errors import WeightsError
from sensorium.weights.probes import Probe


def shows(net: nn.Module) -> TypeGuard[Prefix]:
    """Whether a net reads pictures among words, and is talked with."""
    return isinstance(net, Prefix)


def reads(net: nn.Module) -> TypeGuard[Prefix | Gated]:
    """Whether a net continues texts that pictures stand in."""
    return isinstance(net, (Prefix, Gated))


def inputs_of_shown(
    model: Any, images: Sequence[bytes], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """What its probes are given: a picture and a text each, or ids where it has no tokenizer."""
    numbers = [" ".join(map(str, one)) for one in IDS]
    given = texts if model.words is not None else [""] * len(numbers)
    rows = zip(images, given, numbers, strict=False)
    return [{"image": image, "text": text, "ids": ids} for image, text, ids in rows]


def answer_of_shown(model: Any, probe: Probe) -> dict[str, Tensor]:
    """The pixels, the ids, and the logits of what follows the picture and the text."""
    image = probe.inputs["image"]
    if not isinstance(image, bytes) or not reads(model.net):
        raise WeightsError("a probe shows a picture, which is not given, or the model reads none")
    pixels = model.transform(image)
    ids = [int(one) for one in str(probe.inputs["ids"]).split()]
    if model.words is not None:
        ids = model.words.encode(str(probe.inputs["text"]))
    last = behind(model.net, pixels[None], ids)[-1].float().cpu()
    return {"pixels": pixels, "ids": torch.tensor(ids), "logits": last}


@torch.inference_mode()
def behind(net: Prefix | Gated, image: Tensor, ids: Sequence[int]) -> Tensor:
    """Logits of what follows each token: first the tokens of the pictures, then these ids."""
    parameter = next(net.parameters())
    holes = len(image) if isinstance(net, Gated) else net.patches * len(image)
    hole = net.mark if isinstance(net, Gated) else 0
    text = lay([[hole] * holes + [i for i in ids if i != hole or isinstance(net, Prefix)]])
    placed: Mapping[str, Tensor] = {
        key: x.to(parameter.device) for key, x in text._asdict().items() if x is not None
    }
    place = torch.arange(holes, device=parameter.device)
    pictures = Pictures(image.to(parameter.device, parameter.dtype), place)
    return net(pictures, text._replace(**placed))


def drawn(net: Prefix | Gated) -> Tensor:
    """Logits behind two drawn pictures and fixed ids, by which two nets are compared."""
    g = torch.Generator().manual_seed(0)
    image = torch.randn((2, 3, net.pixels, net.pixels), generator=g)
    return behind(net, image, IDS[0]).float()
