"""What pre-training is worth to each fusion encoder, at small scale, on nlvr's scenes.

**The experiment**, fixed before it was run. Six systems at a width of 64, each pre-trained by its
own recipe (`sensorium train uniter.pretrain` and so on) on the scenes of nlvr's training part:
captions by a template and true statements by people, boxes where a system sees regions. LXMERT's
recipe has questions and answers among its objectives; they are left out here, so that no system
meets a question before it is fine-tuned. Then the task: "how many yellow circles are there ?" and
"is there a blue square ?", learnt from few questions about training scenes and scored on scenes of
the test part. Two arms: from the pre-trained net, and from the weights it started with. Everything
else (words, questions, their order, the head's start, steps, rate) is the same.

**The rule** (`verdict.judge`; the effect is one number a seed, its 95% interval is Student's t over
the paired differences), for each system:

*Pre-training helps it*: accuracy from the pre-trained net - accuracy from scratch lies above 0.

How long is pre-trained and fine-tuned was set by what a step costs, so that about the same is spent
on each system; neither that nor the rates were tried out before.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sensorium.datasets.asked import Entry, Questions
from sensorium.datasets.nlvr import nlvr
from sensorium.recipes.albef import ALBEF
from sensorium.recipes.lxmert import LXMERT
from sensorium.recipes.pretrain import Effort, System, pretrain
from sensorium.recipes.questions import Cut, without_picture
from sensorium.recipes.told import ANSWERS, Told, question
from sensorium.recipes.uniter import UNITER
from sensorium.recipes.vilbert import VILBERT
from sensorium.recipes.vilt import VILT
from sensorium.recipes.visualbert import VISUALBERT
from sensorium.recipes.vqa import Effort as Tuning
from sensorium.recipes.vqa import answering
from sensorium.train.loop import train
from sensorium.train.run import Run
from sensorium.verbs.ask import Asker
from sensorium.verbs.load import load_folder
from sensorium.weights import folder as folders

SYSTEMS: dict[str, tuple[System, str]] = {
    "visualbert": (VISUALBERT, "itm,mlm"),
    "uniter": (UNITER, "mlm,itm,wra,mrfr,mrckl"),
    "vilbert": (VILBERT, "itm,mlm,mrc"),
    "lxmert": (LXMERT, "itm,mlm,obj,attr,feat"),
    "vilt": (VILT, "mlm,itm,wpa"),
    "albef": (ALBEF, "itc,itm,mlm"),
}
PIXELS = ("vilt", "albef")


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    before: dict[str, int]  # steps of pre-training
    after: dict[str, int]  # steps of fine-tuning
    batch: int
    rate: float  # of pre-training
    tuned: float  # rate of fine-tuning
    shape: tuple[int, int, int]  # the pictures' shorter side, a patch's, the longest, in pixels
    labelled: int  # questions to fine-tune on
    held: int  # held-out scenes
    asked: int  # questions of each of those


FULL = Design(
    systems=tuple(SYSTEMS),
    seeds=(0, 1, 2),
    before=dict.fromkeys(SYSTEMS, 500) | {"vilt": 160, "albef": 250},
    after=dict.fromkeys(SYSTEMS, 150),
    batch=64,
    rate=1e-3,
    tuned=1e-3,
    shape=(50, 10, 200),
    labelled=800,
    held=560,
    asked=4,
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every system and seed."""
    return [{"arm": name, "seed": seed} for seed in design.seeds for name in design.systems]


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One system and seed: pre-trained, fine-tuned from that and from scratch, and asked."""
    name, seed = job["arm"], job["seed"]
    system, objectives = SYSTEMS[name]
    effort = Effort(design.before[name], design.batch, design.rate, 1, seed)
    see = "pixels" if name in PIXELS else "regions"
    first = pretrain(system, "nlvr", objectives, see, effort, design.shape)
    parts = questions(design, seed)
    tuning = Tuning(design.after[name], design.batch, design.tuned, "float32", seed)
    found: dict[str, Any] = {"guessed": guessed(parts)}
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        starts = {"scratch": begun(first, at / "begun"), "pretrained": train(first, at / "before")}
        for arm, start in starts.items():
            run = answering(name, lambda: parts, lambda: None, str(start), tuning, {})
            right = accuracy(train(run, at / arm), parts.test)
            found |= {arm: right["all"], f"{arm}, how many": right["how many"]}
    return found


def questions(design: Design, seed: int) -> Cut:
    """Questions about training scenes to learn from, a scene each, and about held-out scenes.

    The held-out ones are the same for every seed.
    """
    known, held = nlvr(part="train"), nlvr(part="test")
    labels = sorted({name for one in known.entries for name in one.names[0]})
    rng = np.random.default_rng([seed, 7])
    some = rng.permutation(len(known))[: design.labelled]
    learnt = [about(known.entries[int(i)], labels, rng, 0) for i in some]
    rng = np.random.default_rng(7)
    test = [
        about(one, labels, rng, k)
        for one in held.entries[: design.held]
        for k in range(design.asked)
    ]
    return Cut(Questions(known.root, learnt), Questions(held.root, test), design.shape)


def about(one: Entry, labels: Sequence[str], rng: np.random.Generator, number: int) -> Entry:
    """A question about the scene of a statement, in its place."""
    names = one.names[0]
    told = Told(b"", (), one.boxes[0], names, (0,) * len(names), (0,) * len(names), one.id)
    text, answer = question(told, labels, rng)
    kind = "how many" if text.startswith("how many") else "is there"
    return one._replace(
        text=text, answers=(ANSWERS[answer],), id=f"{one.id}-{number}", cluster=one.id, kind=kind
    )


def begun(run: Run, at: Path) -> Path:
    """The run's net before its first step, as a checkpoint."""
    torch.manual_seed(run.seed)
    package = run.package()
    return folders.save(at, run.net().state_dict(), package.manifest, package.files)


def accuracy(checkpoint: Path, test: Questions) -> dict[str, float]:
    """The share of right answers: of all, and of those that count."""
    model = load_folder(checkpoint)
    asker = Asker(model.net, model.tokenizer, model.manifest)
    best = asker.shares([*test]).argmax(axis=1)
    right = [
        asker.answers[int(i)] == one.answers[0] for i, one in zip(best, test.entries, strict=True)
    ]
    much = [hit for hit, one in zip(right, test.entries, strict=True) if one.kind == "how many"]
    return {"all": float(np.mean(right)), "how many": float(np.mean(much))}


def guessed(parts: Cut) -> float:
    """What comes of an answer without the picture."""
    said = without_picture(parts.train.entries)([parts.test[i] for i in range(len(parts.test))])
    truths = [one.answers[0] for one in parts.test.entries]
    return float(np.mean([a.text == b for a, b in zip(said, truths, strict=True)]))
