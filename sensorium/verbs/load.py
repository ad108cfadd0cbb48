"""From a checkpoint folder to a model that has proved itself."""

import os
from pathlib import Path
from typing import Any

import torch

from sensorium.data.tokenizers import tokenizer
from sensorium.media import transform
from sensorium.models.declaration import declared
from sensorium.verbs.model import Model
from sensorium.verbs.prove import FAST, prove, refuse_drift
from sensorium.weights import folder as folders

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "float64": torch.float64}


def load_folder(
    folder: str | os.PathLike[str], precision: str = "float32", device: str = "cpu"
) -> Model:
    """Opens a checkpoint folder, checks every tensor and runs its first probes (about a second).

    Raises:
        WeightsError: damaged, incomplete, of another version, or it no longer gives the outputs it
            was saved with.
    """
    saved = folders.load(folder)
    model = assemble(saved.tensors, saved.manifest, saved.folder)
    refuse_drift(prove(model, saved.probes()[:FAST]), saved.folder)
    return cast(model, precision, device)


def assemble(
    tensors: dict[str, torch.Tensor], manifest: dict[str, Any], folder: Path | None
) -> Model:
    """A model from tensors and what their manifest says; every tensor must have its place.

    Raises:
        WeightsError: a tensor is missing, left over, of another shape, or not finite.
        ValueError: the manifest lacks a value or names something unknown.
    """
    for key in ("model", "transform", "tokenizer"):
        if key not in manifest:
            raise ValueError(f"{folder}: the manifest has no {key!r}: this is no complete model")
    with torch.device("meta"):
        net = declared(manifest["model"]).build()
    shapes = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    folders.expect(tensors, shapes)
    net.load_state_dict({name: t.clone() for name, t in tensors.items()}, assign=True)
    words = manifest["tokenizer"] and tokenizer(manifest["tokenizer"], folder)
    return Model(net, transform(manifest["transform"]), words, manifest, folder)


def cast(model: Model, precision: str, device: str) -> Model:
    """The model in another precision, on another device."""
    if precision not in DTYPES:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(DTYPES)}")
    model.net.to(device=device, dtype=DTYPES[precision])
    return model
