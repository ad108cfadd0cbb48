"""Nets that read words beside pictures, next to transformers' own in one process.

    python benchmarks/fusion.py [visualbert] [lxmert] [vilt] [transport] [albef] [--quick]
        [--layers N] [--albef CHECKOUT]

Base size, random weights, the same in both; questions with 3,129 answers. Three kinds of work:

* equal: every sample has 20 words and 36 regions (ViLT: a picture of 384 x 384), nothing is padded;
* ragged: captions of 5 to 40 words, most of them short; 10 to 100 regions; pictures of the shapes
  that cameras give (ViLT's transform). Ours reads them end to end, theirs filled up with masks;
* transport: UNITER's step of matching with and without the optimal-transport term;
* albef: a step of all three losses beside the official model's (see `aligned.py`), of which
  --albef names a checkout of github.com/salesforce/ALBEF.

Of each: the forward pass and the training step (every answer by itself, dropout, AdamW, autocast in
bfloat16). Before anything is timed the answers are compared. With one thread (--threads
1) a time is the process's CPU time, which hardly changes on machines that are busy; else it is the
wall's. Peak memory is what a call takes beyond what stood before it. FLOPs are those of the model's
definition over real tokens (a product of m x k by k x n is 2 m k n); a training step is counted as
three forward passes.
"""

import argparse
import copy
import ctypes
import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import transformers
from common import give, machine, peak, side_by_side, table
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from sensorium.data.patched import lay_patches
from sensorium.data.ragged import lay
from sensorium.data.regions import Looked, lay_regions
from sensorium.media import vilt as vilt_spec
from sensorium.models import lxmert, uniter, vilt, visualbert
from sensorium.models.bert import BertSize
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import layout
from sensorium.objectives import matching, transport
from sensorium.objectives.answering import Asking, soft_bce
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass
from sensorium.train.backward import Scale, backward
from sensorium.train.parallel import Place
from sensorium.train.rules import AdamW, Freeze, optimiser
from sensorium.train.step import Step
from sensorium.types import Joint, Objective, Scored
from sensorium.verbs.fast import prepared

ANSWERS, FEATURE, PATCH, SIDE = 3129, 2048, 32, 384
HALF = torch.bfloat16
TEXT = BertSize(30522, 512, 2, 768, 12, 12, 3072)
SHAPES = ((12, 12), (12, 16), (16, 12), (12, 18), (18, 12), (12, 16), (14, 12), (12, 13))  # patches


class Work(NamedTuple):
    """A batch: words, and regions or pictures, sample by sample."""

    name: str
    words: list[list[int]]
    seen: list[Tensor]  # features (r, c), or pixels (3, y, x)
    boxes: list[Tensor]

    def joint(self) -> Joint:
        """As ours reads it."""
        text = lay(self.words)
        if self.seen[0].ndim == 3:
            return Joint(lay_patches(self.seen, PATCH), text)
        pairs = zip(self.seen, self.boxes, strict=True)
        return Joint(lay_regions([Looked(*pair) for pair in pairs]), text)


class Case(NamedTuple):
    """A system of ours, its peer, and how the peer is given a batch."""

    declaration: Declaration
    layout: str
    given: Callable[[Work], dict[str, Tensor]]
    attention: Callable[[Declaration, Work], float]


def numbers(lists: list[list[int]]) -> list[Tensor]:
    return [torch.tensor(one) for one in lists]


