"""Probes: raw inputs kept with a checkpoint, and the numbers they must give.

A probe starts from undecoded bytes (a JPEG, UTF-8 text), so that decoding, resizing and tokenizing
are proved too (or from tensors, where a model reads what a detector saw). It holds tensors from
along the way, in the order they arise, so that the first that drifts says where. Running the model
is the caller's: `verify` is given a function.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sensorium.weights.errors import WeightsError, some
from sensorium.weights.header import parse_json, read_safetensors
from sensorium.weights.writing import Written
from sensorium.weights.writing import write as write_tensors

VERSION = "1"
KEY = "sensorium.probes"
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 2e-2, "float16": 5e-3}

Tensors = Mapping[str, Tensor]


class Probe(NamedTuple):
    """One question to a model, and what it must say.

    Attributes:
        verb: what is asked of the model ("embed_image").
        inputs: media as undecoded bytes, texts as str, regions as tensors, by name.
        values: intermediate tensors and outputs, by name, in the order they arise.
        source: who gave the values: "original code" or "own first run".
        tolerance: by dtype name, the largest allowed drift (see `compare`).
    """

    verb: str
    inputs: Mapping[str, bytes | str | Tensor]
    values: Tensors
    source: str
    tolerance: Mapping[str, float] = TOLERANCE


class Drift(NamedTuple):
    """How far one value is from its reference: max |difference| / max |reference|."""

    name: str
    drift: float
    tolerance: float
    ok: bool


def compare(reference: Tensors, got: Tensors, tolerance: float) -> list[Drift]:
    """The drift of every reference value, in the reference's order.

    Floating values may differ by `tolerance`; integers and booleans not at all. A NaN or an
    infinity that the reference does not have is an infinite drift. Extra values in `got` are
    not looked at.

    Raises:
        WeightsError: a value is missing from `got` or has another shape.
    """
    absent = [name for name in reference if name not in got]
    if absent:
        raise WeightsError(f"values not given back: {some(absent)}; given: {some(got)}")
    out: list[Drift] = []
    for name, want in reference.items():
        have = got[name]
        if have.shape != want.shape:
            raise WeightsError(
                f"{name} has shape {tuple(have.shape)}, the reference {tuple(want.shape)}"
            )
        exact = not want.dtype.is_floating_point
        limit = 0.0 if exact else tolerance
        amount = _integers(want, have) if exact else _drift(want, have)
        out.append(Drift(name, amount, limit, amount <= limit))
    return out


def verify(
    probes: Sequence[Probe], run: Callable[[Probe], Tensors], dtype: str = "float32"
) -> list[Drift]:
    """Asks the model every probe through `run` and compares; names are `VERB: VALUE`.

    Raises:
        WeightsError: a probe has no tolerance for `dtype`, or `run` gives back other values.
    """
    out: list[Drift] = []
    for probe in probes:
        if dtype not in probe.tolerance:
            known = ", ".join(probe.tolerance)
            raise WeightsError(f"probe {probe.verb} has no tolerance for {dtype}; it has: {known}")
        try:
            drifts = compare(probe.values, run(probe), probe.tolerance[dtype])
        except WeightsError as wrong:
            raise WeightsError(f"probe {probe.verb}: {wrong}") from wrong
        out += [drift._replace(name=f"{probe.verb}: {drift.name}") for drift in drifts]
    return out


def write(path: Path, probes: Sequence[Probe]) -> Written:
    """Writes probes as one safetensors file: texts and media as bytes, the rest as JSON metadata.

    Raises:
        WeightsError: a probe without a value.
    """
    tensors: dict[str, Tensor] = {}
    entries: list[dict[str, Any]] = []
    for number, probe in enumerate(probes):
        if not probe.values:
            raise WeightsError(f"probe {number} ({probe.verb}) has no values, so it proves nothing")
        for name, data in probe.inputs.items():
            tensors[f"{number}/input/{name}"] = data if isinstance(data, Tensor) else _bytes(data)
        for name, value in probe.values.items():
            tensors[f"{number}/value/{name}"] = value
        kinds = {name: type(data).__name__ for name, data in probe.inputs.items()}
        entries.append(
            {
                "verb": probe.verb,
                "source": probe.source,
                "tolerance": dict(probe.tolerance),
                "inputs": kinds,
                "values": list(probe.values),
            }
        )
    about = {"version": VERSION, "probes": entries}
    return write_tensors(path, tensors, {KEY: json.dumps(about, allow_nan=False)})


def read(path: Path) -> list[Probe]:
    """The probes of a file.

    Raises:
        WeightsError: the file is not sound, of another version, or its metadata do not fit.
    """
    tensors, metadata = read_safetensors(path)
    if KEY not in metadata:
        raise WeightsError(f"{path}: holds no probes (its metadata has no {KEY!r})")
    about = parse_json(metadata[KEY].encode(), f"{path}: {KEY}")
    if about.get("version") != VERSION:
        version = about.get("version")
        raise WeightsError(f"{path}: probes of version {version!r}; this library reads {VERSION!r}")
    try:
        return [_probe(number, entry, tensors) for number, entry in enumerate(about["probes"])]
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as wrong:
        raise WeightsError(f"{path}: probe metadata and tensors do not fit ({wrong!r})") from wrong


def _bytes(data: bytes | str) -> Tensor:
    raw = bytearray(data.encode() if isinstance(data, str) else data)
    return torch.frombuffer(raw, dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)


def _probe(number: int, entry: Mapping[str, Any], tensors: Tensors) -> Probe:
    inputs: dict[str, bytes | str | Tensor] = {}
    for name, kind in entry["inputs"].items():
        tensor = tensors[f"{number}/input/{name}"]
        if kind == "Tensor":
            inputs[name] = tensor
            continue
        data = tensor.numpy().tobytes()
        inputs[name] = data.decode("utf-8") if kind == "str" else data
    values = {name: tensors[f"{number}/value/{name}"] for name in entry["values"]}
    tolerance = {str(dtype): float(limit) for dtype, limit in entry["tolerance"].items()}
    return Probe(str(entry["verb"]), inputs, values, str(entry["source"]), tolerance)


def _drift(want: Tensor, have: Tensor) -> float:
    if want.numel() == 0:
        return 0.0
    a, b = want.detach().cpu().double(), have.detach().cpu().double()
    odd = ~a.isfinite()
    if not torch.equal(odd, ~b.isfinite()) or not torch.equal(
        a[odd].nan_to_num(), b[odd].nan_to_num()
    ):
        return math.inf
    a, b = a[~odd], b[~odd]
    if a.numel() == 0:
        return 0.0
    difference = (a - b).abs().max().item()
    largest = a.abs().max().item()
    if largest > 0:
        return difference / largest
    return math.inf if difference > 0 else 0.0


def _integers(want: Tensor, have: Tensor) -> float:
    same = not have.dtype.is_floating_point and torch.equal(want.long().cpu(), have.long().cpu())
    return 0.0 if same else math.inf
