"""Whisper: fine-tuned on recordings with their texts, wholly or by additions; and from scratch."""

from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sensorium.data.tokenizers.byte_level import ByteLevel
from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, published
from sensorium.datasets.narrated import catalogued
from sensorium.datasets.speech import FSDD
from sensorium.models.declaration import Declaration, declared
from sensorium.models.lora import lora as widened
from sensorium.models.published import built
from sensorium.models.start import start_from
from sensorium.models.whisper import Size, whisper
from sensorium.models.whisper_inputs import CHANGES, Changes
from sensorium.recipes.whisper_parts import Effort, Heard, Recordings, Taught, recordings, teaching
from sensorium.train.rules import AdamW, Freeze
from sensorium.train.run import Run
from sensorium.verbs.model import Model
from sensorium.verbs.open import load
from sensorium.weights.errors import WeightsError

BETAS, EPS = (0.9, 0.98), 1e-6  # of the paper
PLAIN = r"norm|bias|\.pos$"
MAPS = ("", "attn.f.out", "mlp.f.up", "mlp.f.down", "cross.f.q", "cross.f.out")
"""Every plain linear map of both halves. Queries, keys and values are one map without a bias for
keys, which has no addition."""
ALPHA = 2  # of LoRA, over its rank
DIGITS = Size(96, 2, 4)
SHORT = 64  # tokens of the digits' encoder: 1.28 s, longer than all but two recordings


def finetune(
    start: str,
    data: str = "librispeech_mini",
    language: str = "en",
    steps: int = 60,
    batch: int = 8,
    lr: float = 1e-5,
    precision: Literal["float32", "bf16"] = "bf16",
    seed: int = 0,
) -> Run:
    """Fine-tune a Whisper on recordings with their texts; all of it learns.

    Args:
        start: a Whisper: a checkpoint folder, or a published file or folder.
        data: librispeech_mini, ljspeech_mini, fsdd, or your own: a manifest, or a folder of sound
            files with a text file beside each, of which a tenth is kept for the scores.
        language: of your own recordings, where the manifest does not say it.
        steps: optimiser steps.
        batch: windows of 30 s a step.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """
    return tuning(start, data, language, 0, lr, Effort(steps, batch, precision, seed))


def lora(
    start: str,
    data: str = "librispeech_mini",
    language: str = "en",
    rank: int = 8,
    steps: int = 60,
    batch: int = 8,
    lr: float = 5e-4,
    seed: int = 0,
) -> Run:
    """Fine-tune a Whisper by additions of low rank (LoRA); its own weights stay as they are.

    `sensorium merge` works them into the weights.

    Args:
        start: a Whisper: a checkpoint folder, or a published file or folder.
        data: librispeech_mini, ljspeech_mini, fsdd, or your own: a manifest, or a folder of sound
            files with a text file beside each, of which a tenth is kept for the scores.
        language: of your own recordings, where the manifest does not say it.
        rank: of the additions.
        steps: optimiser steps.
        batch: windows of 30 s a step.
        lr: peak learning rate.
        seed: of everything random.
    """
    if rank < 1:
        raise ValueError(f"--rank {rank}: additions have a rank of 1 or more")
    return tuning(start, data, language, rank, lr, Effort(steps, batch, "bf16", seed))


def tuning(start: str, data: str, language: str, rank: int, lr: float, effort: Effort) -> Run:
    """The run of fine-tuning; `rank` 0: the model itself learns."""

    @cache
    def model() -> Model:
        found = load(start)
        spec = found.manifest["model"]
        if not built(declared(spec), whisper) or not isinstance(found.words, ByteLevel):
            raise WeightsError(f"--start: a Whisper is wanted, not {spec['function']}")
        return found

    def words() -> ByteLevel:
        found = model().words
        assert isinstance(found, ByteLevel)
        return found

    def made() -> Declaration:
        of = declared(model().manifest["model"])
        if not rank:
            return of
        args = dict(of=of.spec(), rank=rank, alpha=float(ALPHA * rank), where=MAPS)
        return Declaration(widened, args)

    def net() -> nn.Module:
        whole = made().build()
        if on_paper(whole):
            return whole
        state = model().net.state_dict()
        start_from(whole, state, {name: name for name in state})
        return whole

    learn = AdamW(lr, 0.1 if not rank else 0.0, BETAS, EPS)
    rest = learn._replace(decay=0.0)
    return teaching(
        Taught(
            model=made,
            net=net,
            words=words,
            data=lambda: recordings(data, "train", language),
            changes=CHANGES,
            about={"recordings": data, "start": Path(start).resolve().name, "lora": rank},
        ),
        ((r"\.(down|up)$", learn), (r".*", Freeze())) if rank else ((PLAIN, rest), (r".*", learn)),
        effort,
        Heard(lambda: recordings(data, "test", language), model),
    )


def digits(
    left_out: str | None = None,
    steps: int = 700,
    batch: int = 48,
    lr: float = 2e-3,
    precision: Literal["float32", "bf16"] = "bf16",
    seed: int = 0,
) -> Run:
    """A tiny Whisper that learns spoken digits from scratch (fsdd).

    Args:
        left_out: a speaker who is not heard in training (george, jackson, ...), and on whose
            recordings it is scored; left out, the scores are of the set's test list.
        steps: optimiser steps.
        batch: recordings a step.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """

    def made() -> Declaration:
        args = dict(size=DIGITS, listening=2, mels=80, vocab=ENGLISH_ONLY, frames=SHORT, length=32)
        return Declaration(whisper, args)

    def net() -> nn.Module:
        whole = made().build()
        if not on_paper(whole):
            louder(whole)
        return whole

    def train() -> Recordings:
        root, told = catalogued(FSDD, "train")
        return root, [one for one in told if one.speaker != left_out]

    def test() -> Recordings:
        root, told = catalogued(FSDD, "test")
        if left_out is None:
            return root, told
        every = [*catalogued(FSDD, "train")[1], *told]
        mine = [one for one in every if one.speaker == left_out]
        if not mine:
            speakers = ", ".join(sorted({one.speaker for one in every}))
            raise ValueError(f"--left-out {left_out}: the speakers of {FSDD} are {speakers}")
        return root, mine

    if left_out is not None:
        test()
    learn = AdamW(lr, 0.1, BETAS, EPS)
    return teaching(
        Taught(
            model=made,
            net=net,
            words=lambda: published(ENGLISH_ONLY),
            data=train,
            changes=HARD,
            about={"recordings": FSDD, "left out": left_out},
        ),
        ((PLAIN, learn._replace(decay=0.0)), (r".*", learn)),
        Effort(steps, batch, precision, seed),
        Heard(test, stamps=False),
    )


HARD = Changes(
    stamps=0.0,
    prompt=0.0,
    joined=0.0,
    silence=0.02,
    speed=0.2,
    tract=0.2,
    tone=8.0,
    noise=0.3,
    bands=2,
    band=10,
    spans=1,
)
"""How digits are changed: few speakers, so that pitch, pace, voices and microphones vary more."""


def on_paper(net: nn.Module) -> bool:
    """Whether a net has no numbers, as in a plan."""
    own = next(net.parameters()).data
    return type(own) is not Tensor or own.is_meta


@torch.no_grad()
def louder(net: nn.Module) -> None:
    """Convolutions start as He et al. (2015) have it, not torch's third of that: beside positions
    of fixed size, little would be heard of the sound otherwise."""
    for name in ("embed.conv1.weight", "embed.conv2.weight"):
        nn.init.kaiming_normal_(net.get_parameter(name), nonlinearity="relu")
