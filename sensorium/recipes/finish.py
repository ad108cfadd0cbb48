"""What follows training: the checkpoint that proves itself, its scores, its report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.data.joined import Subset
from sensorium.datasets.emoji import emoji
from sensorium.datasets.folder import folder
from sensorium.datasets.parts import part
from sensorium.media import open_image
from sensorium.tasks.retrieval import retrieve
from sensorium.tasks.scores import to_json
from sensorium.types import Captioned
from sensorium.verbs.model import Model

Say = Callable[[int, int], None]


class EmojiScores(NamedTuple):
    """Retrieval among all drawings of a vendor that training never saw.

    The query is the CLDR short name, the candidates are all its pictures. `unseen` are the same
    scores over those emoji that no vendor's drawing was trained on.
    """

    held_out: str

    def samples(self) -> Sequence[Captioned]:
        return emoji([self.held_out], part="all", keywords=False)

    def scores(self, model: Model, records: Path, say: Say) -> dict[str, Any]:
        samples = emoji([self.held_out], part="all", keywords=False)
        hidden = emoji([self.held_out], part="unseen", keywords=False)
        unseen = {hidden.key(i) for i in range(len(hidden))}
        places = [i for i in range(len(samples)) if samples.key(i) in unseen]
        about = {"split": f"all drawings of {self.held_out}", "model": model.fingerprint()}
        everything = retrieve(
            model, samples, path=records / "retrieval.jsonl.gz", about=about, progress=say
        )
        fresh = retrieve(
            model,
            samples,
            queries=places,
            path=records / "retrieval-unseen.jsonl.gz",
            about=about | {"queries of": "emoji that no vendor's drawing was trained on"},
        )
        return {**to_json(everything), "unseen": to_json(fresh)}


class PictureScores(NamedTuple):
    """Retrieval among the tenth of the user's pictures that training never saw."""

    data: str

    def samples(self) -> Sequence[Captioned]:
        return readable(part(folder(self.data), "test"))[0]

    def scores(self, model: Model, records: Path, say: Say) -> dict[str, Any]:
        samples, unreadable = readable(part(folder(self.data), "test"))
        note = {"unreadable": unreadable} if unreadable else {}
        if len(samples) == 0:
            return {"scores": {}, "note": "too few pictures: none was kept for the scores"} | note
        about = {"split": "the tenth kept from training", "model": model.fingerprint()}
        found = retrieve(
            model, samples, path=records / "retrieval.jsonl.gz", about=about, progress=say
        )
        return to_json(found) | note


def readable(samples: Subset) -> tuple[Subset, list[str]]:
    """The samples whose picture can be read, and for each of the others why not, by its name."""
    kept, unreadable = [], []
    for place, index in enumerate(samples.indices):
        try:
            one = samples[place]
            open_image(one.image, name=one.id)
            kept.append(index)
        except (ValueError, OSError) as wrong:
            unreadable.append(str(wrong))
    return Subset(samples.data, kept), unreadable
