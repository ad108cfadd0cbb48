"""StarCoder and SantaCoder: GPT-2's block with one head of keys and values for all queries.

Li et al. 2023, "StarCoder: may the source be with you!" (arXiv 2305.06161), section 5; Ben Allal et
al. 2023, "SantaCoder: don't reach for the stars!" (arXiv 2301.03988); multi-query attention:
Shazeer 2019 (arXiv 1911.02150). Hugging Face calls the architecture GPTBigCode.
"""

from typing import NamedTuple

from sensorium.forms.decoder import Decoder
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gpt2 import over_heads
from sensorium.nn.grouped import Heads


class Size(NamedTuple):
    """`groups` heads of keys and values: 1, or as many as `heads`. The MLP is 4 times as wide."""

    width: int
    layers: int
    heads: int
    groups: int = 1


def gpt_bigcode(
    size: Size, vocab: int, length: int, act: str = "gelu", eps: float = 1e-5
) -> Decoder:
    """A GPTBigCode.

    Args:
        length: context in tokens, as many as positions are learnt.
        act: "gelu" (exact) in StarCoder, "gelu_tanh" in SantaCoder.
    """
    heads = Heads(size.heads, size.groups, size.width // size.heads)
    return over_heads(size.width, size.layers, heads, vocab, length, act, eps)


def _star(width: int, layers: int, heads: int) -> Declaration:
    size = Size(width, layers, heads)
    return Declaration(gpt_bigcode, dict(size=size, vocab=49152, length=8192))


SIZES = {
    "starcoder": _star(6144, 40, 48),
    "starcoderbase": _star(6144, 40, 48),
    "starcoderbase-1b": _star(2048, 24, 16),
    "starcoderbase-3b": _star(2816, 36, 22),
    "starcoderbase-7b": _star(4096, 42, 32),
    "tiny_starcoder_py": _star(768, 20, 12),
    "santacoder": Declaration(
        gpt_bigcode,
        dict(size=Size(2048, 24, 16), vocab=49280, length=2048, act="gelu_tanh"),
    ),
}
TINY = Declaration(gpt_bigcode, dict(size=Size(32, 2, 4), vocab=96, length=64))
TINY_HEADS = Declaration(
    gpt_bigcode, dict(size=Size(32, 2, 4, 4), vocab=96, length=64, act="gelu_tanh")
)
PAPER = Paper(
    name="StarCoder",
    year=2023,
    citation="Li et al., StarCoder: may the source be with you!, arXiv 2305.06161",
    text="GPTBigCode",
    vision="none",
    fusion="decoder alone",
    objectives="next token, half of the documents rearranged to fill in the middle",
    data="The Stack, 1T tokens in 86 languages; StarCoder: 35B more of Python",
)
