"""What StarCoder's experiment shows and claims."""

from sensorium.claims.page import END, RULE, Claim, Found, Page, Shown, gap

SAME, HARM = 0.1, 3.0  # nats between two prompts, and percent of the loss


def both_sides(one: Found) -> float:
    """Nats a token that the suffix is worth."""
    return one["fim"]["psm"] - one["fim"]["before"]


def apart(one: Found) -> float:
    """Nats a token by which the two prompts differ, beyond what is allowed."""
    return abs(one["fim"]["psm"] - one["fim"]["spm"]) - SAME


def harm(one: Found) -> float:
    """Percent by which the loss rises, beyond what is allowed."""
    return 100 * (one["fim"]["loss"] / one["plain"]["loss"] - 1) - HARM


TEXT = (
    """# StarCoder: filling in the middle

Li et al. (2023) train on documents of which half are rearranged, so that a model reads what comes
before and after and then writes the middle, and report that single lines of Python are filled in
exactly in about 62% (recalled); Bavarian et al. (2022) find that left-to-right modelling is not
harmed. This page measures those relations at a scale that takes minutes: `sensorium reproduce
starcoder` makes it, the experiment and the rule are written in `sensorium/claims/starcoder.py`.

{verdicts}

"""
    + RULE
    + """ "Differ by less than 0.1 nat" and "rises by less than 3%" are shown less those margins, so
that the claimed side is below 0.

![Exact docstrings and loss, and the effects](claim.png)

{rows}

Means over {seeds} seeds; each seed in brackets.

## What was run

Functions of one to four changes to a text, named in order by the docstring and made by one line
each. A GPTBigCode of width, layers and heads {size}, one head of keys and values, learns drawn
functions, {teach}, as they are or half of them rearranged (cuts between characters, half PSM, half
SPM). Of functions whose chains were never trained on, {asked} are asked for the docstring between
the line of the signature and the body, greedily; it counts when it is exactly the true one.

## What differs from the paper

- Five orders of magnitude in size, and programs of one form in place of The Stack.
- The middle that is asked for is a docstring, so that what stands before it cannot tell it.
- Documents are rearranged one by one, not within packed samples.
- The intervals are over seeds of one kind of program.

"""
    + END
)

PAGE = Page(
    arms={"plain": "left to right", "fim": "half rearranged"},
    measures=(
        Shown("exact", "Docstrings filled in", "in %, exact"),
        Shown("loss", "Loss, left to right", "in 1/100 nat a token"),
        Shown("psm", "Both sides (PSM)", "log p, 1/100 nat"),
        Shown("spm", "Both sides (SPM)", "log p, 1/100 nat"),
        Shown("before", "Prefix alone", "log p, 1/100 nat"),
    ),
    claims=(
        Claim("it fills in the middle", gap("fim", "plain", "exact")),
        Claim("it reads what follows", both_sides, unit="nats a token"),
        Claim("SPM works as PSM does", apart, "below", "nats a token"),
        Claim("left to right is not harmed", harm, "below", "%"),
    ),
    words=TEXT,
    plotted=2,
)
