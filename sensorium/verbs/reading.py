"""Probes of models that read words, alone or beside pictures: texts, and what is seen, raw."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.models.fused import (
    Shown,
    Sight,
    drawn,
    fixed_texts,
    said,
    shown,
    sight,
)
from sensorium.verbs.model import Model
from sensorium.weights.errors import WeightsError
from sensorium.weights.probes import TOLERANCE, Probe

PICTURE = ("features", "boxes", "pixels")  # what a probe keeps where no file is decoded
HALVES = TOLERANCE | {"bfloat16": 5e-2}  # a net of few layers and its narrow heads average little


def probes_of_reading(
    model: Model, images: Sequence[bytes], texts: Sequence[str], source: str
) -> list[Probe]:
    """Probes without values: a text each, with a picture where the model sees any.

    A model without a tokenizer is given ids; one that sees a detector's regions, or has no
    transform, is given drawn ones as tensors.
    """
    plain, seen = fixed_texts(model.net), sight(model.net)
    spoken = list(texts) if model.tokenizer is not None else []
    out = []
    for number in range(max(len(spoken), 2)):
        text: dict[str, str | bytes | Tensor]
        if spoken:
            text = {"text": spoken[number % len(spoken)]}
        else:
            text = {"ids": " ".join(map(str, plain[number % len(plain)]))}
        if seen is None:
            out.append(Probe("read", text, {}, source, HALVES))
        elif images and decodes(model, seen):
            image = {"image": images[number % len(images)]}
            out.append(Probe("fuse", text | image, {}, source, HALVES))
        else:
            out.append(Probe("fuse", text | drawn(seen, number), {}, source, HALVES))
    return out


def answer_of_reading(model: Model, probe: Probe) -> dict[str, Tensor]:
    """The ids, the decoded picture, and all that the net says of them.

    Raises:
        WeightsError: the probe has a text and the model no tokenizer, or no picture is given to one
            that sees.
    """
    if "ids" in probe.inputs:
        ids = [int(one) for one in str(probe.inputs["ids"]).split()]
    elif model.tokenizer is None:
        raise WeightsError("a probe reads a text, but the model has no tokenizer")
    else:
        ids = model.tokenizer.encode(str(probe.inputs["text"]))
    out, pictures, seen = {"ids": torch.tensor(ids)}, [], sight(model.net)
    if seen is not None:
        pictures = [picture(model, probe)]
        if "image" in probe.inputs and isinstance(pictures[0], Tensor):
            out["pixels"] = pictures[0]
    return out | said(model.net, [ids], pictures)


def picture(model: Model, probe: Probe) -> Shown:
    """What a probe shows."""
    image = probe.inputs.get("image")
    if isinstance(image, bytes):
        return model.transform(image)
    kept = {k: x for k in PICTURE if isinstance(x := probe.inputs.get(k), Tensor)}
    if not kept.keys() & {"features", "pixels"} or ("features" in kept) != ("boxes" in kept):
        raise WeightsError(f"probe {probe.verb} shows no picture, and this model sees one")
    return shown(kept)


def compared(model: Model, other: Model) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What two models say of the same texts and drawn pictures."""
    texts, seen = fixed_texts(model.net), sight(model.net)
    numbers = range(len(texts)) if seen is not None else ()
    pictures = [shown(drawn(seen, number)) for number in numbers if seen is not None]
    return said(model.net, texts, pictures), said(other.net, texts, pictures)


def decodes(model: Model, seen: Sight) -> bool:
    """Whether a model's pictures come from files alone, without a detector."""
    return seen.kind != "regions" and model.manifest.get("transform") is not None
