"""LLaVA in two stages: the bridge on captions, then bridge and language model on conversations."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxtyping import Bool
from torch import Tensor, nn

import sensorium
from sensorium.data.conversations import PLAIN, template_of
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.tokenizers.words import Words
from sensorium.datasets.asked import Questions
from sensorium.datasets.easy_vqa import easy_vqa
from sensorium.datasets.llava import Conversations
from sensorium.media import transform
from sensorium.media.specs import padded_clip
from sensorium.models.clip import clip_vit
from sensorium.models.declaration import Declaration, declared
from sensorium.models.llama import llama
from sensorium.models.llava import SMALL_TOWER, Tower, language
from sensorium.models.llava import llava as a_llava
from sensorium.models.llava_inputs import ConversationInputs, Item
from sensorium.models.lora import lora as widened
from sensorium.models.published import built
from sensorium.models.start import start_from
from sensorium.nn.pictured import Pictures
from sensorium.objectives.next_token import Lesson, NextToken
from sensorium.recipes.llava_data import captions, gate, talks
from sensorium.recipes.llava_scores import Talked
from sensorium.train.rules import AdamW, Freeze, Rules
from sensorium.train.run import Ask, Finish, Package, Run
from sensorium.types import Ids
from sensorium.verbs.model import Model
from sensorium.verbs.open import load
from sensorium.weights.errors import WeightsError

BETAS = (0.9, 0.999)
ALIGNING = 1e-3  # the peak learning rate of LLaVA 1.5's first stage
ALPHA = 2  # of LoRA, over its rank: LLaVA 1.5 has 256 over 128


class Made(NamedTuple):
    """What is trained, from what: a declaration, weights under its names, and words."""

    model: Declaration
    state: Mapping[str, Tensor]
    names: Mapping[str, str]
    words: Words
    chat: str | None


class Effort(NamedTuple):
    """How long and how hard."""

    steps: int
    batch: int
    precision: Literal["float32", "bf16"]
    seed: int


class Stage(NamedTuple):
    """What a stage reads, and what of the net learns.

    `learns` are rules of the parameters that do; all others stay as they are.
    """

    talks: Callable[[], Conversations]
    template: str | None
    longest: int
    learns: Rules
    finish: Finish | None
    about: dict[str, Any]


def align(
    lm: str,
    tower: str | None = None,
    data: str = "easy_vqa",
    bridge: Literal["mlp", "linear"] = "mlp",
    steps: int = 250,
    batch: int = 32,
    precision: Literal["float32", "bf16"] = "float32",
    seed: int = 0,
) -> Run:
    """Stage 1 of LLaVA: a bridge from pictures to words is learnt on captions (section 4.2).

    Args:
        lm: a language model's checkpoint folder, or a published file (GGUF): a LLaMA.
        tower: the checkpoint folder of a CLIP with a vision transformer, whose last layer but one
            is read and stays as it is. Without one a small tower is made, which learns too.
        data: easy_vqa, or a file in LLaVA's form whose pictures lie by it.
        bridge: two layers (LLaVA 1.5) or one.
        steps: optimiser steps.
        batch: captions a step.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """

    @cache
    def made() -> Made:
        return joined(load(lm), None if tower is None else load(tower), bridge)

    learn = AdamW(ALIGNING, 0.0, BETAS)
    see = Freeze() if tower is not None else learn
    stage = Stage(
        talks=lambda: captions(data),
        template=PLAIN,
        longest=2048,
        learns=((r"^net\.bridge\.", learn), (r"^net\.image\.", see)),
        finish=None,
        about={"stage": "align", "captions": data, "lm": named(lm), "tower": named(tower)},
    )
    return stage_of(made, stage, Effort(steps, batch, precision, seed))


def instruct(
    start: str,
    data: str = "easy_vqa",
    template: str | None = None,
    steps: int = 250,
    batch: int = 16,
    lr: float = 2e-4,
    precision: Literal["float32", "bf16"] = "float32",
    seed: int = 0,
) -> Run:
    """Stage 2 of LLaVA: bridge and language model learn conversations about pictures.

    Args:
        start: the checkpoint folder of stage 1, or of a LLaVA to go on from.
        data: easy_vqa, or a file in LLaVA's form whose pictures lie by it.
        template: the chat template, where the language model's files named none.
        steps: optimiser steps.
        batch: conversations a step; of easy_vqa two questions about a picture each.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """
    return conversing(start, data, template, 0, lr, Effort(steps, batch, precision, seed))


def lora(
    start: str,
    data: str = "easy_vqa",
    rank: int = 16,
    steps: int = 250,
    batch: int = 16,
    lr: float = 2e-4,
    precision: Literal["float32", "bf16"] = "float32",
    seed: int = 0,
) -> Run:
    """Stage 2 of LLaVA with LoRA: additions of low rank learn in the language model's stead.

    `sensorium merge` works them into the weights.

    Args:
        start: the checkpoint folder of stage 1, or of a LLaVA to go on from.
        data: easy_vqa, or a file in LLaVA's form whose pictures lie by it.
        rank: of the additions.
        steps: optimiser steps.
        batch: conversations a step; of easy_vqa two questions about a picture each.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """
    if rank < 1:
        raise ValueError(f"--rank {rank}: additions have a rank of 1 or more")
    return conversing(start, data, None, rank, lr, Effort(steps, batch, precision, seed))


def conversing(
    start: str, data: str, template: str | None, rank: int, lr: float, effort: Effort
) -> Run:
    """The run of stage 2; `rank` 0: the language model itself learns."""

    @cache
    def model() -> Model:
        return load(start)

    @cache
    def made() -> Made:
        return going_on(model(), template, rank)

    def test() -> Questions | None:
        return easy_vqa(part="test") if data == "easy_vqa" else None

    learn = AdamW(lr, 0.0, BETAS)
    decoder = r"^net\.decoder\..*\.(down|up)$" if rank else r"^net\.decoder\."
    stage = Stage(
        talks=lambda: talks(data),
        template=None,
        longest=2048,
        learns=((r"^net\.bridge\.", learn), (decoder, learn)),
        finish=Talked(test, model),
        about={"stage": "instruct", "conversations": data, "start": named(start), "lora": rank},
    )
    return stage_of(made, stage, effort)


def stage_of(made: Callable[[], Made], stage: Stage, effort: Effort) -> Run:
    """The run of a stage. Every conversation is audited before anything is written."""

    def template() -> str | None:
        return stage.template or made().chat

    @cache
    def inputs() -> ConversationInputs:
        m = made()
        image, text = sizes(m.model)
        patches = (image.pixels // image.patch) ** 2
        longest = min(stage.longest, text.length)
        look = transform(padded_clip(image.pixels))
        return ConversationInputs(look, m.words, template_of(template()), patches, longest)

    @cache
    def source() -> Source:
        found = stage.talks()
        gate(found, inputs())
        order = Shuffled(len(found), effort.seed)
        return Source(found, order, inputs(), Collated(inputs()))

    def package() -> Package:
        m = made()
        spec = m.words.spec()  # type: ignore[attr-defined]
        manifest = {
            "model": m.model.spec(),
            "transform": inputs().look.spec,
            "tokenizer": spec,
            "chat": template(),
            "data": stage.about | {"template": m.chat},
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {str(spec["file"]): m.words.data()})

    def net() -> nn.Module:
        m = made()
        whole = m.model.build()
        own = next(whole.parameters()).data
        if type(own) is Tensor and not own.is_meta:  # a plan's have no numbers
            start_from(whole, m.state, m.names)
        return whole

    return Run(
        net=net,
        asks={"talk": Ask(NextToken(), source)},
        rules=(*stage.learns, (r".*", Freeze())),
        steps=effort.steps,
        batch=effort.batch,
        package=package,
        finish=stage.finish,
        warmup=max(1, round(0.03 * effort.steps)),
        clip=1.0,
        precision=effort.precision,
        seed=effort.seed,
        save_every=500,
    )


class Collated:
    """Conversations read, as a batch."""

    def __init__(self, inputs: ConversationInputs):
        self.inputs = inputs

    def __call__(self, items: list[Item]) -> Lesson:
        found: tuple[Ids, Bool[Tensor, " t"], Pictures] = self.inputs.batch(items)
        return Lesson(*found)


# --- what is trained --------------------------------------------------------------------------


def joined(lm: Model, tower: Model | None, bridge: Literal["mlp", "linear"]) -> Made:
    """A language model and a tower, with a new bridge between them.

    Raises:
        WeightsError: the one is no LLaMA with a tokenizer, or the other no CLIP with a vision
            transformer.
    """
    spec = lm.manifest["model"]
    of = declared(spec)
    if not built(of, llama) or lm.words is None:
        raise WeightsError(f"--lm: a LLaMA with a tokenizer is wanted, not {spec['function']}")
    state = {f"decoder.{name}": t for name, t in lm.net.state_dict().items()}
    image = SMALL_TOWER
    if tower is not None:
        image, seen = tower_of(tower)
        state |= seen
    args = dict(image=image, text=language(of), bridge=bridge)
    same = {"decoder.": "decoder.", "image.": "image."}
    return Made(Declaration(a_llava, args), state, same, lm.words, lm.manifest.get("chat"))


def tower_of(model: Model) -> tuple[Tower, dict[str, Tensor]]:
    """CLIP's image tower up to its last layer but one, under our names.

    WeightsError: the model is no CLIP with a vision transformer.
    """
    spec = model.manifest["model"]
    of = declared(spec)
    if not built(of, clip_vit):
        raise WeightsError(f"--tower: a CLIP with a ViT is wanted, not {spec['function']}")
    args = of.spec()["args"]
    i = of.args["image"]
    used = i.layers - 1
    tower = Tower(i.pixels, i.patch, i.width, used, i.heads, args["act"], args["eps"])
    kept = {}
    for name, tensor in model.net.state_dict().items():
        layer = name.removeprefix("image.stack.blocks.").split(".")[0]
        deep = layer.isdecimal() and int(layer) >= used
        if name.startswith(("image.embed.", "image.stack.")) and not deep:
            kept[name] = tensor
    return tower, kept


def going_on(model: Model, template: str | None, rank: int) -> Made:
    """A LLaVA to go on from, with additions where it is wanted.

    Raises:
        WeightsError: it is none, has no tokenizer, or its template is another one.
    """
    spec = model.manifest["model"]
    of = declared(spec)
    if not built(of, a_llava) or model.words is None:
        raise WeightsError(f"--start: a LLaVA with a tokenizer is wanted, not {spec['function']}")
    said = model.manifest.get("chat")
    if said == PLAIN or said is None:
        data = model.manifest.get("data")
        said = data.get("template") if isinstance(data, dict) else None
    if template is not None and said is not None and template != said:
        raise WeightsError(f"--template {template}: its language model was trained with {said}")
    state = model.net.state_dict()
    if rank:
        of = Declaration(widened, dict(of=of.spec(), rank=rank, alpha=float(ALPHA * rank)))
    return Made(of, state, {p: p for p in PARTS}, model.words, template or said)


PARTS = ("decoder.", "image.", "bridge.")


def sizes(model: Declaration) -> tuple[Tower, Any]:
    """Tower and language model of a LLaVA, with additions or without."""
    args = model.args
    if "of" in args:
        args = declared(args["of"]).args
    return args["image"], args["text"]


def named(path: str | None) -> str | None:
    """What a checkpoint's own folder or file is called."""
    return None if path is None else Path(path).resolve().name
