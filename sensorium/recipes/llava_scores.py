"""What a LLaVA is scored on: questions answered in its own words, and what became of its words."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sensorium.data.chat import Message
from sensorium.data.conversations import HOLE, MARK, Encoded, encode_pictured, template_of
from sensorium.datasets.asked import Questions
from sensorium.datasets.files import read
from sensorium.forms.prefix import Prefix
from sensorium.nn.generate.choices import losses
from sensorium.nn.generate.loop import Start
from sensorium.nn.generate.speaks import How, Request, laid
from sensorium.tasks.scores import proportion, to_json
from sensorium.verbs.model import Model
from sensorium.verbs.shown import shows
from sensorium.verbs.sight import Sight
from sensorium.verbs.speak import endings, say

MOST = 1000  # questions that are scored: those of the first pictures
TOKENS = 8  # of an answer
TEXTS = (  # by which is measured whether plain text is still read
    "The river rises in the hills above the town and runs for ninety miles to the sea. In spring "
    "its banks are full of birds; by late summer one can cross it on foot, as the Romans did.",
    "To make bread, mix flour, water, salt and yeast, and knead the dough until it is smooth. Let "
    "it rise in a warm place for an hour, shape it into a loaf, and bake it until it is brown.",
    "When light passes from air into glass it slows down and bends. How much it bends depends on "
    "its colour, which is why a prism spreads white light into a band of colours.",
)
Say = Callable[[int, int], None]


class Talked(NamedTuple):
    """Answers to the questions of a test part, with the picture and without it.

    Args:
        test: gives the questions; None: there are none.
        before: gives the model that was started from.
    """

    test: Callable[[], Questions | None]
    before: Callable[[], Model]

    def samples(self) -> Sequence[Any]:
        """None: its probes are made of drawn pictures."""
        return ()

    def scores(self, model: Model, records: Path, say: Say) -> dict[str, Any]:
        told = plain_losses(model, self.before())
        test = self.test()
        if test is None:
            return {"plain text": told}
        some = test.entries[:MOST]
        groups = [list(g) for _, g in groupby(some, key=lambda one: one.files)]
        right: dict[str, list[float]] = {"accuracy": [], "without the picture": []}
        clusters: list[int] = []
        for number, group in enumerate(groups):
            data = read(test.root, group[0].files[0])
            asked = [one.text for one in group]
            for name, image in (("accuracy", data), ("without the picture", None)):
                said = replies(model, image, asked)
                pairs = zip(said, group, strict=True)
                right[name] += [float(same(a, one.answers[0])) for a, one in pairs]
            clusters += [number] * len(group)
            say(number + 1, len(groups))
        found = {k: proportion(np.array(v), np.array(clusters)) for k, v in right.items()}
        return {**to_json({"questions": found}), "plain text": told}


def same(said: str, wanted: str) -> bool:
    """Whether an answer is the right one: letter case, blanks and a full stop do not matter."""
    return said.strip().rstrip(".").strip().lower() == wanted.strip().lower()


def replies(model: Model, image: bytes | None, questions: Sequence[str]) -> list[str]:
    """What a model says to each of several questions about one picture, which is read once.

    Raises:
        ValueError: it reads no pictures, or has no words.
    """
    net, words = model.net, model.words
    if not shows(net) or words is None:
        raise ValueError("this model does not talk about pictures")
    how = template_of(model.manifest.get("chat"))
    sight = Sight(net, model.transform)
    front = "" if image is None else f"{MARK}\n"
    made = [
        encode_pictured(how.parts([Message("user", front + one)], True), words, net.patches)
        for one in questions
    ]
    common = shared([one.ids for one in made])
    settings, ends = How(TOKENS), endings(words, how.ends)
    requests = [Request(one.ids, settings, ends) for one in made]
    start = read_once(sight, made, common, [] if image is None else [image])
    out = [""] * len(questions)
    for bit in say(net.decoder, words, requests, (), start):
        if bit.reply is not None:
            out[bit.row] = bit.reply.text.strip()
    return out


def shared(texts: Sequence[Sequence[int]]) -> int:
    """How many first tokens all texts have in common, and at least one less than the shortest."""
    least = min(map(len, texts)) - 1
    for place in range(least):
        if len({text[place] for text in texts}) > 1:
            return place
    return least


@torch.inference_mode()
def read_once(sight: Sight, made: Sequence[Encoded], common: int, images: Sequence[bytes]) -> Start:
    """The prompts read, what they share once for all."""
    net: Prefix = sight.net
    room = max(len(one.ids) for one in made) + TOKENS
    first = made[0]
    if not common:
        raise ValueError(f"the prompts share no beginning, so that no picture ({HOLE}) is read")
    begun = Encoded(first.ids[:common], first.learnt[:common], first.holes)
    one = sight.begin(Request(begun.ids, How(1)), begun, sight.pixels(images), None)
    cache = one.cache.take([0] * len(made), room)
    rest = laid([m.ids[common:] for m in made], cache.layers[0].k.device)
    return Start(cache, net.extend(rest, cache))


def plain_losses(model: Model, before: Model) -> dict[str, float]:
    """The mean loss of a token of fixed plain texts, now and before, and by how much it rose."""
    found = [mean_loss(one) for one in (before, model)]
    return {"before": found[0], "after": found[1], "rise": found[1] / found[0] - 1}


def mean_loss(model: Model) -> float:
    """The mean loss of a token of `TEXTS`. ValueError: the model has no words."""
    net, words = model.net, model.words
    if not shows(net) or words is None:
        raise ValueError("this model has no words")
    start = [words.bos] if words.begins and words.bos is not None else []
    rows = losses(net.decoder, [start + words.encode(text) for text in TEXTS])
    return float(np.mean([one for row in rows for one in row]))
