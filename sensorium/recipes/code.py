"""Code models: a GPTBigCode from nothing, and StarCoder's specialisation in Python."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

import sensorium
from sensorium.data.fim import Fim, checked
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.packed import Packed, Rearranged, Sample, apart
from sensorium.data.ragged import lay
from sensorium.data.tokenizers.byte_level import ByteLevel
from sensorium.models.declaration import Declaration, declared
from sensorium.models.gpt_bigcode import Size, gpt_bigcode
from sensorium.objectives.next_token import Lesson, NextToken
from sensorium.recipes.code_texts import Corpus, corpus, ended, loss_pieces
from sensorium.train.rules import AdamW, Rules
from sensorium.train.run import Ask, Package, Run
from sensorium.verbs.model import Model
from sensorium.verbs.open import load

SIZES = {
    "tiny": Size(128, 4, 4),
    "small": Size(256, 6, 8),
    "medium": Size(512, 8, 8),
    "1b": Size(2048, 24, 16),
    "starcoder": Size(6144, 40, 48),
}
RATES = {"tiny": 2e-3, "small": 1e-3, "medium": 6e-4, "1b": 4e-4, "starcoder": 3e-4}
BETAS = (0.9, 0.95)
SCORED = 64  # held-out pieces that the loss is measured on


class Effort(NamedTuple):
    """How long and how hard."""

    steps: int
    batch: int
    rate: float
    warmup: int
    seed: int


class Look(NamedTuple):
    """How documents are laid out: rearranged, packed, and whether they see each other."""

    fim: Fim
    length: int
    masks: bool


def train(
    data: str,
    size: Literal["tiny", "small", "medium", "1b", "starcoder"] = "tiny",
    fim: float = 0.5,
    masks: bool = False,
    length: int = 1024,
    steps: int = 500,
    batch: int = 8,
    seed: int = 0,
) -> Run:
    """Train a GPTBigCode on code, packed end to end, from nothing (StarCoder, section 5).

    Args:
        data: a folder of source files, an archive, a Parquet or JSONL file (a column content,
            text or code), or a folder of those. A tokenizer.json in it or beside it is used.
        size: width, layers and heads.
        fim: the share of documents rearranged to fill in the middle, half of them as SPM.
        masks: whether documents packed into a sample are kept from seeing each other; the paper's
            are not.
        length: tokens of a sample, and the context (8192 in the paper).
        steps: optimiser steps.
        batch: samples a step.
        seed: of everything random.
    """
    effort = Effort(steps, batch, RATES[size], max(1, steps // 50), seed)
    look = Look(checked(Fim(fim)), length, masks)

    @cache
    def texts() -> Corpus:
        return corpus(data, None)

    def model() -> Declaration:
        args = dict(size=SIZES[size], vocab=texts().words.vocab, length=length)
        return Declaration(gpt_bigcode, args)

    return running(texts, model, None, look, effort, {"data": data, "fim": fim})


def python(
    start: str,
    data: str,
    fim: float = 0.5,
    lr: float = 5e-5,
    length: int = 1024,
    steps: int = 500,
    batch: int = 8,
    seed: int = 0,
) -> Run:
    """Go on from a checkpoint with Python alone, as StarCoder did from StarCoderBase (section 5.4).

    Args:
        start: the checkpoint folder of a language model with a byte-level tokenizer.
        data: as for code.train; only files whose name ends in .py are read.
        fim: the share of documents rearranged to fill in the middle, half of them as SPM.
        lr: peak learning rate.
        length: tokens of a sample, at most the model's context.
        steps: optimiser steps.
        batch: samples a step.
        seed: of everything random.
    """
    effort = Effort(steps, batch, lr, max(1, steps // 8), seed)
    look = Look(checked(Fim(fim)), length, False)

    @cache
    def before() -> Model:
        model = load(start)
        if not isinstance(model.words, ByteLevel):
            raise ValueError(f"--start {start}: a language model with a byte-level tokenizer only")
        if length > model.manifest["model"]["args"]["length"]:
            raise ValueError(f"--length {length}: longer than the model's context")
        return model

    @cache
    def texts() -> Corpus:
        words = before().words
        assert isinstance(words, ByteLevel)
        return corpus(data, ended(words), ".py")

    def model() -> Declaration:
        return declared(before().manifest["model"])

    def state() -> dict[str, Tensor]:
        return before().net.state_dict()

    about = {"data": data, "fim": fim, "start": str(start), "only": ".py"}
    return running(texts, model, state, look, effort, about)


def running(
    texts: Callable[[], Corpus],
    model: Callable[[], Declaration],
    state: Callable[[], dict[str, Tensor]] | None,
    look: Look,
    effort: Effort,
    about: dict[str, Any],
) -> Run:
    """The run of either."""

    @cache
    def source() -> Source:
        found = texts()
        data = Packed(found.train, look.length)
        fim = look.fim if look.fim.rate else None
        order, inputs = Shuffled(len(data), effort.seed), Rearranged(found.words, fim)
        return Source(data, order, inputs, Collated(look, found.words))

    def net() -> nn.Module:
        whole = model().build()
        own = next(whole.parameters()).data
        if state is not None and type(own) is Tensor and not own.is_meta:  # a plan's have none
            whole.load_state_dict(state())
        return whole

    def package() -> Package:
        words = texts().words
        spec = words.spec()
        manifest = {
            "model": model().spec(),
            "transform": None,
            "tokenizer": spec,
            "data": about | {"length": look.length, "masks": look.masks},
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {str(spec["file"]): words.data()})

    return Run(
        net=net,
        asks={"next": Ask(NextToken(), source)},
        rules=rules(effort.rate),
        steps=effort.steps,
        batch=effort.batch,
        package=package,
        finish=Held(texts, look.length),
        warmup=effort.warmup,
        clip=1.0,
        seed=effort.seed,
        save_every=200,
    )


def rules(rate: float) -> Rules:
    """Matrices decay by 0.1; norms, biases and positions do not."""
    return (
        (r"norm|bias|\.pos$", AdamW(rate, 0.0, BETAS)),
        (r".*", AdamW(rate, 0.1, BETAS)),
    )


class Collated:
    """Samples as a batch: one text each, or with masks each document a text of its own."""

    def __init__(self, look: Look, words: ByteLevel):
        self.look, self.words = look, words

    def __call__(self, items: list[Sample]) -> Lesson:
        assert self.words.eos is not None
        if self.look.masks:
            texts = [one for item in items for one in apart(item, self.words.eos)]
            marks = [[True] * len(one) for one in texts]
        else:
            texts = [list(item.ids) for item in items]
            marks = [[place < item.real for place in range(len(item.ids))] for item in items]
        return Lesson(lay(texts), torch.tensor([mark for row in marks for mark in row]))


class Held(NamedTuple):
    """The loss on documents that training never saw."""

    texts: Callable[[], Corpus]
    length: int

    def samples(self) -> Sequence[Any]:
        """None: its probes are made of ids."""
        return ()

    def scores(
        self, model: Model, records: Path, say: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Nats a token, and the perplexity; left to right."""
        found = self.texts()
        pieces = loss_pieces(found.held, self.length, SCORED)
        if not pieces:
            return {"note": "too few documents: none was held out"}
        total, count = 0.0, 0
        for place, ids in enumerate(pieces):
            said, number = summed(model.net, ids)
            total, count = total + said, count + number
            say(place + 1, len(pieces))
        loss = total / count
        return {
            "held out": {"loss": loss, "perplexity": math.exp(min(loss, 50.0))},
            "tokens": {"trained on": len(found.train), "held out": len(found.held)},
            "documents": {"held out": found.documents},
        }


@torch.no_grad()
def summed(net: nn.Module, ids: list[int]) -> tuple[float, int]:
    """The loss of a text, summed over its tokens, and how many there are."""
    net.eval()
    of, text = NextToken(), lay([ids])
    asked = Lesson(text, torch.ones(len(text.ids), dtype=torch.bool))
    return float(of.mark(of.encode(net, asked), asked)["next"]), of.count(asked)["next"]
