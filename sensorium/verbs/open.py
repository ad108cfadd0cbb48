"""`sensorium.load`: a checkpoint folder of ours, or a file of weights as somebody published it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sensorium.models.layouts import LAYOUTS, candidates, layout, listing
from sensorium.models.published import Part, Published, Said
from sensorium.verbs.load import assemble, cast, load_folder
from sensorium.verbs.model import Model
from sensorium.verbs.speech_files import speech_file
from sensorium.version import VERSION
from sensorium.weights import readers
from sensorium.weights.errors import WeightsError, some
from sensorium.weights.folder import MANIFEST
from sensorium.weights.gguf import is_gguf, packings, read_gguf
from sensorium.weights.header import parse_json
from sensorium.weights.writing import sha256

BESIDE = ("config.json", "open_clip_config.json", "preprocessor_config.json")
BESIDE_SPEECH = ("generation_config.json",)
BESIDE_WORDS = ("tokenizer.json", "tokenizer_config.json", "params.json")
WORDS_MAX = 64 << 20
FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "model.safetensors.index.json",
    "model.npz",
    "model.bin",
)
PICKLED = (
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin.index.json",
)  # where none of FILES is there
JSON_MAX = 4 << 20
PREFIXES = ("params/", "opt/target/")  # what flax's training states put before every weight


Parts = Mapping[str, str | os.PathLike[str]]


class Imported(NamedTuple):
    """A published file as a model of ours: tensors under our names, a manifest, and a report."""

    tensors: dict[str, Tensor]
    manifest: dict[str, Any]
    report: dict[str, Any]
    table: bytes | None = None


def load(
    source: str | os.PathLike[str],
    layout: str | None = None,
    *,
    act: str | None = None,
    eps: float | None = None,
    heads: int | None = None,
    allow_pickle: bool = False,
    precision: str = "float32",
    device: str = "cpu",
) -> Model:
    """A model, from a checkpoint folder or from a published file of weights.

    Args:
        source: the folder; or the file (safetensors, .npz, PyTorch's), or the folder it lies in.
        layout: how a published file names its tensors, as `sensorium.models.layouts` lists them;
            a checkpoint folder needs none.
        act: the activation, where the layout does not fix it and no configuration lies beside.
        eps: that of the norms, likewise.
        heads: of the image tower, likewise.
        allow_pickle: read PyTorch's pickled files, without running them.
        precision: "float32", "bf16" or "float64".

    Raises:
        WeightsError: damaged, incomplete, not of this layout, or something must be said first; the
            text lists the choices.
        OSError: it cannot be opened.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise WeightsError(f"a model is loaded from a path, not from a {type(source).__name__}")
    at = Path(source)
    foreign = any((at / name).is_file() for name in (*FILES, *PICKLED))
    if (at / MANIFEST).is_file() or (at.is_dir() and layout is None and not foreign):
        if (layout, act, eps, heads) != (None, None, None, None):
            raise WeightsError(f"{source} is a checkpoint folder, which says itself what it is")
        return load_folder(source, precision, device)
    found = published(source, layout, Said(act, eps, heads), allow_pickle)
    made = assemble(found.tensors, found.manifest, None, found.table)
    return cast(made, precision, device)


def published(
    source: str | os.PathLike[str],
    name: str | None,
    said: Said,
    allow_pickle: bool = False,
    parts: Parts | None = None,
) -> Imported:
    """Reads a published file and carries it over to our names.

    `parts` are the files of what the file itself leaves out, by the names its layout has for them.

    Raises:
        WeightsError: as `load` does.
    """
    at = weights_file(Path(source))
    chosen = layout(name) if name is not None else None
    theirs, info, header = contents(at, allow_pickle)
    theirs, notes = unprefixed(theirs)
    own = header is not None and "layout" in header
    if chosen is None and header is not None:  # such a file says itself what it is
        chosen = layout(header["layout"] if own else f"gguf-{header.get('general.architecture')}")
    if chosen is None:
        raise WeightsError(f"{at}: {unsaid(theirs)}")
    joined: dict[str, Any] = {}
    if parts:
        whole, joined = whole_of(chosen, Part(str(at), theirs), parts, allow_pickle)
        theirs, said = dict(whole.tensors), said._replace(beside=whole.beside)
    said = said._replace(beside=beside(at) if not said.beside else said.beside)
    if header is not None:
        more = {**said.beside, **header["beside"]} if own else {"gguf": header}
        said = said._replace(beside=more)
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.items()}
    try:
        understood = chosen.understand(shapes, said)
    except WeightsError as wrong:
        raise WeightsError(f"{at}: {wrong}{misfit(chosen, theirs)}") from wrong
    with torch.device("meta"):
        net = understood.declaration.build()
    expected = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
    raised, more = upcast(theirs)
    ours = chosen.keymap(understood.declaration).load(raised, expected, f"{at} as {chosen.name}")
    notes = (*info.notes, *notes, *more, *understood.notes)
    report = {
        "layout": chosen.name,
        "file": at.name,
        "format": info.format,
        "sha256": sha256(at),
        "tensors": {"in the file": len(theirs), "in the model": len(ours)},
        "parameters": sum(p.numel() for p in net.parameters()),
        "dropped": sorted(dropped(chosen, theirs)),
        "notes": list(notes),
        **joined,
    }
    manifest = {
        "name": at.stem,
        "model": understood.declaration.spec(),
        "transform": understood.transform,
        "tokenizer": understood.tokenizer,
        **({"labels": list(understood.labels)} if understood.labels is not None else {}),
        **({"chat": understood.chat} if understood.chat is not None else {}),
        "data": "not known: imported",
        "licence": "its publisher's",
        "imported": report,
        "library": VERSION,
    }
    return Imported(ours, manifest, report, understood.table)


