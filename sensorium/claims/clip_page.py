"""Verdicts, plot and page of the experiment on CLIP."""

from pathlib import Path

from sensorium.claims import look
from sensorium.claims.clip import ARMS, HELD_OUT, Design
from sensorium.claims.record import Record
from sensorium.claims.verdict import Interval, Verdict, judge, over_seeds, saving

PROMPTS = {"bare": "bare name", "one": "one template", "ensemble": "ensemble"}


def curve(record: Record, arm: str, seed: int) -> list[float]:
    """Zero-shot accuracy of an arm along its training."""
    return record.get(arm=arm, seed=seed)["curve"]


def savings(record: Record, design: Design, slow: str, fast: str) -> list[float]:
    """log2 of how many times more pictures `slow` needs than `fast`, one number a seed."""
    return [
        saving(design.seen, curve(record, slow, seed), curve(record, fast, seed), 2 / HELD_OUT)
        for seed in design.seeds
    ]


def differences(record: Record, design: Design, better: str, worse: str) -> list[float]:
    """Accuracy by one set of prompts less that by another, in points, one number a seed."""
    ends = [record.get(arm="contrast", seed=seed) for seed in design.seeds]
    return [100 * (end[better] - end[worse]) for end in ends]


def verdicts(record: Record, design: Design) -> list[Verdict]:
    """The four claims, by the rule of `claims.clip`."""
    captioning, words, contrast = ARMS
    return [
        judge(
            "bag of words needs fewer pictures than captioning",
            savings(record, design, captioning, words),
            "above",
            "log2 of the ratio",
        ),
        judge(
            "contrast needs fewer pictures than bag of words",
            savings(record, design, words, contrast),
            "above",
            "log2 of the ratio",
        ),
        judge(
            "one template beats the bare name",
            differences(record, design, "one", "bare"),
            "above",
            "points",
        ),
        judge(
            "an ensemble beats one template",
            differences(record, design, "ensemble", "one"),
            "above",
            "points",
        ),
    ]


def at(record: Record, design: Design, arm: str, place: int) -> Interval:
    """An arm's accuracy in percent at one number of pictures, over seeds."""
    return over_seeds([100 * curve(record, arm, seed)[place] for seed in design.seeds])


def plot(record: Record, design: Design, path: Path) -> None:
    """Left the accuracy of the arms along training, right the contrastive arm by prompts."""
    figure, (left, right) = look.canvas((1.7, 1.0))
    lines = []
    for arm, colour in zip(ARMS, look.COLOURS[: len(ARMS)], strict=True):
        found = [at(record, design, arm, place) for place in range(len(design.seen))]
        left.plot(design.seen, [f.value for f in found], color=colour, linewidth=2)
        for seed in design.seeds:
            each = [100 * value for value in curve(record, arm, seed)]
            left.plot(design.seen, each, color=colour, linewidth=0.7, alpha=0.35)
        lines.append((arm, colour, found[-1].value))
    look.names(left, design.seen[-1], lines, apart=6)
    left.axhline(100 / HELD_OUT, color=look.SOFT, linewidth=1, linestyle=(0, (4, 3)))
    left.text(design.seen[0], 100 / HELD_OUT - 1, "chance", color=look.SOFT, fontsize=9, va="top")
    left.set_xscale("log", base=2)
    left.set_xticks(design.seen, [f"{seen // 1024}k" for seen in design.seen])
    left.minorticks_off()
    left.set_ylim(0, 100)
    look.title(
        left, "Zero-shot on classes never shown", "accuracy in %, against pictures seen in training"
    )
    right.axhline(0, color=look.SOFT, linewidth=1)
    pairs = [("one", "bare"), ("ensemble", "one")]
    for place, (better, worse) in enumerate(pairs):
        each = differences(record, design, better, worse)
        found = over_seeds(each)
        bar = [[found.value - found.low], [found.high - found.value]]
        right.errorbar([place], [found.value], bar, color=look.COLOURS[2], capsize=5, marker="o")
        right.scatter([place + 0.12] * len(each), each, color=look.SOFT, s=14, alpha=0.7)
    labels = [f"{PROMPTS[better]}\nless {PROMPTS[worse]}" for better, worse in pairs]
    right.set_xticks(range(len(pairs)), labels)
    right.set_xlim(-0.5, len(pairs) - 0.5)
    look.title(right, "Contrast: what prompts gain", "points, 95% interval; small dots are seeds")
    look.save(figure, path)


