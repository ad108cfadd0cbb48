"""What Whisper's experiment shows and claims."""

import math

from sensorium.claims.page import END, RULE, Claim, Found, Page, Shown, gap
from sensorium.claims.verdict import slope

SHARES = {"many-6": 100 / 16, "many-25": 25.0, "many-100": 100.0}


def saved(one: Found) -> float:
    """The share of errors saved on the shifted sets, in percent, less 50."""
    return 50 - 100 * one["many-100"]["shifted"] / max(1e-9, one["one"]["shifted"])


def cost(one: Found) -> float:
    """How many points fewer errors on clean speech, plus two."""
    return 100 * (one["one"]["clean"] - one["many-100"]["clean"]) + 2


def fall(one: Found) -> float:
    """Points of WER for each doubling of the utterances."""
    each = [100 * one[arm]["shifted"] for arm in SHARES]
    return slope([math.log2(share) for share in SHARES.values()], each)


TEXT = (
    """# Whisper: many voices and rooms make recognition robust

Radford et al. (2022; figures recalled, not looked up) report that a model trained on 680,000 hours
of the web has on LibriSpeech's test part the error rate of one trained on LibriSpeech itself, and
on other English sets 12.8 in place of 29.3%, which is 55.2% fewer; and that errors fall with the
hours of training. This page measures those relations at a scale that takes minutes:
`sensorium reproduce whisper` makes it, the experiment and the rule are written in
`sensorium/claims/whisper.py`.

{verdicts}

"""
    + RULE
    + """ The second effect is the share of errors saved, less 50; the third allows two points.

![Word error rates, and the effects](claim.png)

{rows}

Means over {seeds} seeds, word error rate in percent; each seed in brackets.

## What was run

Made speech: ten words of two phones, a phone being a fixed pair of resonances over a voice's
harmonics; two to four words an utterance. *One voice* has one pitch and one throat, in silence;
*many voices* have pitches over an octave and a half, throats from 0.81 to 1.23, other paces and
more breath, half of them in noise (0 to 20 dB) and half in reverberation (0.1 to 0.5 s). Both learn
from {utterances} utterances; with a quarter and a sixteenth the same number of steps is taken, so
that fewer are seen more often. The net is the library's Whisper of width {width}, {layers} layers
and {layers}, whose ids are the words; {effort}; AdamW with warm-up and cosine. Each set has {test}
utterances. *Shifted* is the mean of four sets: many voices in silence; in noise of 5 dB; in
reverberation of 0.4 s; and the one voice through a telephone that carries nothing above 2 kHz.

## What differs from the paper

- Made speech of ten words stands for language: nothing is learnt of spelling, grammar or other
  languages, and the decoder's memory of the text has little to do.
- Both nets see as many utterances. The paper's sets differ in size as well (680,000 hours against
  960), so that there variety and amount are not told apart.
- Voices, noise and reverberation of the shifted sets are of the kinds that the many were drawn
  from, with other draws; only the telephone is heard in no training. The paper's test sets are none
  of its training's.
- No weak supervision: all texts are right.
- The intervals are over seeds of one way to make speech and say nothing of recordings.

"""
    + END
)

PAGE = Page(
    arms={
        "one": "one voice",
        "many-6": "many voices, 1/16",
        "many-25": "many voices, 1/4",
        "many-100": "many voices",
    },
    measures=(
        Shown("clean", "One voice in silence", "WER in %"),
        Shown("shifted", "Shifted sets", "WER in %, mean of four"),
        Shown("voices", "Many voices", "WER in %"),
        Shown("noise", "In noise", "WER in %"),
        Shown("echo", "In reverberation", "WER in %"),
        Shown("telephone", "By telephone", "WER in %"),
    ),
    claims=(
        Claim("fewer errors on shifted speech", gap("one", "many-100", "shifted")),
        Claim("by half or more", saved, unit="% of the errors, less 50"),
        Claim("at little cost on clean speech", cost, unit="points, and two"),
        Claim("more data helps", fall, "below", "points a doubling of the utterances"),
    ),
    words=TEXT,
    plotted=2,
)