def whole_of(
    chosen: Published, given: Part, parts: Parts, allow_pickle: bool
) -> tuple[Part, dict[str, Any]]:
    """A file that holds a part of a model, with the other parts; and what a report says of them.

    Raises:
        WeightsError: the layout's files are whole, a part is missing, or they do not fit.
    """
    wanted = ", ".join(f"--{name}" for name in chosen.parts)
    if chosen.join is None:
        said = ", ".join(f"--{name}" for name in parts)
        raise WeightsError(f"{given.file}: files of {chosen.name} are whole: leave out {said}")
    if set(parts) != set(chosen.parts):
        lacks = ", ".join(f"--{name}" for name in chosen.parts if name not in parts)
        raise WeightsError(f"{given.file}: {chosen.name} is joined of {wanted}: {lacks} is missing")
    read: dict[str, Part] = {}
    for name, source in parts.items():
        if (Path(source) / MANIFEST).is_file():
            raise WeightsError(
                f"--{name} {source}: is a checkpoint folder; give its published file"
            )
        at = weights_file(Path(source))
        read[name] = Part(str(at), contents(at, allow_pickle)[0], beside(at))
    sums = {n: {"file": Path(p.file).name, "sha256": sha256(Path(p.file))} for n, p in read.items()}
    return chosen.join(given, read), {"parts": sums}


def contents(
    at: Path, allow_pickle: bool
) -> tuple[dict[str, Tensor], readers.Info, dict[str, Any] | None]:
    """The tensors of a file, how it was read, and what a GGUF file says of itself."""
    if (found := speech_file(at)) is not None:
        return found
    if not is_gguf(at):
        return *readers.read(at, allow_pickle=allow_pickle), None
    tensors, header = read_gguf(at)
    kinds = ", ".join(f"{n} {name}" for name, n in packings(header).items())
    info = readers.Info("gguf", {}, (f"unpacked to float32: {kinds}",), {})
    values = dict(header.values)
    if "rope_freqs.weight" in tensors:
        values["rope_freqs"] = tensors["rope_freqs.weight"]
    return tensors, info, values


def weights_file(source: Path) -> Path:
    """The file of weights: `source` itself, or the only one of the usual names in that folder.

    Raises:
        WeightsError: the folder holds none, or several.
        OSError: there is nothing there.
    """
    if not source.exists():
        raise FileNotFoundError(2, "there is no such file or folder", str(source))
    if not source.is_dir():
        return source
    found = [name for name in FILES if (source / name).is_file()]
    found = found or [name for name in PICKLED if (source / name).is_file()]
    if len(found) != 1:
        held = f"several: {', '.join(found)}" if found else f"none of {', '.join(FILES)}"
        raise WeightsError(f"{source}: a folder without {MANIFEST}, and with {held}; give the file")
    return source / found[0]


def beside(path: Path) -> dict[str, Mapping[str, Any]]:
    """The configuration files in the same folder, by name."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in (*BESIDE, *BESIDE_WORDS, *BESIDE_SPEECH):
        at = path.parent / name
        if at.is_file():
            most = WORDS_MAX if name in BESIDE_WORDS else JSON_MAX
            if at.stat().st_size > most:
                raise WeightsError(f"{at}: larger than {most} bytes")
            found[name] = parse_json(at.read_bytes(), str(at))
    return found


def unsaid(tensors: Mapping[str, Tensor]) -> str:
    """What to tell who did not say the layout."""
    fit = candidates(tensors)
    if fit:
        named = listing(fit)
        return f'its layout must be said (layout="...", --layout ...); its names fit:\n{named}'
    return (
        f"its layout must be said, but its names fit none that is known (first: {some(tensors)});"
        f" known are:\n{listing(LAYOUTS.values())}"
    )


def misfit(chosen: Published, tensors: Mapping[str, Tensor]) -> str:
    """The layouts that would fit, when the one said does not."""
    if chosen.fits(list(tensors)):
        return ""
    fit = candidates(tensors)
    return f"\nits names do not fit {chosen.name}" + (f", but:\n{listing(fit)}" if fit else "")


def dropped(chosen: Published, tensors: Mapping[str, Tensor]) -> set[str]:
    """The names that the layout leaves out of the model."""
    return {drop.pattern for one in chosen.maps for drop in one.drops} & set(tensors)


def unprefixed(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors without the prefix that all of them share, and a note if there was one."""
    for start in PREFIXES:
        if all(name.startswith(start) for name in tensors):
            note = f"removed the prefix {start!r} from every name"
            return {name.removeprefix(start): t for name, t in tensors.items()}, (note,)
    return dict(tensors), ()


def upcast(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Floating tensors as float32, and a note of those that were not."""
    other = [t for t in tensors.values() if t.is_floating_point() and t.dtype != torch.float32]
    kinds = sorted({str(t.dtype).removeprefix("torch.") for t in other})
    notes = (f"{len(other)} tensors of {', '.join(kinds)} as float32",) if other else ()
    made = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return made, notes
