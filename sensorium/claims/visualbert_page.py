"""What VisualBERT's experiment shows and claims."""

from sensorium.claims.page import END, RULE, Claim, Page, Shown, gap

TEXT = (
    """# VisualBERT: are pre-training with pictures, and early fusion, worth it?

Li et al. (2019, table 5; figures recalled, not looked up) report on NLVR2's dev part: 66.7 for
the full model, 62.9 without pre-training on COCO, 63.9 when it is pre-trained on COCO's captions
without the pictures, and 61.4 when regions enter at the last layer alone. This page measures
those relations at a scale that takes minutes: `sensorium reproduce visualbert` makes it, the
experiment and the rule are written in `sensorium/claims/visualbert.py`.

{verdicts}

"""
    + RULE
    + """

![Accuracy of every arm, and the effects](claim.png)

{rows}

Means over {seeds} seeds, in percent; each seed in brackets. The task is whether exactly one of two
pictures has an object of the named colour and shape (chance 50%).

## What was run

Scenes of 2 to 4 coloured shapes (3 colours, 3 shapes), each a region with a feature of {feature}
numbers: a fixed code of the colour and one of the shape, both of standard deviation 1, and noise of
{noise}. The net is the library's VisualBERT, {layers} layers of width {width}, with the library's
objectives. Pre-training: {scenes} scenes with two captions of one object each, {before}; "is the
second caption of this picture too" and masked words on one pass. Fine-tuning: {pairs} statements
about two scenes, {tune}, both pictures in one sequence. AdamW with warm-up and cosine. *captions
alone* takes the same steps on the same captions with no region shown; *late fusion* is pre-trained
and fine-tuned like *pre-trained*, but words pass the first layers alone, regions pass none, and the
last layer reads both (the same layers, so equally many parameters but for one norm).

## What differs from the paper

- Four to five orders of magnitude: a net of some 115,000 parameters, hundreds of steps, drawn
  scenes, captions of one template. No start from BERT: every arm starts from scratch, so *not
  pre-trained* is weaker here than a net that knows its words.
- Captions name colours and shapes that are drawn independently: the text by itself has next to
  nothing to teach, where COCO's captions have a language in them.
- Nets are measured in the midst of learning: accuracy rises abruptly once words and regions are
  tied to each other, after a number of steps that differs from seed to seed; that may
  be what spreads the seeds of *pre-trained* and *late fusion*. A trial on seed 100, with more kinds
  of object, pre-trained for 1,500 steps of 64, reached 99.9%.
- The task is close to what pre-training asks (does a caption fit a picture), more than NLVR2 is.
- The paper's early fusion is measured at 12 layers, of which the last one fuses; here at {layers}.
- The noise, the rates and the numbers of steps were chosen in short trials on a seed that is not
  measured. The intervals are over seeds of one kind of scene and say nothing of photographs.

"""
    + END
)

PAGE = Page(
    arms={
        "paired": "pre-trained",
        "text": "captions alone",
        "none": "not pre-trained",
        "late": "late fusion",
    },
    measures=(
        Shown("accuracy", "Accuracy", "on new pairs of pictures, in %", chance=0.5),
        Shown("known", "On pairs it was taught", "in %", chance=0.5),
    ),
    claims=(
        Claim("pre-training helps", gap("paired", "none", "accuracy")),
        Claim("it is the pictures that help", gap("paired", "text", "accuracy")),
        Claim("captions alone help", gap("text", "none", "accuracy")),
        Claim("early fusion helps", gap("paired", "late", "accuracy")),
    ),
    words=TEXT,
)
