"""ALBEF's weights as its authors and LAVIS publish them: to our model, and back.

A file holds the model, its momentum copy and the queues. "albef" reads the model, "albef-momentum"
the copy; the other half and the queues are dropped by name (`albef_rules.carried` has the queues).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sensorium.media.specs import albef as albef_spec
from sensorium.models.albef import PRETRAINING, TWO, albef
from sensorium.models.albef_rules import Depth, original_albef
from sensorium.models.bert import BertSize
from sensorium.models.bert_layouts import DROP, EPS, NO_WORDS, fixed, heads_of
from sensorium.models.declaration import Declaration
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    built,
    grid,
    layers,
    must,
    shape,
)
from sensorium.models.vit import Size
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

IMAGE_EPS = 1e-6
ANSWERS = {2: "nlvr", 3: "entail"}  # rows of the one head that files of tasks call cls_head
MODEL, COPY, LAVIS = "albef", "albef-momentum", "lavis-albef"
ENDS = {
    MODEL: "texts do not end in [SEP]: models.albef.tokenizer(vocab)",
    COPY: "texts do not end in [SEP]: models.albef.tokenizer(vocab)",
    LAVIS: "LAVIS puts [SEP] behind every text: models.albef.tokenizer(vocab, end=True)",
}
FILES = (("mlm", "itm"), ("itm",), ("vqa",), ("nlvr",), ("ta",), ("entail",))


def _understood(name: str, shapes: Shapes, said: Said) -> Understood:
    m = "_m" if name == COPY else ""
    masked = f"text_encoder{m}.cls.predictions.bias" in shapes
    bert = f"text_encoder{m}" + (".bert" if masked else "")
    layer = f"{bert}.encoder.layer.{{i}}"
    heads = _heads(shapes, m, masked)
    vocab, width = shape(shapes, f"{bert}.embeddings.word_embeddings.weight", 2)
    told = fixed(name, width, said)
    up = f"{layer}.intermediate.dense.weight"
    depth, two = layers(shapes, up), any(head in TWO for head in heads)
    look = f"{layer}.crossattention.self.query.weight"
    fusion = sum(look.replace("{i}", str(i)) in shapes for i in range(depth))
    own, fusion = depth - fusion, fusion // 2 if two else fusion
    text = BertSize(
        vocab,
        shape(shapes, f"{bert}.embeddings.position_embeddings.weight", 2)[0],
        shape(shapes, f"{bert}.embeddings.token_type_embeddings.weight", 2)[0],
        width,
        own + fusion,
        told.heads,
        shape(shapes, up.replace("{i}", "0"), 2)[0],
    )
    args: dict[str, Any] = dict(text=text, image=_image(shapes, f"visual_encoder{m}", said))
    key = f"vision_proj{m}.weight"
    args |= dict(embed=shape(shapes, key, 2)[0] if key in shapes else None)
    args |= dict(fusion=fusion, heads=heads)
    if "vqa" in heads:
        dense = f"text_decoder{m}.bert.encoder.layer.{{i}}.intermediate.dense.weight"
        args["decoder"] = layers(shapes, dense)
    spec = albef_spec(args["image"].pixels)
    return Understood(Declaration(albef, args), spec, notes=(NO_WORDS, ENDS[name], *_left(name)))


def _left(name: str) -> tuple[str, ...]:
    other = "the model" if name == COPY else f"the momentum copy ({COPY} reads it)"
    return (f"of the file, {other} and the queues of training are left out",)


def _heads(shapes: Shapes, m: str, masked: bool) -> tuple[str, ...]:
    heads = ["mlm"] if masked else []
    if not m:
        heads += [name for name in ("itm", "ta") if f"{name}_head.weight" in shapes]
    if f"text_decoder{m}.cls.predictions.bias" in shapes:
        heads.append("vqa")
    key = f"cls_head{m}.2.bias"
    if key in shapes:
        rows = shape(shapes, key, 1)[0]
        if rows not in ANSWERS:
            raise WeightsError(f"{key} has {rows} rows; known are {ANSWERS}")
        heads.append(ANSWERS[rows])
    return tuple(heads)


def _image(shapes: Shapes, start: str, said: Said) -> Size:
    conv = shape(shapes, f"{start}.patch_embed.proj.weight", 4)
    pos, up = f"{start}.pos_embed", f"{start}.blocks.{{i}}.mlp.fc1.weight"
    return Size(
        conv[3] * grid(shape(shapes, pos, 3)[1], pos),
        conv[3],
        conv[0],
        layers(shapes, up),
        heads_of(conv[0], said.heads),
        shape(shapes, up.replace("{i}", "0"), 2)[0],
    )


def _keymap(name: str, declaration: Declaration) -> KeyMap:
    must(built(declaration, albef), name, "it holds ALBEF only")
    args = declaration.args
    heads, fusion = tuple(args.get("heads", PRETRAINING)), args.get("fusion", 6)
    known = any(set(heads) <= set(one) for one in FILES)
    must(known, name, f"no file has the heads {heads} together")
    two = any(head in TWO for head in heads)
    depth = Depth(args["text"].layers - fusion, fusion, args.get("decoder", 6), two)
    image: Size = args["image"]
    pos = (image.pixels // image.patch) ** 2 + 1, image.width
    return original_albef(heads, depth, pos, args.get("embed", 256) is not None, name == COPY)


def _files(name: str, declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(built(declaration, albef), name, "it holds ALBEF only")
    args = declaration.args
    eps, drop = tuple(args.get("eps", (EPS, IMAGE_EPS))), args.get("drop", DROP)
    must(eps == (EPS, IMAGE_EPS), name, f"it means eps {EPS} and {IMAGE_EPS}, not {eps}")
    must(drop == DROP, name, f"it means dropout {DROP}, not {drop}")
    plain = manifest["transform"] == albef_spec(args["image"].pixels)
    must(plain, name, "its transform is not ALBEF's")
    return {}


def _maps(momentum: bool) -> tuple[KeyMap, ...]:
    """A map for each kind of file, of the published depths."""
    out = []
    for heads in FILES:
        two = any(head in TWO for head in heads)
        kept = tuple(head for head in heads if head not in ("itm", "ta")) if momentum else heads
        embed = heads in (("mlm", "itm"), ("itm",), ("ta",))
        out.append(original_albef(kept, Depth(6, 6, 6, two), (10, 64), embed, momentum))
    return tuple(out)


def _layout(name: str, about: str) -> Published:
    parts = partial(_understood, name), partial(_keymap, name), partial(_files, name)
    return Published(name, about, _maps(name == COPY), *parts)


LAYOUTS = (
    _layout(MODEL, "ALBEF's release, pre-trained or of a task (gelu, eps 1e-12 and 1e-6)"),
    _layout(COPY, "the momentum copy in the same files"),
    _layout(LAVIS, "the same names as LAVIS trains them: texts end in [SEP]"),
)
