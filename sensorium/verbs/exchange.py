"""Bringing published weights in, taking ours out, and moving to another resolution, each proved."""

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.data.tokenizers.words import FILE
from sensorium.models.clip import clip_vit
from sensorium.models.declaration import Declaration, declared
from sensorium.models.detector_regions import detector, detects, fixed
from sensorium.models.fused import understands
from sensorium.models.layouts import layout as layout_of
from sensorium.models.published import Said, Told, built
from sensorium.models.scored import IDS, scored, writes
from sensorium.models.vit import vit
from sensorium.models.word_export import alike
from sensorium.types import Classifies, Embeds
from sensorium.verbs.load import assemble, load_folder
from sensorium.verbs.model import Model
from sensorium.verbs.open import Parts, published
from sensorium.verbs.prove import probes_of
from sensorium.verbs.reading import compared
from sensorium.verbs.shown import drawn, reads
from sensorium.verbs.speech.probe import heard, listens, sounds
from sensorium.weights import folder as folders
from sensorium.weights.atomic import replacing
from sensorium.weights.errors import WeightsError
from sensorium.weights.positions import Method, resize_grid
from sensorium.weights.writing import sha256, write

LIMIT = 1e-5  # max |difference| / max |reference| that an export may have, in float32
TEXTS = ("a photo of a cat", "Crème brûlée &amp; 2 spoons, 5€!")
WORDS = [[0, 1, 2], [3]]  # ids to compare towers by, where a model has no tokenizer
MANIFEST_OF_SAVE = ("format", "files", "tied")


def import_model(
    source: str | os.PathLike[str],
    layout: str,
    folder: str | os.PathLike[str],
    *,
    act: str | None = None,
    eps: float | None = None,
    heads: int | None = None,
    allow_pickle: bool = False,
    parts: Parts | None = None,
) -> dict[str, Any]:
    """Makes a checkpoint folder of a published file, with probes of its first answers.

    The arguments are those of `sensorium.load`; `parts` are the files of what the file itself
    leaves out: {"lm": ..., "tower": ...} of OpenFlamingo's.

    Returns:
        What was done, as JSON values: layout, file and its sha256, tensors, names dropped, notes of
        every liberty taken, and where the folder is.

    Raises:
        WeightsError: as `sensorium.load`; or something is at `folder` that is no checkpoint.
        OSError: no space, no permission; nothing was written then.
    """
    found = published(source, layout, Said(act, eps, heads), allow_pickle, parts)
    model = assemble(found.tensors, found.manifest, None, found.table)
    at = save_model(model, folder)
    load_folder(at)  # which runs the probes
    return {**found.report, "folder": str(at), "model": found.manifest["model"]}


def export_model(
    folder: str | os.PathLike[str], layout: str, path: str | os.PathLike[str]
) -> dict[str, Any]:
    """Writes a checkpoint as others publish theirs, opens it again, and compares.

    Args:
        folder: a checkpoint folder.
        layout: a name of `sensorium.models.layouts`.
        path: a folder to be made, of the weights and the configuration files the layout has.

    Returns:
        The files with their sha256, and for each verb the largest difference over the largest
        output between the checkpoint and what was written; "kept" says whether transform,
        tokenizer, labels and chat template are told too, "notes" why a tokenizer is not.

    Raises:
        WeightsError: the layout cannot hold the model, `path` holds something, or what was written
            does not give the same outputs (nothing is left at `path` then).
    """
    model, chosen, to = load_folder(folder), layout_of(layout), Path(path)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise WeightsError(f"{to}: is there already and holds something; give a new folder")
    declaration = declared(model.manifest["model"])
    tensors = chosen.keymap(declaration).save(model.net.state_dict(), f"{folder} as {layout}")
    told = Told({})
    if model.words is not None and chosen.words is not None:
        told = chosen.words(model.words, model.manifest.get("chat"))
    beside = chosen.files(declaration, model.manifest) | told.files
    with replacing(to) as new:
        weights = new / chosen.weights
        if weights.suffix == ".npz":
            arrays: dict[str, Any] = {name: t.numpy() for name, t in tensors.items()}
            np.savez(weights, **arrays)
        else:
            write(weights, tensors, {"format": "pt"})
        for name, data in beside.items():
            (new / name).write_bytes(data)
        again = published(weights, layout, Said())
        back = assemble(again.tensors, again.manifest, None, again.table)
        differences = compare(model, back)
        bad = {verb: value for verb, value in differences.items() if not value <= LIMIT}
        if bad:
            raise WeightsError(f"{to}: what was written differs in {bad} (at most {LIMIT:.0e})")
        sums = {one.name: sha256(one) for one in sorted(new.iterdir())}
    keys = ("transform", "tokenizer", "labels", *(["chat"] if "chat" in model.manifest else []))
    kept = {key: again.manifest.get(key) == model.manifest.get(key) for key in keys}
    if model.words is not None and back.words is not None:
        kept["tokenizer"] = alike(model.words, back.words)
    return {
        "layout": layout,
        "folder": str(to),
        "files": sums,
        "tensors": len(tensors),
        "differences": differences,
        "kept": kept,
        "notes": list(told.notes),
    }


