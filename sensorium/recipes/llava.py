"""LLaVA in two stages: the bridge on captions, then bridge and language model on conversations."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxtyping import Bool
from torch import Tensor, nn

import sensorium
from sensorium.data.chat import Message
from sensorium.data.conversations import MARK, PLAIN, Conversation, template_of
from sensorium.data.errors import DataError
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.tokenizers.words import Words
from sensorium.datasets.asked import Questions
from sensorium.datasets.easy_vqa import easy_vqa, easy_vqa_shapes
from sensorium.datasets.llava import Conversations, Entry, about, llava
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
from sensorium.recipes.llava_scores import Talked
from sensorium.train.rules import AdamW, Freeze, Rules
from sensorium.train.run import Ask, Finish, Package, Run
from sensorium.types import Ids
from sensorium.verbs.model import Model
from sensorium.verbs.open import load
from sensorium.weights.errors import WeightsError

BETAS = (0.9, 0.999)
ALPHA = 2  # of LoRA, over its rank: LLaVA 1.5 has 256 over 128
ROUNDS = 100  # questions of a picture that share its conversation


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
    lr: float
    precision: Literal["float32", "bf16"]
    seed: int
    slices: int


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
    lr: float = 1e-3,
    precision: Literal["float32", "bf16"] = "float32",
    seed: int = 0,
    slices: int = 1,
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
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
        slices: pieces that a batch is cut into, for less memory.
    """

    @cache
    def made() -> Made:
        return joined(load(lm), None if tower is None else load(tower), bridge)

    learn = AdamW(lr, 0.0, BETAS)
    see = Freeze() if tower is not None else learn
    stage = Stage(
        talks=lambda: captions(data),
        template=PLAIN,
        longest=2048,
        learns=((r"^net\.bridge\.", learn), (r"^net\.image\.", see)),
        finish=None,
        about={"stage": "align", "captions": data, "lm": named(lm), "tower": named(tower)},
    )
    return stage_of(made, stage, Effort(steps, batch, lr, precision, seed, slices))


def instruct(
    start: str,
    data: str = "easy_vqa",
    template: str | None = None,
    lora: int = 0,
    steps: int = 250,
    batch: int = 16,
    lr: float = 2e-4,
    precision: Literal["float32", "bf16"] = "float32",
    seed: int = 0,
    slices: int = 1,
) -> Run:
    """Stage 2 of LLaVA: bridge and language model learn conversations about pictures.

    Args:
        start: the checkpoint folder of stage 1, or of a LLaVA to go on from.
        data: easy_vqa, or a file in LLaVA's form whose pictures lie by it.
        template: the chat template, where the language model's files named none.
        lora: the rank of additions that learn in the language model's stead (LoRA); 0: it learns.
            `sensorium merge` works them into the weights.
        steps: optimiser steps.
        batch: conversations a step; all questions of a picture are one.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
        slices: pieces that a batch is cut into, for less memory.
    """

    @cache
    def model() -> Model:
        return load(start)

    @cache
    def made() -> Made:
        return going_on(model(), template, lora)

    def test() -> Questions | None:
        return easy_vqa(part="test") if data == "easy_vqa" else None

    learn = AdamW(lr, 0.0, BETAS)
    decoder = r"^net\.decoder\..*\.(down|up)$" if lora else r"^net\.decoder\."
    stage = Stage(
        talks=lambda: talks(data),
        template=None,
        longest=2048,
        learns=((r"^net\.bridge\.", learn), (decoder, learn)),
        finish=Talked(test, model),
        about={"stage": "instruct", "conversations": data, "start": named(start), "lora": lora},
    )
    return stage_of(made, stage, Effort(steps, batch, lr, precision, seed, slices))


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
        slices=effort.slices,
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


def gate(found: Conversations, inputs: ConversationInputs) -> None:
    """Audits every conversation, so that nothing is trained on what was not meant.

    DataError: counts those that cannot be trained on, and says of the first ones why.
    """
    wrong = []
    for one in found.entries:
        try:
            inputs.encode(Conversation(one.messages, (), one.id))
        except DataError as why:
            wrong.append(str(why))
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(found)} conversations cannot be trained on:"
            f" {'; '.join(wrong[:3])}. See them with: sensorium data inspect"
        )


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


# --- data -------------------------------------------------------------------------------------


def captions(data: str) -> Conversations:
    """What pictures show, in a sentence each; of a file the first answer of each conversation."""
    if data == "easy_vqa":
        shapes = easy_vqa_shapes(part="train")
        entries = []
        for file, things, name in zip(shapes.files, shapes.things, shapes.ids, strict=True):
            one = things[0]
            colour = f"{one.attribute} " if one.attribute is not None else ""
            said = f"a {colour}{one.label}"
            turns = (Message("user", MARK), Message("assistant", said))
            entries.append(Entry((file,), turns, name))
        return Conversations(shapes.root, entries)
    found = llava(data)
    shown = [one for one in found.entries if one.files]
    if not shown:
        raise DataError(f"{data}: no conversation shows a picture: there is nothing to align with")
    return Conversations(found.root, [one._replace(messages=first(one)) for one in shown])


def first(one: Entry) -> tuple[Message, ...]:
    """A conversation's first round."""
    turns = [m for m in one.messages if m.role != "system"]
    return turns[0], turns[1]


def talks(data: str) -> Conversations:
    """Conversations; of easy-VQA all questions of a picture in one."""
    if data == "easy_vqa":
        asked: Questions = easy_vqa(part="train")
        return about(asked, ROUNDS)
    return llava(data)
