"""Codex's headline claim at small scale: larger models pass more, and more samples pass more.

Paper (Chen et al. 2021, table 1, HumanEval pass@1 / pass@10 in %): Codex-12M 2.0 / 3.6, 85M 8.2 /
12.8, 300M 13.2 / 20.4, 679M 16.2 / 25.7, 2.5B 21.4 / 35.4, 12B 28.8 / 46.8; the test loss falls as
a power of the size (figure 4); the sample of the highest mean log-probability passes more often
than a random one (figure 7), longer chains of building blocks less often (appendix C).

**The experiment**, fixed before it was run. Programs are those of `claims.programs`: a docstring
names 1 to 4 changes to a text, the code makes them. Three decoders of GPT-2's shape learn drawn
programs with the same batches; a fifth of all chains is kept from them. On held-out chains of 2 to
4 steps each writes `samples` samples a problem at temperature `temperature`, which run in the
sandbox against hidden tests. Arms: `s`, `m`, `l`, the sizes.

**The rule** (`verdict.judge`; one number a seed, Student's t):

1. *Loss falls with size*: the slope of the loss on held-out programs on log2 of the parameters
   beside the embeddings lies below 0.
2. *pass@1 rises with size*, 3. *pass@10 rises with size*: the slopes lie above 0.
4. *pass@10 is above pass@1*, mean over the sizes.
5. *The likeliest sample beats a random one*: choosing by mean log-probability, mean over the sizes,
   against pass@1.
6. *Longer chains pass less*: the slope of pass@1 of `l` on the number of steps lies below 0.

Sizes, rates and steps were set after short trials on seed 100, which is not measured. There a first
plan, with GPT-2's own start (weights of 0.02 whatever the width), passed nothing at all.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.claims.lesson import Effort, teach
from sensorium.claims.programs import LENGTH, VOCAB, problem, several, words
from sensorium.data.ragged import lay
from sensorium.datasets.humaneval import CodingSet
from sensorium.forms.decoder import Decoder
from sensorium.models.gpt2 import Size, gpt2
from sensorium.nn.generate.speaks import How, Request
from sensorium.objectives.next_token import Lesson, NextToken
from sensorium.recipes.answerers import small_start
from sensorium.sandbox import Limits, Sandbox
from sensorium.sandbox.selftest import proven
from sensorium.tasks.code.passk import pass_at
from sensorium.tasks.code.samples import Sample
from sensorium.tasks.code.score import Asked, judged
from sensorium.verbs.speak import Reply, say

ARMS = {"s": Size(32, 1, 2), "m": Size(48, 2, 3), "l": Size(64, 3, 4)}
KS = (1, 10)


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    seeds: tuple[int, ...]
    taught: int
    test: int
    problems: int
    samples: int
    temperature: float
    teach: Effort


FULL = Design(
    seeds=(0, 1, 2),
    taught=20000,
    test=400,
    problems=45,
    samples=20,
    temperature=0.6,
    teach=Effort(600, 32, 3e-3),
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm and seed."""
    return [{"arm": arm, "seed": seed} for seed in design.seeds for arm in ARMS]


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm and seed: taught, asked, judged."""
    seed, size = job["seed"], ARMS[job["arm"]]
    torch.manual_seed(seed)
    net = small_start(gpt2(size, VOCAB, LENGTH))
    taught = learn(
        net, [one.text for one in several(design.taught, (seed, 0), False)], design, seed
    )
    held = [one.text for one in several(design.test, (seed, 1), True, least=2)]
    found: dict[str, Any] = {"parameters": 12 * size.layers * size.width**2, "taught": taught}
    return found | {"loss": loss(net, held)} | passes(net, design, seed)


def read(text: str) -> list[int]:
    """A text's ids between tokens that end texts."""
    return [0, *words().encode(text), 0]


def learn(net: Decoder, texts: list[str], design: Design, seed: int) -> float:
    """Teaches whole texts; the mean loss of the last tenth."""
    ids = [read(text) for text in texts]

    def batch(at: Int[Tensor, " b"]) -> Lesson:
        return lesson([ids[i] for i in at.tolist()])

    return teach(net, NextToken(), batch, len(ids), design.teach, seed)


def lesson(ids: list[list[int]]) -> Lesson:
    """Texts of which every token is learnt."""
    text = lay(ids)
    return Lesson(text, torch.ones(len(text.ids), dtype=torch.bool))


@torch.no_grad()
def loss(net: Decoder, texts: list[str]) -> float:
    """The mean loss of a token of texts."""
    net.eval()
    of, asked = NextToken(), lesson([read(text) for text in texts])
    said = of.mark(of.encode(net, asked), asked)["next"]
    return float(said) / of.count(asked)["next"]


def passes(net: Decoder, design: Design, seed: int) -> dict[str, Any]:
    """pass@k, by the number of steps too, and how often the likeliest sample passes."""
    drawn = several(design.problems, (seed, 2), True, least=2)
    problems = [problem(one, number) for number, one in enumerate(drawn)]
    samples: list[Sample] = []
    likely: list[float] = []
    for number, replies in enumerate(written(net.eval(), [p.prompt for p in problems], design)):
        samples += [Sample(problems[number].id, i, one.text) for i, one in enumerate(replies)]
        likely += [float(np.mean(one.logprobs)) for one in replies]
    data = CodingSet(problems, "drawn", "", False)
    with Sandbox(1, Limits(cpu=2.0)) as box:
        proven(box)
        kept = judged(data, samples, box, Asked(KS), None, None)
    right: dict[str, list[int]] = defaultdict(list)
    for row in kept.rows:
        if row["part"] == "sample":
            right[row["cluster"]].append(row["passed"])
    counts = [sum(right[one.id]) for one in problems]
    n = design.samples
    best = [int(np.argmax(likely[i * n : (i + 1) * n])) for i in range(len(problems))]
    chosen = [right[one.id][place] for one, place in zip(problems, best, strict=True)]
    found = {f"pass@{k}": float(np.mean([pass_at(n, c, k) for c in counts])) for k in KS}
    by_steps = {
        str(steps): float(np.mean([c / n for c, p in zip(counts, drawn, strict=True)
                                   if p.steps == steps]))
        for steps in sorted({p.steps for p in drawn})
    }  # fmt: skip
    return found | {"likeliest": float(np.mean(chosen)), "by_steps": by_steps}


def written(net: Decoder, prompts: list[str], design: Design) -> list[list[Reply]]:
    """What a net writes behind every prompt, `design.samples` times."""
    found: list[list[Reply]] = []
    for number, prompt in enumerate(prompts):
        ids = read(prompt)[:-1]
        hows = [
            How(LENGTH - len(ids), design.temperature, seed=1000 * number + i)
            for i in range(design.samples)
        ]
        requests = [Request(ids, how, frozenset({0})) for how in hows]
        done: dict[int, Reply] = {}
        for bit in say(net, words(), requests, ("\ndef",)):
            if bit.reply is not None:
                done[bit.row] = bit.reply
        found.append([done[i] for i in range(design.samples)])
    return found