def at_resolution(model: Model, pixels: int, method: Method = "bilinear-corners") -> Model:
    """The same model for pictures of another size, its position embeddings interpolated.

    By default as Google fine-tunes ViT (Dosovitskiy et al. 2020, section 3.2; vit_jax's
    `checkpoint.py`). It is a starting point for fine-tuning, and its manifest says so.

    Args:
        pixels: the new side, a multiple of the patch.

    Raises:
        WeightsError: the model has no position embeddings of patches, or `pixels` does not fit.
    """
    declaration = declared(model.manifest["model"])
    name, key = _positions(declaration)
    size = declaration.args[name]
    if pixels < size.patch or pixels % size.patch:
        raise WeightsError(f"{pixels} pixels cannot be cut into patches of {size.patch}")
    old, new = size.pixels // size.patch, pixels // size.patch
    tensors = {k: t.detach().clone() for k, t in model.net.state_dict().items()}
    tensors[key] = resize_grid(tensors[key], (old, old), (new, new), method)
    spec = dict(model.transform.spec)
    if "resize" in spec:
        spec["resize"] = max(pixels, spec["resize"] * pixels // spec["size"])
    spec["size"] = pixels
    args = declaration.args | {name: size._replace(pixels=pixels)}
    note = f"position embeddings of {size.pixels} px carried to {pixels} px by {method}"
    manifest = {k: v for k, v in model.manifest.items() if k not in MANIFEST_OF_SAVE}
    manifest |= {"model": declaration._replace(args=args).spec(), "transform": spec}
    manifest["changed"] = [*manifest.get("changed", []), note]
    return assemble(tensors, manifest, model.folder)


def save_model(
    model: Model,
    folder: str | os.PathLike[str],
    images: Sequence[bytes] | None = None,
    texts: Sequence[str] = TEXTS,
) -> Path:
    """Writes a model as a checkpoint folder, with probes of its own answers.

    Args:
        images: pictures to probe with, undecoded; three drawn ones when None.

    Raises:
        WeightsError, OSError: as `sensorium.weights.folder.save`.
    """
    manifest = {k: v for k, v in model.manifest.items() if k not in MANIFEST_OF_SAVE}
    asked = pictures() if images is None else images
    spoken = texts if (model.tokenizer or model.words) is not None else ()
    probes = probes_of(model, asked, spoken, "own first run")
    files = carried(model)
    if model.words is not None:
        files[FILE] = model.words.data()
    return folders.save(folder, model.net.state_dict(), manifest, files, probes)


def carried(model: Model) -> dict[str, bytes]:
    """The files of a model's folder that its manifest's values refer to (a tokenizer's table)."""
    if model.folder is None:
        return {}
    own = (folders.PROBES, folders.CARD, folders.INDEX)
    names = [name for name in model.manifest.get("files", {}) if name not in own]
    wanted = [n for n in names if not n.startswith(("model", "state/"))]
    return {name: (model.folder / name).read_bytes() for name in wanted}


def compare(model: Model, other: Model) -> dict[str, float]:
    """The largest difference over the largest output of two models' nets, for each verb.

    Both are given the same pixels and the same ids: the first model's.
    """
    if writes(model.net) and writes(other.net):
        return {"score": _difference(scored(model.net, IDS), scored(other.net, IDS))}
    if reads(model.net) and reads(other.net):
        return {"show": _difference(drawn(model.net), drawn(other.net))}
    if listens(model.net) and listens(other.net):
        mine, other_says = (heard(one.net, sounds()[0]) for one in (model, other))
        return {name: _difference(mine[name], other_says[name]) for name in mine}
    if understands(model.net) and understands(other.net):
        mine, back = compared(model, other)
        return {name: _difference(value, back[name]) for name, value in mine.items()}
    if detects(model.net) and detects(other.net):
        seen = model.transform(pictures()[0])
        theirs = fixed(detector(other.net), seen)
        said = fixed(detector(model.net), seen).items()
        return {f"detect {name}": _difference(value, theirs[name]) for name, value in said}
    pixels = torch.stack([model.transform(image) for image in pictures()])
    tokens = model.tokenizer
    ids = lay(tokens.encode_batch(list(TEXTS)) if tokens is not None else WORDS)
    with torch.inference_mode():
        if isinstance(model.net, Embeds) and isinstance(other.net, Embeds):
            pairs = {
                "embed_image": (model.net.embed_image(pixels), other.net.embed_image(pixels)),
                "embed_text": (model.net.embed_text(ids), other.net.embed_text(ids)),
            }
            scales = (model.net.get_parameter("log_scale"), other.net.get_parameter("log_scale"))
            pairs["log_scale"] = scales
        elif isinstance(model.net, Classifies) and isinstance(other.net, Classifies):
            pairs = {"classify": (model.net.classify(pixels), other.net.classify(pixels))}
        else:
            raise WeightsError("the two models answer different questions")
    return {verb: _difference(*pair) for verb, pair in pairs.items()}


def pictures() -> list[bytes]:
    """Three drawn pictures as files: a wide JPEG, a tall PNG, a grey PNG."""
    y, x = np.mgrid[0:96, 0:131].astype(np.float64)
    waves = [np.sin(x / a + y / b) * 127 + 128 for a, b in ((5, 11), (17, 7), (3, 29))]
    colour = np.stack(waves, axis=-1).astype(np.uint8)
    made = (
        (Image.fromarray(colour), "JPEG"),
        (Image.fromarray(np.ascontiguousarray(colour[:, 20:70])), "PNG"),
        (Image.fromarray(np.ascontiguousarray(colour[..., 0])), "PNG"),
    )
    out = []
    for image, kind in made:
        buffer = io.BytesIO()
        image.save(buffer, kind)
        out.append(buffer.getvalue())
    return out


def as_text(report: Mapping[str, Any]) -> str:
    """A report of an import or an export for people, a line a value."""
    lines = []
    for key, value in report.items():
        if isinstance(value, list):
            lines += [f"{key}: {item}" for item in value] or [f"{key}: none"]
        elif isinstance(value, Mapping):
            lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines)


def _positions(declaration: Declaration) -> tuple[str, str]:
    """The argument that holds the image side, and the name of the position embeddings."""
    if built(declaration, clip_vit):
        return "image", "image.embed.pos"
    if built(declaration, vit):
        return "size", "tower.embed.pos"
    raise WeightsError(
        f"a model of {declaration.function.__name__} cannot be carried to another resolution: only"
        " clip_vit and vit have position embeddings of patches"
    )


def _difference(reference: Tensor, got: Tensor) -> float:
    if reference.shape != got.shape:
        return float("inf")
    top = reference.double().abs().max().item()
    return (reference.double() - got.double()).abs().max().item() / max(top, 1e-30)
