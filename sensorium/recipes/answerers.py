"""The systems at a size that two cores train in minutes, as nets that answer questions."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import nn

from sensorium.media import albef as square
from sensorium.media import canvas, transform
from sensorium.media import vilt as floored
from sensorium.media.transforms import Transform
from sensorium.models.albef import albef
from sensorium.models.bert import BertSize
from sensorium.models.declaration import Declaration, declared
from sensorium.models.lxmert import CrossSize, ObjectSize, lxmert
from sensorium.models.over_crops import over_crops
from sensorium.models.question_inputs import Sees
from sensorium.models.uniter import uniter
from sensorium.models.vilbert import Answers, MeetSize, RegionSize, vilbert
from sensorium.models.vilt import vilt
from sensorium.models.visualbert import visualbert
from sensorium.models.vit import Size

CROP = 16  # pixels of a crop's side
CHANNELS = (32, 64)  # of the convolutions over it
FEWER = (16, 32)  # of them where shapes are plain
WAVES = 6  # frequencies by which places are told where they are asked for
FEATURE = 64  # of a region, where it is learnt
Net = TypeVar("Net", bound=nn.Module)


class Wanted(NamedTuple):
    """What a net is made for: its words, its answers, the pictures, the detector's features."""

    vocab: int
    length: int
    answers: int
    width: int
    layers: int
    pixels: int
    patch: int
    longest: int  # pixels of the longer side
    feature: int | None  # of a detector's regions; None: crops


class Habit(NamedTuple):
    """How large a system is made, and how long and how hard it is trained to answer, where nothing
    else is said."""

    layers: int = 3
    steps: int = 800
    batch: int = 128
    lr: float = 1e-3
    precision: Literal["float32", "bf16"] = "float32"
    together: int = 1  # questions about a picture side by side, for which it is read once
    meant: bool = False  # whether it is also told what statements speak of


HABITS = {
    "vilt": Habit(3, 2600, 128, 2e-3, "bf16"),
    "albef": Habit(3, 2500, 128, 5e-4, "float32", 4),
}
ON = {("uniter", "nlvr_made"): Habit(3, 9000, 128, 2e-3, meant=True)}  # on some data, another


def habit(system: str, data: str = "") -> Habit:
    """A system's habit, or its own on these data."""
    return ON.get((system, data), HABITS.get(system, Habit()))


class Answerer(NamedTuple):
    """A net, how it sees pictures, and the transform of what it sees (None: features)."""

    model: Declaration
    sees: Sees
    look: Transform | None


