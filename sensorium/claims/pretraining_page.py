"""The page of what pre-training is worth."""

from collections.abc import Callable

from sensorium.claims.page import END, RULE, Claim, Found, Page, Shown
from sensorium.claims.pretraining import SYSTEMS

NAMES = {
    "visualbert": "VisualBERT",
    "uniter": "UNITER",
    "vilbert": "ViLBERT",
    "lxmert": "LXMERT",
    "vilt": "ViLT",
    "albef": "ALBEF",
}

WORDS = """# What pre-training is worth: six fusion encoders

Each system is pre-trained by its own recipe on captioned scenes, then learns to answer questions
about scenes from few examples; beside it the same net learns them from scratch.
`sensorium reproduce pretraining` makes this page; the rule is written in
`sensorium/claims/pretraining.py`.

{verdicts}

"""
WORDS += RULE
WORDS += """

![Accuracy behind pre-training, and the gain](claim.png)

{rows}

Accuracies in percent, means over {seeds} seeds; each seed in brackets. *Without the picture* is
what comes of the answer that was most often right for the same words.

## What was run

Scenes of one to three coloured shapes (four colours, three shapes, 48 pixels), drawn by
`sensorium/datasets/scenes.py`: 4,000 to learn from, others to be scored on. Pre-training:
`sensorium train uniter.pretrain --data scenes` and so on, with the recipes' own objectives and
captions by a template, {before} steps of {batch}; LXMERT without its questions, so that none meets
one early. Regions are what the exact boxes cut out; ViLT and ALBEF see whole pictures in patches of
8 pixels. Then steps of {batch} on {labelled} questions, each about another training scene ("how
many yellow circles are there ?", "is there a blue square ?"). Peak rates, of both trainings, and
steps on questions, in the order of the table: {rates}; {after}. They are the same for both arms, as
are words, order, and the start of every weight that is not pre-trained. Scored: {asked} questions
about each of {held} scenes of the test part, the same for all.

## What differs from the papers

- Nets 64 wide, minutes of one core, drawn scenes: the gain is of few labelled questions, where
  pre-training has most to give, and says nothing of its size elsewhere.
- The pre-trained net took more computing in all than the one from scratch; what is equal is what is
  spent on the questions.
- Steps and rates were set after a trial of UNITER and ViLT on a seed that is not measured. ALBEF's
  were set anew, on that seed, after three measured seeds at the others' rate in which neither arm
  answered better than without the picture. Three seeds were measured first; three more were added
  for all systems when the intervals of some held both gain and loss. The intervals are over seeds
  of one kind of scene and say nothing of photographs.
- The net from scratch starts from random words too; the papers' start from BERT's.

"""
WORDS += END


def gain(arm: str) -> Callable[[Found], float]:
    """What pre-training adds, in percentage points."""
    return lambda one: 100 * (one[arm]["pretrained"] - one[arm]["scratch"])


PAGE = Page(
    arms={name: NAMES[name] for name in SYSTEMS},
    measures=(
        Shown("pretrained", "Pre-trained", "accuracy in %, each dot a seed"),
        Shown("scratch", "From scratch", "accuracy in %, each dot a seed"),
        Shown("pretrained, how many", "Pre-trained, counting", ""),
        Shown("scratch, how many", "From scratch, counting", ""),
        Shown("guessed", "Without the picture", ""),
    ),
    claims=[Claim(f"pre-training helps {NAMES[name]}", gain(name)) for name in SYSTEMS],
    words=WORDS,
)
