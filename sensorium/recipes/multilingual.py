"""A contrast of pictures and texts in many languages, on all data that is openly licensed."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sensorium.data.joined import Joined
from sensorium.data.order import Mixed, Order, Shuffled
from sensorium.data.tokenizers import TrainedBPE, train_bpe
from sensorium.datasets.coco_open import coco_open
from sensorium.datasets.emoji import HELD_OUT_VENDOR, VENDORS, Emoji, emoji
from sensorium.datasets.openclipart import openclipart
from sensorium.datasets.openstax import captions, multilingual
from sensorium.datasets.storybooks import storybooks
from sensorium.datasets.tuxpaint import tuxpaint
from sensorium.media.augment import Ranges
from sensorium.models.clip import LOG_SCALE_MAX, SMALL
from sensorium.models.declaration import Declaration
from sensorium.objectives.contrastive import Contrastive
from sensorium.recipes.clip import DESIGNS
from sensorium.recipes.contrast import Effort, Material, contrast
from sensorium.tasks.retrieval import retrieve
from sensorium.tasks.scores import to_json
from sensorium.train.run import Run
from sensorium.types import Captioned
from sensorium.verbs.model import Model

LANGUAGES = ("en", "de", "es", "fr", "pt", "pl", "ru", "zh", "ar", "hi", "sw")
STAMPS = tuple("zh_CN" if code == "zh" else code for code in LANGUAGES)  # as the stamps say it
BOOKS = ("en", "sw", "pt", "fr")
VOCAB, LENGTH = 16000, 48


def train(
    data: str | None = None,
    packages: Literal["use", "leave"] = "use",
    steps: int = 900,
    batch: int = 192,
    lr: float = 2e-3,
    precision: Literal["float32", "bf16"] = "bf16",
    seed: int = 0,
) -> Run:
    """Train a small CLIP on emoji, textbooks, picture books and drawings, in eleven languages.

    Args:
        data: the folder of the data sets (default: SENSORIUM_DATA).
        packages: whether Tux Paint's stamps and the Open Clip Art Library are read as well; both
            must be installed then (Debian: tuxpaint-stamps-default, openclipart-svg, librsvg2-bin).
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """

    @cache
    def parts() -> dict[str, Sequence[Captioned]]:
        return opened(data, packages == "use")

    words = tokenizer(parts())
    text = SMALL.args["text"]._replace(vocab=words.vocab, length=LENGTH)
    model = Declaration(SMALL.function, {**SMALL.args, "text": text})

    def samples() -> tuple[Sequence[Captioned], Order]:
        sets = list(parts().values())
        sizes = [len(s) for s in sets]
        orders = [Shuffled(size, seed + i) for i, size in enumerate(sizes)]
        return Joined(sets), Mixed(orders, sizes, [size**0.7 for size in sizes], seed)

    material = Material(
        open=samples,
        finish=ManyScores(data),
        about={name: len(part) for name, part in parts().items()},
        licence="CC-BY-SA-4.0 for the packaged emoji; see each data set",
        first=0.0,
        objective=Contrastive((0.0, LOG_SCALE_MAX), repeats="mask"),
        ranges=Ranges(),
    )
    return contrast(model, words, material, Effort(steps, batch, 1, lr, precision, seed))


def opened(data: str | None, packages: bool) -> dict[str, Sequence[Captioned]]:
    """The training parts, by name."""
    out = next((d for d in DESIGNS if HELD_OUT_VENDOR in d), {HELD_OUT_VENDOR})
    vendors = [v for v in VENDORS if v not in out]
    found: dict[str, Sequence[Captioned]] = {
        "emoji": emoji(vendors, LANGUAGES, "train", keywords=False),
        "openstax": captions(data, "train"),
        "openstax multilingual": multilingual(data, "train"),
        "storybooks": storybooks(data, "train", BOOKS),
    }
    if packages:
        found["tuxpaint"] = tuxpaint(languages=STAMPS)
        found["openclipart"] = openclipart()
    return found


def tokenizer(parts: dict[str, Sequence[Captioned]]) -> TrainedBPE:
    """A vocabulary learnt from the training texts."""
    texts = (text for part in parts.values() for texts in said(part) for text in texts)
    return train_bpe(texts, VOCAB, LENGTH, lower=True, truncate=True)


def said(part: Any) -> Iterable[tuple[str, ...]]:
    """The texts of a data set, without opening its pictures."""
    return (part[i].texts for i in range(len(part))) if isinstance(part, Emoji) else part.texts


class ManyScores(NamedTuple):
    """Retrieval on what training never saw: a vendor's emoji, textbook figures, photographs."""

    data: str | None

    def samples(self) -> Sequence[Captioned]:
        return captions(self.data, "test")

    def scores(
        self, model: Model, records: Path, say: Callable[[int, int], None]
    ) -> dict[str, Any]:
        asked: dict[str, Sequence[Captioned]] = {
            "openstax": captions(self.data, "test"),
            "coco_open": [*coco_open(self.data, "train"), *coco_open(self.data, "test")],
            "storybooks": storybooks(self.data, "test", ("en",)),
        }
        for language in LANGUAGES:
            asked[f"emoji {language}"] = emoji([HELD_OUT_VENDOR], (language,), keywords=False)
        found = {}
        for name, samples in asked.items():
            about = {"split": f"test of {name}", "model": model.fingerprint()}
            path = records / f"retrieval-{name.replace(' ', '-')}.jsonl.gz"
            found[name] = to_json(retrieve(model, samples, path=path, about=about, progress=say))
        main = found.pop("openstax")
        return {**main, "others": found}
