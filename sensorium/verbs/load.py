"""From a checkpoint folder to a model that has proved itself."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sensorium.data.tokenizers import Tokenizer, tokenizer
from sensorium.data.tokenizers.language import LANGUAGE, language
from sensorium.media import transform
from sensorium.models.declaration import declared
from sensorium.models.scored import writes
from sensorium.nn.regions import RegionEmbed
from sensorium.types import Classifies, Reads
from sensorium.verbs.model import Model
from sensorium.verbs.prove import FAST, prove, refuse_drift
from sensorium.verbs.speech.probe import listens
from sensorium.weights import folder as folders
from sensorium.weights.errors import WeightsError

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "float64": torch.float64}
HALVES = (torch.float16, torch.bfloat16)
NEEDED = {"model": dict, "transform": (dict, type(None)), "tokenizer": (dict, type(None))}
UNBUILT = (  # what a net's own code raises on sizes that do not go together
    *(ValueError, TypeError, RuntimeError, ArithmeticError, AttributeError, LookupError),
    *(AssertionError, MemoryError),
)


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
    tensors: dict[str, torch.Tensor],
    manifest: dict[str, Any],
    folder: Path | None,
    table: bytes | None = None,
) -> Model:
    """A model from tensors and what their manifest says; every tensor must have its place.

    `table` is that of a language model's tokenizer, where no folder holds it yet.

    Raises:
        WeightsError: a tensor is missing, left over, of another shape or kind, or not finite; the
            manifest lacks a value, or has one that no model can be made of.
        OSError: a file that the tokenizer needs is missing.
    """
    where = "the manifest" if folder is None else str(folder / folders.MANIFEST)
    for key, kinds in NEEDED.items():
        if not isinstance(manifest.get(key), kinds) or key not in manifest:
            found = f"{key!r} is {manifest[key]!r:.60}" if key in manifest else f"no {key!r}"
            raise WeightsError(f"{where}: {found}: this describes no complete model")
    try:
        with torch.device("meta"):
            net = declared(manifest["model"]).build()
        if manifest["transform"] is None and looks(net):
            raise ValueError("'transform' is None, and the model reads pictures")
        look = manifest["transform"] and transform(manifest["transform"])
        said = manifest["tokenizer"]
        words = speech = None
        if said is not None and said.get("kind") in LANGUAGE:
            speech = language(said, folder if table is None else table)
        elif said is not None:
            words = tokenizer(said, folder)
        fitting(net, words, manifest)
    except UNBUILT as wrong:
        raise WeightsError(f"{where}: no model can be made of this: {wrong}") from wrong
    wanted = net.state_dict()
    shapes = {name: tuple(t.shape) for name, t in wanted.items()}
    folders.expect(tensors, shapes, "the weights" if folder is None else str(folder))
    whole = {name: of_kind(name, t, wanted[name].dtype, folder) for name, t in tensors.items()}
    net.load_state_dict(whole, assign=True)
    return Model(net, look, words, manifest, folder, speech)


def looks(net: nn.Module) -> bool:
    """Whether a net reads pixels; regions, for one, a detector has read already."""
    blind = writes(net) or listens(net) or isinstance(net, Reads)
    return not blind and not any(isinstance(part, RegionEmbed) for part in net.modules())


def fitting(net: nn.Module, words: Tokenizer | None, manifest: dict[str, Any]) -> None:
    """Raises ValueError where tokenizer or labels are not those of the net."""
    text = manifest["model"]["args"].get("text")
    if words is not None and isinstance(text, dict):
        for key, has in (("length", words.length), ("vocab", words.vocab)):
            if has > text.get(key, has):
                raise ValueError(f"the tokenizer's {key} is {has}, the net takes {text[key]}")
    labels = manifest.get("labels")
    if labels is None:
        return
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels must be a list of names, not {labels!r:.60}")
    classes = manifest["model"]["args"].get("classes")
    if isinstance(net, Classifies) and isinstance(classes, int) and classes != len(labels):
        raise ValueError(f"{len(labels)} labels for {classes} classes")


def of_kind(
    name: str, tensor: torch.Tensor, dtype: torch.dtype, folder: Path | None
) -> torch.Tensor:
    """A copy of a tensor in the net's type; from halves this is exact, anything else is refused."""
    if tensor.dtype != dtype and not (dtype == torch.float32 and tensor.dtype in HALVES):
        raise WeightsError(
            f"{folder or 'the weights'}: {name} is of {tensor.dtype}, and the model's of {dtype}. "
            "The file was changed, or belongs to another model."
        )
    return tensor.to(dtype, copy=True)


def cast(model: Model, precision: str, device: str) -> Model:
    """The model in another precision, on another device."""
    if precision not in DTYPES:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(DTYPES)}")
    try:
        model.net.to(device=device, dtype=DTYPES[precision])
    except (RuntimeError, AssertionError) as wrong:
        raise ValueError(f"device {device!r} cannot be used here: {wrong}") from wrong
    if precision == "bf16":
        model.prepare()
    return model
