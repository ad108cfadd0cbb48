"""What LXMERT's experiment shows and claims."""

from sensorium.claims.page import END, RULE, Claim, Found, Page, Shown, gap


def beyond(one: Found) -> float:
    """Both tasks of vision less the better of the two."""
    found = {arm: 100 * one[arm]["accuracy"] for arm in ("both", "feat", "labels")}
    return found["both"] - max(found["feat"], found["labels"])


TEXT = (
    """# LXMERT: do pre-training tasks of vision matter, and questions?

Tan and Bansal (2019; figures recalled, not looked up) report on NLVR2's dev part 50.9 without a
task of vision in pre-training, 72.9 with the regression of features, 73.5 with labels, 74.9 with
both; and 72.4 without question answering in pre-training against 74.9 with it, for as many
epochs. This page measures those relations at a scale that takes minutes: `sensorium reproduce
lxmert` makes it, the experiment and the rule are written in `sensorium/claims/lxmert.py`.

{verdicts}

"""
    + RULE
    + """

![Accuracy of every arm, and the effects](claim.png)

{rows}

Means over {seeds} seeds, in percent; each seed in brackets. The task is whether both pictures have
an object of the named colour and shape (as often true as not: chance 50%).

## What was run

Scenes of 2 to 4 coloured shapes (3 colours, 3 shapes), each an object with a feature of {feature}
numbers: a fixed code of the colour and one of the shape, both of standard deviation 1, and noise of
{noise}. The net is the library's LXMERT, {layers} layers (of words, of objects, of both) of width
{width}, with the library's objectives on one pass. Pre-training: {scenes} scenes with a caption of
two objects, {before}; matching and masked words in every arm, and what the arm's name says.
Fine-tuning: {pairs} statements about two scenes, {tune}, each picture read with the statement in
turn. AdamW with warm-up and cosine.

## What differs from the paper

- Four to five orders of magnitude: a net of some 320,000 parameters, drawn scenes, captions of one
  template.
- The labels are right and the "detector" is sure of them, and they name just what captions and
  statements speak of (shape and colour), where 1,600 classes and 400 attributes are noisy and
  only partly what is asked. LXMERT's code asks for the labels of all objects, hidden or not; so
  it is here.
- Nets are measured in the midst of learning: accuracy rises abruptly once words and objects are
  tied to each other, after a number of steps that differs from seed to seed, which spreads the
  seeds of an arm from chance to above 90%. Three seeds of so few steps cannot tell the arms apart.
- Questions are about the same scenes as the captions, and take the place of half of them.
- *Not pre-trained* is no arm of the paper's table; it is shown for comparison.
- The noise, the rates and the numbers of steps were chosen in short trials on a seed that is not
  measured. The intervals are over seeds of one kind of scene and say nothing of photographs.

"""
    + END
)

PAGE = Page(
    arms={
        "both": "both",
        "feat": "features",
        "labels": "labels",
        "none": "no task of vision",
        "qa": "both, and questions",
        "scratch": "not pre-trained",
    },
    measures=(
        Shown("accuracy", "Accuracy", "on new pairs of pictures, in %", chance=0.5),
        Shown("known", "On pairs it was taught", "in %", chance=0.5),
    ),
    claims=(
        Claim("features help", gap("feat", "none", "accuracy")),
        Claim("labels help", gap("labels", "none", "accuracy")),
        Claim("both help", gap("both", "none", "accuracy")),
        Claim("both beat the better of each", beyond),
        Claim("questions help", gap("qa", "both", "accuracy")),
    ),
    words=TEXT,
)
