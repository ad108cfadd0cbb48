"""What ViLT's experiment shows and claims."""

import math

from sensorium.claims.page import END, RULE, Claim, Found, Page, Shown, gap

NEAR, TWENTIETH = 5.0, 5.0  # points of accuracy, and percent of the time


def near(one: Found) -> float:
    """How much better patches are than five points behind the grid."""
    return NEAR + gap("patches", "grid", "accuracy")(one)


def share(one: Found) -> float:
    """By how much the share of time that patches take exceeds a twentieth."""
    return 100 * one["patches"]["share of the picture"] - TWENTIETH


def faster(one: Found) -> float:
    """How many times the time of patches the grid takes, as log2."""
    return math.log2(one["grid"]["ms"] / one["patches"]["ms"])


TEXT = (
    """# ViLT: do linear patches cost next to nothing, and lose little?

Kim et al. (2021; figures recalled, not looked up) report about 15 ms a sample for ViLT-B/32, about
60 for Pixel-BERT with a ResNet-50, and about 900 for UNITER-Base with its detector; on VQA 71.26
against UNITER's 72.70, on NLVR2 test-P 76.13 against 75.80. Hiding whole words in place of tokens
helps NLVR2 and retrieval there. This page measures those relations at a scale that takes minutes:
`sensorium reproduce vilt` makes it, the experiment and the rule are written in
`sensorium/claims/vilt.py`.

{verdicts}

"""
    + RULE
    + """

![Accuracy and time of every arm, and the effects](claim.png)

{rows}

Means over {seeds} seeds; each seed in brackets. Accuracy is that on new questions, in percent (an
answer without the picture is right in 30%). Times are microseconds of one processor core a sample,
in batches of 100. *Matching* is how often a picture is told from the one its caption is not of,
behind pre-training (chance 50%).

## What was run

Pictures of 32 px with two plainly coloured shapes beside or above each other (5 colours, 5 shapes).
Questions: what colour, what shape, is there such a thing. One trunk, the library's ViLT of {layers}
layers of width {width}, is fed by 16 linear patches, by the 16 cells of a small residual net of
{channels} to four times as many channels that is learnt with it, or by the features (a fixed code
of colour and shape, and noise) and boxes of both objects. Those three learn from questions about
{pictures} pictures, {alone}. *Whole words* and *tokens* first learn from captions, {before}, then
from questions, {tune}. Every name of a colour or shape is two pieces, either of which tells the
other. AdamW with warm-up and cosine.

## What differs from the paper

- Four orders of magnitude: a trunk of some 200,000 parameters, in which what surrounds the matrix
  products weighs more than in one of 87 million. The share of time that patches take is that of
  this trunk; a wider one spends less.
- The residual net is small as well (three stages of one block, not ResNet-50 or -101), and learnt
  from scratch; the paper's is pre-trained. No detector runs: its time, which is most of UNITER's,
  is not counted, and its regions are right but for noise.
- Masked words and matching share one reading of each batch, in which words are hidden in right
  pairs alone; the paper reads twice. No word-patch alignment.
- Every name has two pieces; in the paper's vocabulary most words are one token, so that the two
  ways of hiding differ less.
- Nets are measured while they still learn: none is near what its pictures hold.
- The rates and steps were set after short trials, of the patches and of the grid, on a seed that is
  not measured. The intervals are over seeds of one kind of picture and say nothing of photographs.

"""
    + END
)

PAGE = Page(
    arms={
        "patches": "patches",
        "grid": "grid",
        "regions": "regions",
        "whole": "whole words",
        "token": "tokens",
    },
    measures=(
        Shown("accuracy", "Accuracy", "on new questions, in %", chance=0.3),
        Shown("ms", "Time a sample", "in microseconds", scale=1000.0),
        Shown("ms of the picture", "of the picture's tokens", "in microseconds", scale=1000.0),
        Shown("matching", "Matching", "in %", chance=0.5),
    ),
    claims=(
        Claim("patches are within five points of the grid", near),
        Claim("patches take less time than the grid", faster, unit="log2 of the ratio"),
        Claim("patches take less than 5% of the time", share, side="below", unit="points over 5%"),
        Claim("hiding whole words helps", gap("whole", "token", "accuracy")),
    ),
    words=TEXT,
)
