"""StarCoder's headline claim at small scale: filling in the middle is learnt, and costs little.

Paper (Li et al. 2023, section 5 and 6; after Bavarian et al. 2022): half of the documents are
rearranged so that prefix and suffix are read before the middle; the model then fills in single
lines of Python exactly in about 62% (recalled), and left-to-right modelling is not harmed.

**The experiment**, fixed before it was run. Programs are those of `claims.programs`. A GPTBigCode
(one head of keys and values) learns them as they are (`plain`), or half of them rearranged at
random characters, half of those as PSM and half as SPM (`fim`); batches and steps are the same.
Held-out programs are asked for their docstring: what stands before it tells nothing of it, the code
behind it tells all.

**The rule** (`verdict.judge`; one number a seed, Student's t):

1. *It fills in the middle*: exact docstrings from a PSM prompt, `fim` - `plain`, lie above 0.
2. *It reads what follows*: in `fim`, the mean log-probability of a token of the true docstring
   given both sides, less that given the prefix alone, lies above 0.
3. *SPM works as PSM does*: in `fim`, the two prompts' mean log-probabilities of the docstring's
   tokens differ by less than 0.1 nat.
4. *Left to right is not harmed*: the loss on held-out programs rises by less than 3%.

**It was not run whole.** In a trial arm (`fim`, seed 100, which is not measured) the net filled in
no docstring exactly in 700 steps; whether more would do was not tried.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.claims.codex import lesson, loss
from sensorium.claims.lesson import Effort, teach
from sensorium.claims.programs import LENGTH, VOCAB, Program, several, words
from sensorium.data.fim import Fim, asked, document
from sensorium.forms.decoder import Decoder
from sensorium.models.gpt_bigcode import Size, gpt_bigcode
from sensorium.nn.generate.speaks import How, Request
from sensorium.objectives.next_token import NextToken
from sensorium.recipes.answerers import small_start
from sensorium.verbs.speak import say

ARMS = {"plain": 0.0, "fim": 0.5}


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    seeds: tuple[int, ...]
    size: tuple[int, int, int]  # width, layers, heads
    taught: int
    test: int
    asked: int
    teach: Effort


FULL = Design(
    seeds=(0, 1, 2),
    size=(64, 3, 4),
    taught=20000,
    test=300,
    asked=150,
    teach=Effort(700, 32, 3e-3),
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm and seed."""
    return [{"arm": arm, "seed": seed} for seed in design.seeds for arm in ARMS]


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm and seed: taught, measured from left to right and in the middle."""
    seed = job["seed"]
    torch.manual_seed(seed)
    net = small_start(gpt_bigcode(Size(*design.size), VOCAB, LENGTH))
    taught = learn(net, ARMS[job["arm"]], design, seed)
    held = several(design.test, (seed, 1), True, least=2)
    found: dict[str, Any] = {"taught": taught, "loss": loss(net, [one.text for one in held])}
    few = held[: design.asked]
    found["exact"] = exact(net, few)
    for name, prompt in PROMPTS.items():
        found[name] = likely(net, [(prompt(one), words().encode(one.doc)) for one in few])
    return found


def learn(net: Decoder, rate: float, design: Design, seed: int) -> float:
    """Teaches whole programs, some rearranged anew at every visit; the mean loss of the end."""
    texts = [one.text for one in several(design.taught, (seed, 0), False)]
    rng = np.random.default_rng([seed, 3])

    def batch(at: Int[Tensor, " b"]) -> Any:
        fim = Fim(rate, 0.5)
        return lesson([[0, *document(texts[i], words(), fim, rng), 0] for i in at.tolist()])

    return teach(net, NextToken(), batch, len(texts), design.teach, seed)


def sides(one: Program) -> tuple[str, str]:
    """What stands before a docstring, and behind it."""
    return one.head, f'"""\n{one.body}'


def before(one: Program) -> list[int]:
    """The prompt that ends where the docstring begins."""
    return [0, *words().encode(one.head)]


def psm(one: Program) -> list[int]:
    """The prompt with prefix and suffix."""
    return [0, *asked(*sides(one), words())]


def spm(one: Program) -> list[int]:
    """The prompt with suffix and prefix."""
    return [0, *asked(*sides(one), words(), spm=True)]


PROMPTS = {"before": before, "psm": psm, "spm": spm}


@torch.no_grad()
def likely(net: Decoder, pairs: list[tuple[list[int], list[int]]]) -> float:
    """The mean log-probability of a token of what follows each prompt."""
    net.eval()
    ids = [[*prompt, *middle] for prompt, middle in pairs]
    text = lesson(ids)
    marks = [
        [i >= len(prompt) for i in range(len(prompt) + len(middle))] for prompt, middle in pairs
    ]
    text = text._replace(learnt=torch.tensor([mark for row in marks for mark in row]))
    of = NextToken()
    return -float(of.mark(of.encode(net, text), text)["next"]) / of.count(text)["next"]


def exact(net: Decoder, programs: list[Program]) -> float:
    """The share of docstrings that greedy continuations of a PSM prompt give exactly."""
    net.eval()
    right = 0
    for at in range(0, len(programs), 50):
        some = programs[at : at + 50]
        prompts = [psm(one) for one in some]
        requests = [
            Request(ids, How(min(48, LENGTH - len(ids))), frozenset({0})) for ids in prompts
        ]
        for bit in say(net, words(), requests):
            if bit.reply is not None:
                right += bit.reply.text.strip() == some[bit.row].doc.strip()
    return right / len(programs)