def filled(parts: list[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(parts, batch_first=True)


def mask(parts: list[Tensor]) -> Tensor:
    return filled([torch.ones(len(part), dtype=torch.long) for part in parts])


def words_of(work: Work) -> dict[str, Tensor]:
    ids = numbers(work.words)
    return {"input_ids": filled(ids), "attention_mask": mask(ids)}


def to_visualbert(work: Work) -> dict[str, Tensor]:
    kinds = filled([torch.zeros(len(one), dtype=torch.long) for one in work.seen])
    seen = {"visual_embeds": filled(work.seen), "visual_attention_mask": mask(work.seen)}
    return words_of(work) | seen | {"visual_token_type_ids": kinds}


def to_lxmert(work: Work) -> dict[str, Tensor]:
    boxes = {"visual_pos": filled(work.boxes), "visual_attention_mask": mask(work.seen)}
    return words_of(work) | {"visual_feats": filled(work.seen)} | boxes


def to_vilt(work: Work) -> dict[str, Tensor]:
    most = [max(one.shape[i] for one in work.seen) for i in (1, 2)]
    pad = [(0, most[1] - one.shape[2], 0, most[0] - one.shape[1]) for one in work.seen]
    pairs = list(zip(work.seen, pad, strict=True))
    pixels = torch.stack([F.pad(one, by) for one, by in pairs])
    real = torch.stack([F.pad(torch.ones(one.shape[1:]).long(), by) for one, by in pairs])
    return words_of(work) | {"pixel_values": pixels, "pixel_mask": real}


def pairs_seen(work: Work) -> tuple[float, float, float]:
    """Sums over samples: words by words, picture by picture, words by picture."""
    n = torch.tensor([float(len(one)) for one in work.words])
    tall = [one.shape[1] * one.shape[2] // PATCH**2 + 1 for one in work.seen if one.ndim == 3]
    m = torch.tensor([float(x) for x in tall or [len(one) for one in work.seen]])
    return float((n * n).sum()), float((m * m).sum()), float((n * m).sum())


def one_stream(declaration: Declaration, work: Work) -> float:
    """FLOPs of attention: scores and sums, 2 d each for a query and a key."""
    text, (words, seen, both) = declaration.args["text"], pairs_seen(work)
    return 4 * text.width * text.layers * (words + seen + 2 * both)


def two_streams(declaration: Declaration, work: Work) -> float:
    args, (words, seen, both) = declaration.args, pairs_seen(work)
    text, image, cross = args["text"], args["image"].layers, args["cross"].layers
    own = (text.layers + cross) * words + (image + cross) * seen
    return 4 * text.width * (own + 2 * cross * both)


def cases(layers: int | None) -> dict[str, Case]:
    """The systems, all layers or fewer."""
    text = TEXT._replace(layers=min(TEXT.layers, layers or TEXT.layers))
    big = lxmert.SIZES["base"].args
    cut = lambda n: min(n, layers or n)  # noqa: E731
    parts = dict(text=big["text"]._replace(layers=cut(big["text"].layers)))
    parts |= dict(image=big["image"]._replace(layers=cut(big["image"].layers)))
    parts |= dict(cross=big["cross"]._replace(layers=cut(big["cross"].layers)))
    asked: dict[str, Any] = dict(heads=("vqa",), answers=ANSWERS)
    dense = dict(text=text._replace(length=40), eps=(1e-12, 1e-12), drop=0.0)  # as transformers'
    own = Declaration(visualbert.visualbert, dict(text=text, feature=FEATURE) | asked)
    two = Declaration(lxmert.lxmert, big | parts | asked | dict(drop=0.1))
    return {
        "visualbert": Case(own, "hf-visualbert", to_visualbert, one_stream),
        "lxmert": Case(two, "hf-lxmert", to_lxmert, two_streams),
        "vilt": Case(Declaration(vilt.vilt, dense | asked), "hf-vilt", to_vilt, one_stream),
    }


def pair(case: Case) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs with the same random weights."""
    torch.manual_seed(0)
    ours, chosen = case.declaration.build().eval(), layout(case.layout)
    said = {"transform": vilt_spec(SIDE, PATCH), "labels": [str(i) for i in range(ANSWERS)]}
    config = json.loads(chosen.files(case.declaration, said)["config.json"])
    kind = getattr(transformers, config.pop("architectures")[0])
    theirs = kind(kind.config_class(**config)).eval()
    weights = chosen.keymap(case.declaration).save(ours.state_dict())
    give(theirs, weights, "position_ids")
    return ours, theirs


def drawn(name: str, rows: int, ragged: bool) -> Work:
    """Random words and what is seen."""
    g = torch.Generator().manual_seed(1)
    lengths, counts = [20] * rows, [36] * rows
    if ragged:
        skew = (torch.randn(rows, generator=g) / 2).exp() * 12
        lengths = skew.round().clamp(5, 40).long().tolist()
        lengths[0], lengths[-1] = 40, 5
        counts = torch.randint(10, 101, (rows,), generator=g).tolist()
        counts[0], counts[1] = 100, 10
    words = [torch.randint(1000, 28000, (n,), generator=g).tolist() for n in lengths]
    if name == "vilt":
        sides = [SHAPES[i % len(SHAPES)] if ragged else SHAPES[0] for i in range(rows)]
        draw = partial(torch.randn, generator=g)
        return Work(name, words, [draw(3, PATCH * y, PATCH * x) for y, x in sides], [])
    seen = [torch.rand(r, FEATURE, generator=g) for r in counts]
    near = [torch.rand(r, 2, generator=g) / 2 for r in counts]
    return Work(name, words, seen, [torch.cat([x, x + 0.4], dim=1) for x in near])


def flops(case: Case, work: Work) -> float:
    """Of one forward pass, over real tokens."""
    net = case.declaration.build().eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.ask("vqa", work.joint())  # type: ignore[operator]
    counts = counter.get_flop_counts().get("Global", {})
    products = sum(n for op, n in counts.items() if "attention" not in str(op))
    return products + case.attention(case.declaration, work)


def memory(call: Callable[[], object]) -> float:
    """MB that a call takes at its peak beyond what stood before (nan: cannot be told here)."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists() or not reset.exists():
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _status(status, "VmRSS")
    call()
    return (_status(status, "VmHWM") - before) / 1024


def _status(path: Path, key: str) -> int:
    (line,) = [line for line in path.read_text().splitlines() if line.startswith(key + ":")]
    return int(line.split()[1])


def floats(batch: Any, dtype: torch.dtype) -> Any:
    """A batch with its numbers in a precision."""
    put = lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x  # noqa: E731
    return tree_map(put, batch)


def same(what: str, ours: Tensor, theirs: Tensor, limit: float) -> None:
    """Refuses to time two things that say different things."""
    off = float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max())
    print(f"  {what}: answers differ by at most {off:.1e} of the largest")
    if off > limit:
        raise SystemExit(f"{what}: more than {limit}")


def told(title: str, calls: dict[str, Callable], work: float, count: int, dtype, rounds: int):
    """Times, memory and the share of the machine's peak; the first call is ours."""
    ours = next(iter(calls))
    used = {name: memory(call) for name, call in calls.items()}
    times = side_by_side(calls, rounds)
    table(title, times, count, "samples", ours)
    most = peak(dtype)
    print(
        f"  {ours}: {work / 1e9:.0f} GFLOP, {work / times[ours] / 1e12:.3f} TFLOP/s,"
        f" {work / times[ours] / most:.0%} of the measured peak of {most / 1e12:.3f}"
    )
    print("  peak memory:", ", ".join(f"{name} {x:.0f} MB" for name, x in used.items()))


@torch.inference_mode()
def forward(case: Case, work: Work, cost: float, rounds: int, title: str) -> None:
    ours, theirs = pair(case)
    batch, given, count = work.joint(), case.given(work), len(work.words)
    for dtype in (HALF, torch.float32):
        kind = str(dtype).removeprefix("torch.")
        mine, other = (copy.deepcopy(net).to(dtype) for net in (ours, theirs))
        a, b = floats(batch, dtype), floats(given, dtype)
        twin = prepared(mine)
        calls: dict[str, Callable] = {
            f"ours {kind}, prepared": lambda t=twin, a=a: t.ask("vqa", a),  # type: ignore[operator]
            f"ours {kind}, as trained": lambda m=mine, a=a: m.ask("vqa", a),  # type: ignore[operator]
            f"transformers {kind}": lambda o=other, b=b: answers(o(**b)),
        }
        said = [call() for call in calls.values()]
        limit = 1e-4 if dtype == torch.float32 else 1e-1
        same(f"{kind}, prepared", said[0], said[2], limit)
        same(f"{kind}, as trained", said[1], said[2], limit)
        told(f"{title}, forward, {kind}, batch {count}", calls, cost, count, dtype, rounds)


def answers(said: Any) -> Tensor:
    """The logits of a transformers model."""
    key = "question_answering_score" if "question_answering_score" in said else "logits"
    return said[key]


def train(case: Case, work: Work, cost: float, rounds: int, title: str) -> None:
    g, count = torch.Generator().manual_seed(2), len(work.words)
    score = (torch.rand(count, ANSWERS, generator=g) > 0.999).float()
    batch, given = Scored(work.joint(), score), case.given(work)
    for half in (True, False):
        kind = "bfloat16 autocast" if half else "float32"
        ours, theirs = pair(case)
        mine = stepper(ours, {"vqa": Asking("vqa", soft_bce)}, batch, half)
        plain = torch.optim.AdamW(theirs.train().parameters(), lr=1e-5, fused=True)

        def other(theirs=theirs, plain=plain, half=half) -> float:
            with torch.autocast("cpu", HALF, enabled=half):
                logits = answers(theirs(**given))
            loss = F.binary_cross_entropy_with_logits(logits.float(), score, reduction="sum")
            (loss / count).backward()
            plain.step()
            plain.zero_grad()
            return float(loss.detach()) / count

        calls = {f"ours {kind}": mine, f"transformers {kind}": other}
        print("  first losses:", ", ".join(f"{call():.3f}" for call in calls.values()))
        dtype = HALF if half else torch.float32
        told(
            f"{title}, training step, {kind}, batch {count}", calls, 3 * cost, count, dtype, rounds
        )


def stepper(net: nn.Module, asks: dict[str, Objective], batch: Any, half: bool) -> Callable:
    """One step of our training: question, loss, gradient, optimiser."""
    step, place = Step(net.train(), asks), Place(0, 1, torch.device("cpu"))
    taught = any(isinstance(ask, nn.Module) for ask in asks.values())
    frozen = [(r"objectives\..*teacher\.", Freeze())] if taught else []
    learn = optimiser(step, [*frozen, ("", AdamW(1e-5, 0.01))])
    for group in learn.param_groups:
        group["lr"] = group["initial_lr"]

    def run() -> float:
        g = torch.Generator().manual_seed(3)
        questions = {name: ask.pose(net, batch, g) for name, ask in asks.items()}
        counts = {name: ask.count(questions[name]) for name, ask in asks.items()}
        scale = Scale({name: {k: 1 / n for k, n in c.items()} for name, c in counts.items()})
        around = lambda piece: torch.autocast("cpu", HALF, enabled=half)  # noqa: E731
        sums = backward(step, step, [questions], scale, place, around)
        learn.step()
        learn.zero_grad()
        for ask in asks.values():
            ask.after_step(net)
        return float(scale.total(sums))

    return run


def system(name: str, rounds: int, layers: int | None, rows: int) -> None:
    case = cases(layers)[name]
    for ragged in (False, True):
        work = drawn(name, rows, ragged)
        title = f"{name}, {'ragged' if ragged else 'equal work'}"
        if ragged:
            lengths = [len(one) for one in work.words]
            _, seen, _ = pairs_seen(work)
            print(f"\n{title}: {sum(lengths) / rows:.1f} words, {(seen / rows) ** 0.5:.0f} seen")
        else:
            print(f"\n{title}")
        cost = flops(case, work)
        forward(case, work, cost, rounds, title)
        train(case, work, cost, rounds, title)


def ot(rounds: int, layers: int | None, rows: int) -> None:
    text = BertSize(28996, 512, 2, 768, min(12, layers or 12), 12, 3072)
    made = dict(text=text, feature=FEATURE, heads=("itm",))
    batch = drawn("uniter", rows, True).joint()
    for half in (True, False):
        calls: dict[str, Callable] = {}
        for name, parts in (("matching", ()), ("matching and transport", (transport.UNITER,))):
            torch.manual_seed(0)
            net = uniter.uniter(**made)
            asks = {"itm": OnePass(Matching(matching.UNITER), *parts)}
            calls[name] = stepper(net, asks, batch, half)
        times = side_by_side(calls, rounds)
        kind = "bfloat16 autocast" if half else "float32"
        table(f"UNITER, a step, {kind}, batch {rows}", times, rows, "samples", "matching")
        more = times["matching and transport"] / times["matching"] - 1
        print(f"  optimal transport adds {more:.1%} to the step")


def main() -> None:
    parts = ("visualbert", "lxmert", "vilt", "transport", "albef")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="all of them by default")
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds, 8 samples (ALBEF: 4, of 4 layers)"
    )
    parser.add_argument("--layers", type=int, help="at most so many in each stack (all)")
    parser.add_argument("--batch", type=int, help="samples (32; 8 with --quick)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--albef", type=Path, help="a checkout of github.com/salesforce/ALBEF")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"{machine()}, transformers {transformers.__version__}")
    rounds, rows = (2, 8) if asked.quick else (7, 32)
    for name in asked.parts or parts:
        if name == "albef":
            depth, most = (4, 4) if asked.quick else (None, 16)  # four nets stand in memory
            importlib.import_module("aligned").bench(
                asked.albef, rounds, asked.layers or depth, asked.batch or min(rows, most)
            )
        elif name == "transport":
            ot(rounds, asked.layers, asked.batch or rows)
        else:
            system(name, rounds, asked.layers, asked.batch or rows)
    print(machine())


if __name__ == "__main__":
    main()
