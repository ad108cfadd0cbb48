"""The page of LLaVA's experiment."""

from sensorium.claims.page import END, RULE, Claim, Page, Shown, gap

WORDS = """# LLaVA: instruction tuning makes an assistant of an aligned net

Liu et al. (2023; figures recalled, not looked up) let GPT-4 judge answers beside its own: LLaVA
scores 21.5 without instruction data, 73.8 with conversations alone, 85.1 with conversations,
details and reasoning; without the first stage ScienceQA falls from 90.92 to 85.81. In LLaVA 1.5 a
bridge of two layers in place of one raises MME from 1,323.8 to 1,355.2. This page measures those
relations at a scale that takes minutes: `sensorium reproduce llava` makes it, the experiment and
the rule are written in `sensorium/claims/llava.py`.

{verdicts}

"""
WORDS += RULE
WORDS += """

![Right answers, and the effects](claim.png)

{rows}

Means over {seeds} seeds; each seed in brackets. Shares of answers that are right to the letter, in
percent, of {test} held-out scenes a type, and the mean of the three types.

## What was run

Scenes of four places, each empty or with one of 16 coloured shapes, 32 pixels; a tenth of all
scenes is held out. *Conversation* asks the colour or the shape at a place, or whether a shape is
there (three questions a dialogue where it is learnt); *detail* asks what is at all four places;
*reasoning* asks how many objects have a colour, and what stands beside one. A caption names the
objects in reading order and not where they are.

The library's LLaVA with a language model of {layers} layers, width {width}, which first learns
captions and dialogues of all three types behind scenes that are told in words ({words}), and a
vision transformer of two layers, width {tower}, which first learns what is in the quarter that
each of its 16 patches is of ({sight}). The tower is frozen from there. Stage 1, the bridge alone,
on captions: {align}. Stage 2, bridge and language model, on dialogues: {tune}. AdamW with warm-up
and cosine; every arm's stages have the same numbers of steps and of dialogues a step.

## What differs from the paper

- Five orders of magnitude: drawn scenes, dialogues by template, an exact match for GPT-4's
  judgement.
- The language model knows the three types of question from scenes in words and knows no others; a
  large one was tuned on instructions of all kinds before it saw a picture.
- The tower knows what is to be seen from labels, where CLIP's knows it from captions.
- Arms differ in one thing each, but not in computing: without stage 1, and with stage 1 alone, less
  is spent.
- The rates and the numbers of steps were chosen in short trials on a seed that is not measured.

"""
WORDS += END

PAGE = Page(
    arms={
        "full": "both stages",
        "aligned": "stage 1 alone",
        "conversation": "conversations alone",
        "unaligned": "no stage 1",
        "linear": "linear bridge",
    },
    measures=(
        Shown("mean", "Right answers", "mean of three types in %, each dot a seed"),
        Shown("conversation", "Conversation", ""),
        Shown("detail", "Detail", ""),
        Shown("reasoning", "Reasoning", ""),
    ),
    claims=(
        Claim("instruction tuning makes an assistant", gap("full", "aligned", "mean")),
        Claim("all types beat conversations alone", gap("full", "conversation", "mean")),
        Claim("aligning first helps", gap("full", "unaligned", "mean")),
        Claim("two layers beat one", gap("full", "linear", "mean")),
    ),
    words=WORDS,
)