def ratio(found: Verdict) -> str:
    """A verdict on examples as a plain ratio."""
    value, low, high = (2**x for x in found.effect)
    return f"{value:.2g} times ({low:.2g} to {high:.2g})"


def text(record: Record, design: Design, found: list[Verdict]) -> str:
    """The page, in Markdown."""
    rows = []
    for place, seen in enumerate(design.seen):
        cells = [f"{seen:,}"]
        for arm in ARMS:
            score = at(record, design, arm, place)
            cells.append(f"{score.value:.1f} ({score.low:.1f} to {score.high:.1f})")
        rows.append("| " + " | ".join(cells) + " |")
    ends = [
        over_seeds([100 * record.get(arm="contrast", seed=seed)[key] for seed in design.seeds])
        for key in PROMPTS
    ]
    spent = {
        arm: sum(row.cpu for row in record.rows if row.job["arm"] == arm) / len(design.seeds)
        for arm in ARMS
    }
    return look.wrapped(
        PAGE.format(
            verdicts=look.table(found),
            words=ratio(found[0]),
            contrast=ratio(found[1]),
            rows="\n".join(rows),
            prompts="; ".join(
                f"{name} {e.value:.1f}% ({e.low:.1f} to {e.high:.1f})"
                for name, e in zip(PROMPTS.values(), ends, strict=True)
            ),
            seeds=len(design.seeds),
            batch=design.batch,
            rates=", ".join(f"{arm} {rate:g}" for arm, rate in design.rate.items()),
            spent=", ".join(f"{arm} {seconds:.0f} s" for arm, seconds in spent.items()),
            beside=look.beside(found),
            cost=look.cost(record),
        )
    )


PAGE = """# CLIP: which way of reading captions needs the fewest pictures?

Radford et al. (2021, figure 2) find that predicting a caption's bag of words reaches a given
zero-shot accuracy with 3 times fewer pictures than writing the caption, and contrasting picture and
bag of words with 4 times fewer again. This page measures that at a scale that takes minutes:
`sensorium reproduce clip` makes it, the rule is written in `sensorium/claims/clip.py`.

{verdicts}

A verdict is *holds* when the whole 95% interval over seeds (Student's t) lies on the claimed side
of 0, *fails* when it lies on the other, else *inconclusive*. As plain ratios: captioning needs
{words} the pictures of bag of words; bag of words needs {contrast} the pictures of contrast.

![Accuracy along training, and by prompts](claim.png)

| pictures seen | captioning | bag of words | contrast |
|---:|---:|---:|---:|
{rows}

Zero-shot accuracy in percent on pictures of sixteen classes never shown, among the sixteen names
(chance 6.2%); means over {seeds} seeds with their 95% interval. The contrastive arm at its end, by
prompts: {prompts}.

## What was run

Drawn pictures of one object: 2 textures x 4 colours x 4 shapes x 2 sides; sixteen of the 64
classes, others for each seed, are held out. Every picture is new and has one noisy caption
(synonyms, left-out attributes, chatter, a tenth wrong; `sensorium/claims/captions.py`). All arms
share tower, pictures, captions, order, batch ({batch}) and optimiser (AdamW at a constant rate:
{rates}); what stands behind the tower differs (`sensorium/claims/heads.py`). To classify,
captioning takes the likelihood of the prompt, bag of words the sum of the log-probabilities of
its words, contrast the cosine; the prompt is the same. The ratio is read between the arms'
curves, made monotone, over the accuracies from twice chance upwards that both pass through; an
arm that never gets to twice chance counts as having needed all its pictures for it, which makes
the ratio a lower bound.

## What differs from the paper

- Four orders of magnitude fewer pictures, 64 classes that are products of four attributes, a
  vocabulary of some 150 words: language here is far simpler than on the web, and a bag of words
  describes a scene completely.
- "Held out" means new combinations of known words, not new words.
- Equal budget is in pictures, as in the figure; captioning costs more a picture: {spent} of CPU a
  training.
- The rate is the better of two in short trials on a seed that is not measured, not tuned further.
- Prompts: one template and eight of the very templates that captions were made of, asked of a text
  tower that sees a bag of words; the paper's 80 templates were asked of a transformer.

## Each seed

{beside}

## Cost

{cost} Raw results: `results.jsonl` beside this page (its first line is the design), verdicts with
their numbers: `verdicts.json`.
"""