def _size(w: Wanted, layers: int | None = None) -> BertSize:
    heads = max(1, w.width // 16)
    return BertSize(w.vocab, w.length, 2, w.width, layers or w.layers, heads, 4 * w.width)


def _visualbert(w: Wanted, feature: int) -> Declaration:
    args = dict(text=_size(w), feature=feature, heads=("vqa",), answers=w.answers, drop=0.0)
    return Declaration(visualbert, args)


def _uniter(w: Wanted, feature: int) -> Declaration:
    args = dict(text=_size(w), feature=feature, heads=("vqa",), answers=w.answers, drop=0.0)
    return Declaration(uniter, args)


def _lxmert(w: Wanted, feature: int) -> Declaration:
    half = max(1, w.layers // 2)
    image, cross = ObjectSize(1, 1, 1), CrossSize(w.layers - half or 1)
    args = dict(text=_size(w, half), image=image, cross=cross, feature=feature, heads=("vqa",))
    return Declaration(lxmert, args | dict(answers=w.answers, drop=0.0))


def _vilt(w: Wanted) -> Answerer:
    args = dict(text=_size(w), pixels=w.pixels, patch=w.patch, heads=("vqa",), drop=0.0)
    model = Declaration(vilt, args | dict(answers=w.answers))
    look = floored(w.pixels, w.patch) | {"size": max(w.longest, w.pixels)}
    return Answerer(model, Sees("patches", "plain", w.patch), transform(look))


def _vilbert(w: Wanted, feature: int) -> Declaration:
    size, places = _size(w), tuple(range(1, w.layers))
    image = RegionSize(w.width, w.layers - 1 or 1, size.heads, 2 * w.width)
    meet = MeetSize(w.width, size.heads, places, tuple(range(len(places))))
    args = dict(text=size, image=image, meet=meet, feature=feature, heads=("vqa",))
    return Declaration(vilbert, args | dict(answers=Answers(w.answers, 1, 1), drop=0.0))


def _albef(w: Wanted) -> Answerer:
    size = _size(w, 2 * w.layers)
    image = Size(w.pixels, w.patch, w.width, w.layers, size.heads, size.hidden)
    args = dict(text=size, image=image, embed=None, fusion=w.layers, decoder=1, drop=0.0)
    model = Declaration(albef, args | dict(heads=("vqa",)))
    return Answerer(model, Sees("pixels", "clean"), transform(square(w.pixels)))


REGIONS: dict[str, tuple[Callable[[Wanted, int], Declaration], Any]] = {
    "visualbert": (_visualbert, "masked"),
    "uniter": (_uniter, "plain"),
    "lxmert": (_lxmert, "plain"),
    "vilbert": (_vilbert, "plain"),
}
PIXELS: dict[str, Callable[[Wanted], Answerer]] = {"vilt": _vilt, "albef": _albef}
SYSTEMS = (*PIXELS, *REGIONS)


def answerer(system: str, wanted: Wanted, head: str = "vqa") -> Answerer:
    """A system as a net that answers with a head.

    ValueError: there is none of that name, or it has no such head.
    """
    if system in PIXELS:
        made = PIXELS[system](wanted)
        return made._replace(model=headed(made.model, head))
    if system not in REGIONS:
        raise ValueError(f"no system is called {system!r}; there are: {', '.join(SYSTEMS)}")
    made, words = REGIONS[system]
    words = words if head == "vqa" else "plain"
    if wanted.feature is not None:
        model = headed(made(wanted, wanted.feature), head)
        return Answerer(model, Sees("features", words), None)
    of = headed(made(wanted, FEATURE), head).spec()
    args = dict(of=of, side=CROP, channels=CHANNELS, feature=FEATURE)
    look = transform(canvas(CROP))
    return Answerer(Declaration(over_crops, args), Sees("crops", words), look)


def pointing(how: Answerer) -> Answerer:
    """UNITER over crops of plain shapes, told finely where they are; its head of masked regions
    says two numbers of each: whether a statement means it, and whether its box."""
    of = how.model.args["of"]
    args = {**of["args"], "heads": [*of["args"]["heads"], "mrc"], "classes": 2}
    model = Declaration(over_crops, {**how.model.args, "of": {**of, "args": args}})
    return how._replace(model=Declaration(over_crops, model.args | SEEN))


SEEN = {"channels": FEWER, "waves": WAVES}


@torch.no_grad()
def small_start(net: Net) -> Net:
    """A start for narrow nets: weights of n inputs from a normal distribution of variance 1/n.

    BERT's start, 0.02 whatever the width, is for a width of 768; at 64 a net that starts so leaves
    the answers that need no picture only after many times as many steps (see docs/questions.md).
    """
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)
    return net


def headed(model: Declaration, head: str) -> Declaration:
    """The same model with this head alone; a head for two pictures tells them apart."""
    text: BertSize = model.args["text"]
    grown = text._replace(types=3) if head == "nlvr" and model.function is uniter else text
    return Declaration(model.function, {**model.args, "text": grown, "heads": (head,)})


def continued(spec: dict[str, Any], answers: int, head: str = "vqa") -> Declaration:
    """A checkpoint's declaration with another number of answers, and the head that gives them.

    ValueError: it declares nothing that answers questions.
    """
    args = spec.get("args", {})
    if "of" in args:
        inner = continued(args["of"], answers, head).spec()
        return declared({"function": spec["function"], "args": {**args, "of": inner}})
    if "heads" not in args:
        raise ValueError(f"model {spec.get('function')}: it has no heads that answer questions")
    heads = [*args["heads"]] + [head] * (head not in args["heads"])
    said = args.get("answers") if head == "vqa" else None
    more = {"answers": {**said, "vqa": answers} if isinstance(said, dict) else answers}
    if head == "nlvr" and spec["function"] == "uniter.uniter":
        more = {"text": {**args["text"], "types": 3}}
        said = more
    return declared({**spec, "args": {**args, "heads": heads} | (more if said else {})})
