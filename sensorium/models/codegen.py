"""CodeGen: GPT-J's block, trained on text, then code in six languages, then Python.

Nijkamp et al. 2022, "CodeGen: An Open Large Language Model for Code with Multi-Turn Program
Synthesis" (arXiv 2203.13474). `multi` is trained on text and six languages, `mono` on Python behind
that; both have the same shapes. The net is `gptj.gptj`; only its files are laid out otherwise.
"""

from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gptj import Size, gptj


def _one(width: int, layers: int, heads: int, turned: int) -> Declaration:
    return Declaration(
        gptj, dict(size=Size(width, layers, heads, turned), vocab=51200, length=2048)
    )


_SHAPES = {
    "350M": _one(1024, 20, 16, 32),
    "2B": _one(2560, 32, 32, 64),
    "6B": _one(4096, 33, 16, 64),
    "16B": _one(6144, 34, 24, 64),
}
SIZES = {f"{size}-{data}": one for size, one in _SHAPES.items() for data in ("multi", "mono")}
TINY = Declaration(gptj, dict(size=Size(32, 2, 4, 4), vocab=96, length=64))
PAPER = Paper(
    name="CodeGen",
    year=2022,
    citation="Nijkamp et al., CodeGen: An Open Large Language Model for Code, arXiv 2203.13474",
    text="GPT-J",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="the Pile, then BigQuery (six languages), then BigPython",
)
