"""What ALBEF's experiment shows and claims."""

from sensorium.claims.page import END, RULE, Claim, Page, Shown, gap

TEXT = (
    """# ALBEF: do contrast before fusion, hard negatives and distillation each help?

Li et al. (2021, table 1, 4M pictures; figures recalled, not looked up) report, as mean recall of
texts and of pictures and as VQA accuracy: 93.96, 88.55 and 71.40 for masked words and matching
alone; 96.55, 91.69 and 73.29 with the contrast of both towers; 97.01, 92.16 and 73.81 with hard
negatives; 97.47, 92.58 and 74.42 with momentum distillation. This page measures those relations at
a scale that takes minutes: `sensorium reproduce albef` makes it, the experiment and the rule are
written in `sensorium/claims/albef.py`.

{verdicts}

"""
    + RULE
    + """

![Recall of every arm, and the effects](claim.png)

{rows}

Means over {seeds} seeds, in percent; each seed in brackets. Recall at 1 among {test} new pictures
and their captions, no two alike, both directions averaged (chance 0.5%): by the matching head,
which reads every pair, and by the two towers alone (the first arm never asks those anything).

## What was run

Pictures of 32 px with two plainly coloured shapes beside or above each other; captions of five
words name them in order. The net is the library's ALBEF at width {width}; its picture's, text's
and fusing stacks have {layers} layers. All arms take {effort}, over {pictures} pictures, with the
library's own objective; the queue holds {queue} pairs. *Contrast* adds the contrastive loss to
masked words and matching, *hard negatives* draws wrong pairs by similarity in place of any. The
last two arms are like that one, with 30% of the captions those of other scenes; *distillation*
takes 0.4 of every target from the teacher, after a fifth of the steps. AdamW with warm-up and
cosine.

## What differs from the paper

- Four orders of magnitude: a net of some 310,000 parameters, drawn scenes, captions of one
  template, no start from BERT or from a trained ViT, no augmentation.
- Nets are measured while they still learn (the towers alone find more than the matching head
  does), so that what helps early is what shows. Whether hard negatives help later was not tried.
- Every pair of pictures and captions is read by the matching head; the paper ranks the towers'
  best 128 or 256, after fine-tuning on retrieval.
- The arms are equal in steps, not in time; the contrast takes little, the teacher runs in all
  arms.
- The teacher follows faster (it keeps 0.99 of itself a step, not 0.995), as there are few steps.
- Distillation is measured on captions of which a known share is wrong, where the paper takes the
  web's.
- The rate, the steps and the number of pictures were set after trials of one arm on a seed that is
  not measured. The intervals are over seeds of one kind of picture and say nothing of
  photographs.

"""
    + END
)

PAGE = Page(
    arms={
        "plain": "words and matching",
        "aligned": "and contrast",
        "hard": "and hard negatives",
        "noisy": "wrong captions",
        "soft": "wrong captions, distillation",
    },
    measures=(
        Shown("matched", "Recall at 1, by matching", "in %"),
        Shown("towers", "Recall at 1, by the towers", "in %"),
    ),
    claims=(
        Claim("contrast before fusion helps", gap("aligned", "plain", "matched")),
        Claim("hard negatives help", gap("hard", "aligned", "matched")),
        Claim("distillation helps where captions are wrong", gap("soft", "noisy", "matched")),
    ),
    words=TEXT,
)
