"""Codex: GPT-3's decoders, trained further on Python (Chen et al. 2021, arXiv 2107.03374).

No weights were published, nor the shapes. The paper's names are the parameters beside the
embeddings, 12 l d^2: from 85M on they are those of GPT-3's sizes (Brown et al. 2020, table 2.1);
the three smallest are shapes of our own with that count. GPT-3's bands of sparse attention were not
published either: every layer here sees all, as GPT-2's do, and the net is `gpt2.gpt2`. The
vocabulary is GPT-2's with 24 runs of spaces (see `data.tokenizers.spaces`).
"""

from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gpt2 import Size, gpt2

VOCAB, LENGTH = 50281, 4096


def _one(width: int, layers: int, heads: int) -> Declaration:
    return Declaration(gpt2, dict(size=Size(width, layers, heads), vocab=VOCAB, length=LENGTH))


SIZES = {
    "12M": _one(384, 7, 6),
    "25M": _one(384, 14, 6),
    "42M": _one(384, 24, 6),
    "85M": _one(768, 12, 12),
    "300M": _one(1024, 24, 16),
    "679M": _one(1536, 24, 16),
    "2.5B": _one(2560, 32, 32),
    "12B": _one(5120, 40, 40),
}
TINY = Declaration(gpt2, dict(size=Size(32, 2, 2), vocab=96, length=64))
PAPER = Paper(
    name="Codex",
    year=2021,
    citation="Chen et al., Evaluating Large Language Models Trained on Code, arXiv 2107.03374",
    text="GPT-3",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="Python files of public repositories (159 GB)",
    notes={"text": "dense attention in every layer; GPT-3's sparse bands were not published"},
)
