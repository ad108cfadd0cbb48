"""What every recipe that pre-trains a fusion encoder has in common.

A system says which objectives it has and how they go together; everything else is here: pictures as
regions, patches or pixels, captions and questions of them, the net, the run and its scores.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

import sensorium
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.ragged import lay
from sensorium.data.tokenizers import WordPiece, train_wordpiece
from sensorium.media import Transform, open_image
from sensorium.models.declaration import Declaration, declared
from sensorium.models.question_inputs import QuestionInputs, Sees
from sensorium.objectives import aligned
from sensorium.objectives.masked_words import Vocabulary
from sensorium.objectives.matching import Convention, chance_of_match
from sensorium.objectives.passes import Case
from sensorium.recipes.answerers import Wanted, answerer, small_start
from sensorium.recipes.told import ANSWERS, Tellings, Told, caption, question, told
from sensorium.tasks.scores import proportion as share
from sensorium.tasks.scores import to_json
from sensorium.train.rules import AdamW, Freeze, Rules
from sensorium.train.run import Ask, Package, Run
from sensorium.types import Detections, Joint, Objective
from sensorium.verbs.ask import Asking
from sensorium.verbs.model import Model

WIDTH, LAYERS, LENGTH = 64, 3, 40
# shorter side, patch, longest
PICTURES = {"nlvr": (100, 10, 400), "coco_open": (96, 16, 160), "scenes": (48, 8, 48)}
SURE = 0.9  # the probability that a "detector" who knows gives the right class
ASKED = 0.5  # how many texts are questions, where questions are learnt
NO_DECAY = r"norm|bias|temperature|\.pos\b|\.cls\b"
SCORED = 512  # held-out pictures that are scored
CROP = 16  # pixels of a crop's side, as `answerers` has it


class Made(NamedTuple):
    """What is known once the data were opened: what a system builds its objectives from."""

    words: Vocabulary
    length: int  # tokens of a text at most
    feature: int  # numbers of a region as it comes in
    seen: int  # numbers of a region as the net's heads say it
    labels: tuple[str, ...]
    attributes: tuple[str, ...]
    declaration: Declaration
    effort: "Effort"


class Effort(NamedTuple):
    """How long and how hard."""

    steps: int
    batch: int
    lr: float
    slices: int
    seed: int


class System(NamedTuple):
    """A system as it is pre-trained.

    Attributes:
        name: as `recipes.answerers` knows it.
        known: the objectives it has, in the order in which they change a batch.
        heads: those that the objectives of these names need, and further arguments of the model.
        asks: the objectives of a run: by name, with weights; all of them at each step, or one.
        draw: how often each is drawn, where one is drawn at each step.
        match: the label of a right pair; None: matching has no such head here.
        two: whether texts are two captions of the picture.
        detected: objectives that need a detector's word.
        beside: objectives that stand on what another one makes of a batch, and that other one.
    """

    name: str
    known: tuple[str, ...]
    heads: Callable[[Sequence[str], Made], dict[str, Any]]
    asks: Callable[[Sequence[str], Made], Mapping[str, tuple[Objective, float]]]
    draw: Mapping[str, float] | None = None
    match: Convention | None = None
    two: bool = False
    detected: tuple[str, ...] = ()
    beside: tuple[tuple[str, str], ...] = ()


def pretrain(
    system: System,
    data: str,
    objectives: str,
    see: Literal["regions", "patches", "pixels"],
    effort: Effort,
    shape: tuple[int, int, int] | None = None,
) -> Run:
    """The run of a system on captioned pictures.

    Args:
        data: "nlvr", "coco_open" or "scenes".
        objectives: names with commas between.
        see: what the net is shown: what the known boxes cut out ("regions"), a grid of squares in
            place of them ("patches"), or whole pictures ("pixels", of nets that read those).
        shape: the pictures' shorter side, the side of a patch and the longest side, in pixels;
            None: those of the data.

    Raises:
        ValueError: no such data or objectives, or an objective that these pictures cannot answer.
    """
    names = chosen(system, objectives, see)
    parts = {part: told(data, part) for part in ("train", "test")}
    words = train_wordpiece(parts["train"].words(), 4000, LENGTH, truncate=True)
    shape = shape or PICTURES[data]
    model, sees, look = net_of(system, shape, words)
    labels, attributes = parts["train"].of.labels, parts["train"].of.attributes
    inner = model.args.get("of", {"args": {}})["args"]
    crop = 3 * CROP**2
    known = vocabulary(words)
    about = Made(known, LENGTH, crop, inner.get("feature", crop), labels, attributes, model, effort)
    made = about._replace(declaration=with_args(model, system.heads(names, about)))
    inputs = TellingInputs(
        QuestionInputs(look, words, sees),
        labels,
        grid=shape[1] * 2 if see == "patches" else None,
        two=system.two,
        asked=ASKED if "qa" in names else 0.0,
    )
    asked = system.asks(names, made)

    @cache
    def source() -> Source:
        return Source(
            parts["train"], Shuffled(len(parts["train"]), effort.seed), inputs, inputs.batch
        )

    def package() -> Package:
        spec = words.spec()
        manifest = {
            "model": made.declaration.spec(),
            "transform": None if look is None else look.spec,
            "tokenizer": spec,
            "asking": Asking(sees, "vqa", "softmax").spec(),
            "data": {"pictures": data, "objectives": names, "see": see},
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {str(spec["file"]): words.data()})

    shares = {name: system.draw[name] for name in asked} if system.draw is not None else None
    if shares is None and len(asked) == 1:
        shares = dict.fromkeys(asked, 1.0)  # so that parameters without a question may stand idle
    return Run(
        net=lambda: small_start(made.declaration.build()),
        asks={name: Ask(one, source, weight) for name, (one, weight) in asked.items()},
        draw=shares,
        rules=rules(effort, any(isinstance(one, nn.Module) for one, _ in asked.values())),
        steps=effort.steps,
        batch=effort.batch,
        package=package,
        finish=HeldOut(
            parts["test"], inputs, {k: one for k, (one, _) in asked.items()}, system.match
        ),
        warmup=max(1, effort.steps // 15),
        clip=5.0,
        slices=effort.slices,
        ema=0.99,
        seed=effort.seed,
        save_every=500,
    )


def chosen(system: System, objectives: str, see: str) -> list[str]:
    """The names of the objectives, in the system's order.

    Raises:
        ValueError: one is unknown, given twice, or cannot be asked of such pictures.
    """
    names = [name.strip() for name in objectives.split(",") if name.strip()]
    odd = [name for name in names if name not in system.known]
    if odd or not names or len(set(names)) < len(names):
        wrong = f"{', '.join(odd)} is none" if odd else "each once, at least one"
        raise ValueError(f"--objectives {objectives}: {wrong} of {', '.join(system.known)}")
    blind = [name for name in names if name in system.detected]
    if blind and see != "regions":
        raise ValueError(
            f"--objectives {objectives}: {', '.join(blind)} needs what a detector says of regions, "
            f"which nobody says of {see}; leave it out"
        )
    for name, other in system.beside:
        if name in names and other not in names:
            raise ValueError(
                f"--objectives {objectives}: {name} stands on the pairs of {other}; ask both"
            )
    return [name for name in system.known if name in names]


def net_of(
    system: System, shape: tuple[int, int, int], words: WordPiece
) -> tuple[Declaration, Sees, Transform | None]:
    """The system at a size for two cores, and how it sees pictures."""
    short, patch, longest = shape
    wanted = Wanted(
        vocab=words.vocab,
        length=LENGTH,
        answers=len(ANSWERS),
        width=WIDTH,
        layers=LAYERS,
        pixels=short,
        patch=patch,
        longest=longest,
        feature=None,
    )
    made = answerer(system.name, wanted)
    return made.model, made.sees, made.look


def with_args(model: Declaration, more: Mapping[str, Any]) -> Declaration:
    """The same model with other arguments; of a net over crops, those of the net."""
    spec = model.spec()
    own = spec["args"].get("of", spec)
    own["args"] |= more
    return declared(plainly(spec))


def plainly(value: Any) -> Any:
    """As plain JSON values."""
    if isinstance(value, tuple) and "_fields" in vars(type(value)):
        return {k: plainly(v) for k, v in value._asdict().items()}  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {k: plainly(v) for k, v in value.items()}
    return [plainly(v) for v in value] if isinstance(value, (list, tuple)) else value


def vocabulary(words: WordPiece) -> Vocabulary:
    """What masking must know of a tokenizer; random words are any but the special ones."""
    special = (words.pad, words.unk, words.sot, words.eot, words.mask)
    goes_on = tuple(i for i, piece in enumerate(words.pieces) if piece.startswith("##"))
    never = (words.sot, words.eot, words.pad)
    return Vocabulary(words.mask, never, max(special) + 1, words.vocab, goes_on)


def rules(effort: Effort, teacher: bool) -> Rules:
    """AdamW, without decay of norms and biases; a teacher does not learn."""
    learn = AdamW(effort.lr, decay=0.01, betas=(0.9, 0.98))
    own = ((r"objectives\..*teacher\.", Freeze()),) if teacher else ()
    return (*own, (NO_DECAY, learn._replace(decay=0.0)), (r".*", learn))


# --- from pictures and captions to batches ------------------------------------------------------


class Item(NamedTuple):
    """A picture as it is shown, its text, and what is known of both."""

    picture: Any
    ids: list[int]
    kinds: list[int]
    labels: tuple[int, ...]
    attributes: tuple[int, ...]
    answer: int | None


class TellingInputs:
    """Told pictures to batches. Without a random generator a picture's text depends on its id.

    Args:
        inputs: of the pictures.
        labels: names of all things, of which the absent may be asked for.
        grid: the side of squares that are shown in place of things, in pixels; None: things.
        two: whether a text is two captions.
        asked: how many of the texts are questions.
    """

    def __init__(
        self,
        inputs: QuestionInputs,
        labels: Sequence[str],
        grid: int | None,
        two: bool,
        asked: float,
    ):
        self.inputs, self.labels = inputs, tuple(labels)
        self.grid, self.two, self.asked = grid, two, asked

    def __call__(self, one: Told, rng: np.random.Generator | None) -> Item:
        rng = rng if rng is not None else np.random.default_rng(list(one.id.encode()))
        words, answer = self.inputs.words, None
        if self.two:
            ids, kinds = words.encode_pair(caption(one, rng), caption(one, rng), one.id)
        else:
            text = caption(one, rng)
            if rng.random() < self.asked:
                text, answer = question(one, self.labels, rng)
            ids = words.encode(text, one.id)
            kinds = [0] * len(ids)
        boxes = one.boxes if self.grid is None else squares(one, self.grid)
        picture = self.inputs.picture(one.image, boxes, one.id)
        return Item(picture, ids, kinds, one.labels, one.attributes, answer)

    def batch(self, items: list[Item]) -> Case:
        """Items as a batch; what a detector would say of regions is what is known of them."""
        text = lay([item.ids for item in items], kinds=[item.kinds for item in items])
        of = Joint(self.inputs.shown([item.picture for item in items]), text)
        said = None
        if self.inputs.sees.picture == "crops" and self.grid is None:
            said = known(items, len(self.labels))
        score = None
        if self.asked:
            score = torch.zeros(len(items), len(ANSWERS))
            for row, item in enumerate(items):
                if item.answer is not None:
                    score[row, item.answer] = 1
        return Case(of, said=said, score=score)


def known(items: Sequence[Item], classes: int) -> Detections:
    """What is known of the regions, as a detector would say it; the background comes first."""
    label = torch.tensor([x for item in items for x in item.labels], dtype=torch.long)
    attribute = torch.tensor([x for item in items for x in item.attributes], dtype=torch.long)
    probs = torch.full((len(label), classes + 1), (1 - SURE) / classes)
    probs[torch.arange(len(label)), label + 1] = SURE
    score = torch.full((len(label),), SURE)
    return Detections(probs, label, score, attribute, (attribute >= 0).float() * SURE)


def squares(one: Told, side: int) -> tuple[tuple[float, float, float, float], ...]:
    """A grid of squares that covers the picture."""
    width, height = open_image(one.image, name=one.id).size
    across, down = max(1, round(width / side)), max(1, round(height / side))
    x, y = np.linspace(0, width, across + 1), np.linspace(0, height, down + 1)
    return tuple(
        (float(x[i]), float(y[j]), float(x[i + 1]), float(y[j + 1]))
        for j in range(down)
        for i in range(across)
    )


# --- scores ---------------------------------------------------------------------------------------


class HeldOut(NamedTuple):
    """The losses on pictures that were held out and, where pairs are matched, how many are told."""

    test: Tellings
    inputs: TellingInputs
    objectives: Mapping[str, Objective]
    match: Convention | None

    def samples(self) -> Sequence[Told]:
        """None: what a net says of single pictures proves nothing of one that reads pairs."""
        return ()

    @torch.no_grad()
    def scores(
        self, model: Model, records: Path, say: Callable[[int, int], None]
    ) -> dict[str, Any]:
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        hits: list[np.ndarray] = []
        total = min(SCORED, len(self.test))
        for start in range(0, total, 64):
            items = [self.inputs(self.test[i], None) for i in range(start, min(start + 64, total))]
            batch = self.inputs.batch(items)
            for one in self.objectives.values():
                g = torch.Generator().manual_seed(start)
                posed = one.pose(model.net, batch, g)
                answers = one.encode(model.net, posed)
                for name, value in one.mark(answers, posed).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                    counts[name] = counts.get(name, 0) + one.count(posed)[name]
                hits += self.hits(answers, posed)
            say(min(start + 64, total), total)
        losses = {name: total / max(counts[name], 1) for name, total in sums.items()}
        out: dict[str, Any] = {"losses": losses}
        if hits:
            every = np.concatenate(hits)
            out |= to_json({"matching": {"accuracy": share(every, np.arange(len(every)))}})
        return out

    def hits(self, answers: Any, posed: Any) -> list[np.ndarray]:
        """Whether each pair is told right (1) or not, where pairs are matched."""
        if isinstance(answers, aligned.Answers):
            right = torch.tensor([True, False, False])
            yes = answers.match.argmax(dim=2) == aligned.MATCH
            return [(yes == right).double().flatten().numpy()] if answers.match.any() else []
        if self.match is None:
            return []
        out = []
        for answer, asked in zip(answers.parts, posed.asked, strict=True):
            if "label" in type(asked)._fields and answer.x.shape == (len(asked.label), 2):
                yes = chance_of_match(answer.x, self.match) > 0.5
                out.append((yes == (asked.label == self.match.match)).double().numpy())
        return out
