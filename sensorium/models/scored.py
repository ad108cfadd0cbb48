"""What a language model says of fixed texts: what its probes and the proof of an export compare."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sensorium.data.ragged import lay
from sensorium.forms.decoder import Decoder
from sensorium.forms.seq2seq import Seq2Seq
from sensorium.weights.errors import WeightsError

IDS = ((5, 3, 8, 1, 9, 11, 4), (2, 7, 7, 6))  # prompts for models without a tokenizer


def writes(net: nn.Module) -> bool:
    """Whether a net scores what comes next in texts."""
    return isinstance(net, (Decoder, Seq2Seq))


@torch.inference_mode()
def scored(net: nn.Module, texts: Sequence[Sequence[int]]) -> Tensor:
    """Logits of what follows every token; an encoder reads the same text backwards.

    Raises:
        WeightsError: the net scores no texts.
    """
    device = next(net.parameters()).device
    if isinstance(net, Decoder):
        return net(placed(texts, device))
    if isinstance(net, Seq2Seq):
        return net(placed([one[::-1] for one in texts], device), placed(texts, device))
    raise WeightsError("a probe asks for the scores of a text, which this model does not give")


def placed(texts: Sequence[Sequence[int]], device: torch.device):
    """Texts end to end on a device."""
    laid = lay([list(one) for one in texts])
    return laid._replace(
        **{name: x.to(device) for name, x in laid._asdict().items() if x is not None}
    )
