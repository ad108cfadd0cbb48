"""A training small enough for tests: coloured squares and their names, a CLIP of few numbers.

Run as a program it trains in the folder given, alone or as one of torchrun's ranks:

    python tests/train/tiny.py FOLDER '{"steps": 6, "slices": 2}'
"""

import io
import json
import math
import os
import signal
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.ragged import lay
from sensorium.models.clip import TextSize, ViTSize, clip_vit
from sensorium.objectives.contrastive import Contrastive
from sensorium.objectives.naming import Naming
from sensorium.train.loop import train
from sensorium.train.rules import AdamW, Freeze
from sensorium.train.run import Ask, Package, Run
from sensorium.types import Captioned, ImageText

NET = dict(image=ViTSize(16, 8, 32, 2, 2), text=TextSize(128, 24, 32, 2, 2), embed=16)


def squares(count: int = 48) -> list[Captioned]:
    """Pictures of one colour each, named by its three numbers."""
    out = []
    for i, colour in enumerate(np.random.default_rng(0).integers(0, 256, (count, 3))):
        file = io.BytesIO()
        Image.new("RGB", (16, 16), tuple(int(c) for c in colour)).save(file, "PNG")
        out.append(Captioned(file.getvalue(), (" ".join(map(str, colour)),), f"square {i}"))
    return out


def inputs(sample: Captioned, rng: np.random.Generator | None):
    """Pixels in -1..1, with a little noise while training; ids are the text's bytes."""
    with Image.open(io.BytesIO(sample.image)) as image:
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)
    if rng is not None:
        pixels = pixels + torch.from_numpy(rng.normal(0, 0.05, pixels.shape)).to(pixels.dtype)
    return pixels, list(sample.texts[0].encode())


def collate(items: list) -> ImageText:
    return ImageText(torch.stack([p for p, _ in items]), lay([t for _, t in items]))


class Seen(NamedTuple):
    """What a net says of pictures alone."""

    x: torch.Tensor


class Pictures:
    """An objective that leaves the text tower out: all pictures are told to lie on one side."""

    coupled = False

    def pose(self, net, batch: ImageText, g: torch.Generator) -> ImageText:
        return batch

    def count(self, question: ImageText) -> dict[str, int]:
        return {"pictures": len(question.image)}

    def encode(self, net, question: ImageText) -> Seen:
        return Seen(net.embed_image(question.image))

    def mark(self, answers: Seen, question) -> dict[str, torch.Tensor]:
        return {"pictures": (1 - answers.x[:, 0]).sum()}

    def after_step(self, net) -> None:
        pass


def stopped(step: int) -> torch.nn.Module:
    """A net; the second of several ranks is sent a signal while it computes that step."""
    net, calls = clip_vit(**NET), 0

    def count(*_) -> None:
        nonlocal calls
        calls += 1
        if calls == step and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGTERM)

    net.register_forward_hook(count)
    return net


def tiny(
    data: list[Captioned] | None = None,
    frozen: str | None = None,
    pictures: bool = False,
    naming: bool = False,
    stop: int | None = None,
    **settings,
) -> Run:
    """The run; `settings` replace any of Run's fields.

    Args:
        frozen: the parameters that do not learn.
        pictures: at every step one of two objectives is drawn, one of which needs no texts.
        naming: pictures are set against the texts of all samples and not of the batch alone.
        stop: the step in which the second of several ranks is asked to stop.
    """
    samples = squares() if data is None else data

    @cache
    def source() -> Source:
        return Source(samples, Shuffled(len(samples), seed=3), inputs, collate)

    # A large eps: where the gradient is nothing but rounding, Adam would turn it into whole steps.
    slow = AdamW(1e-2, eps=1e-3)
    rules = ((r"norm|bias|scale|cls|pos", slow), (r".*", slow._replace(decay=0.1)))
    asks = {"contrast": Ask(Contrastive((0.0, math.log(100))), source)}
    if naming:
        names = lay([list(sample.texts[0].encode()) for sample in samples])
        asks["contrast"] = Ask(Naming((0.0, math.log(100)), lambda: names), source)
    if frozen is not None:
        rules = ((frozen, Freeze()), *rules)
    if pictures:
        asks["pictures"] = Ask(Pictures(), source)
        settings["draw"] = {"contrast": 1.0, "pictures": 1.0}
    common = dict(
        net=lambda: clip_vit(**NET) if stop is None else stopped(stop),
        asks=asks,
        rules=rules,
        steps=6,
        batch=8,
        package=lambda: Package({"about": "a test"}, {}),
        warmup=2,
        clip=1.0,
        ema=0.9,
        save_every=2,
    )
    return Run(**(common | settings))


def rows(folder: Path) -> list[dict]:
    """What a run's metrics say of its steps, without how long they took."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "samples_per_second"} for row in lines]


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(tiny(**json.loads(sys.argv[2])), Path(sys.argv[1]))
