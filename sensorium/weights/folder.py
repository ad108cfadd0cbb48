"""The checkpoint folder: weights, a manifest, probes and a model card, written whole or not at all.

    model.safetensors    (or model-00001-of-0000N.safetensors with model.safetensors.index.json)
    manifest.json        format, everything the caller needs to build and feed the model, every
                         file's size and sha256, tied names
    probes.safetensors   see `weights.probes`
    README.md            a model card, written from the manifest

Nothing is read from the folder's name; nothing in it is ever executed.
"""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from torch import Tensor

from sensorium.weights import probes as probing
from sensorium.weights.atomic import recover, replacing
from sensorium.weights.card import card
from sensorium.weights.errors import WeightsError, report, some
from sensorium.weights.header import parse_json, read_safetensors
from sensorium.weights.probes import Probe
from sensorium.weights.writing import Written, sha256, write

FORMAT = "sensorium/1"
MANIFEST, PROBES, CARD = "manifest.json", "probes.safetensors", "README.md"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
OURS = ("format", "files", "tied")  # what `save` itself writes into the manifest
MANIFEST_MAX = 32 << 20
SHARD_BYTES = 4 << 30
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill")


class Checkpoint(NamedTuple):
    """What a folder holds. Tensors may be views of the file: never write into them."""

    tensors: dict[str, Tensor]
    manifest: dict[str, Any]
    folder: Path

    def probes(self) -> list[Probe]:
        """The folder's probes; none when it has no probe file."""
        path = self.folder / PROBES
        return probing.read(path) if PROBES in self.manifest["files"] else []


def save(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    manifest: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
    probes: Sequence[Probe] = (),
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Writes a checkpoint aside and puts it at `folder` in one step, over an older one if need be.

    Names that share one storage (tied weights) are stored once and listed under `tied`.

    Args:
        tensors: our names to tensors, on any device.
        manifest: JSON values; `format`, `files` and `tied` are added here.
        files: more files, by path inside the folder ("state/optimizer.safetensors").
        probes: what proves the checkpoint.
        shard_bytes: weights above this are cut into several files.

    Raises:
        WeightsError: the manifest or a file name is not allowed, or `folder` holds something that
            is no checkpoint, or files this library did not write there.
        OSError: no space, no permission; nothing was changed then.
    """
    at = Path(os.path.abspath(folder))
    extra = dict(files or {})
    for name in extra:
        _check_name(name)
    taken = [key for key in OURS if key in manifest]
    if taken:
        raise WeightsError(
            f"{at}: the manifest's {some(taken)} are written by save; leave them out"
        )
    if not tensors:
        raise WeightsError(f"{at}: no tensors to save")
    _refuse_loss(at)
    kept, tied = _untie(tensors)
    with replacing(at) as new:
        written = _write_weights(new, kept, shard_bytes)
        if probes:
            written[PROBES] = probing.write(new / PROBES, probes)
        for name, data in extra.items():
            written[name] = _write_bytes(new / name, data)
        whole: dict[str, Any] = {"format": FORMAT, **manifest, "tied": tied}
        try:
            written[CARD] = _write_bytes(new / CARD, card(whole).encode())
            whole["files"] = {name: written[name]._asdict() for name in sorted(written)}
            text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as wrong:
            raise WeightsError(f"{at}: the manifest cannot be written as JSON: {wrong}") from wrong
        _write_bytes(new / MANIFEST, (text + "\n").encode())
    return at


def load(folder: str | os.PathLike[str], full_check: bool = False) -> Checkpoint:
    """Opens a checkpoint: the manifest's version, every listed file's size, and the tensors.

    Args:
        full_check: compare every listed file's sha256 as well.

    Raises:
        WeightsError: no checkpoint, of another version, changed, or with a pickle in it.
        OSError: a file cannot be read.
    """
    at = Path(os.path.abspath(folder))
    manifest = read_manifest(at)
    _refuse_pickles(at)
    _check_files(at, manifest["files"], full_check)
    names = _weight_files(at, manifest["files"])
    tensors: dict[str, Tensor] = {}
    for name in names:
        part, _ = read_safetensors(at / name)
        twice = [key for key in part if key in tensors]
        if twice:
            raise WeightsError(f"{at / name}: {some(twice)} are in an earlier file too")
        tensors.update(part)
    for alias, name in manifest["tied"].items():
        if alias in tensors or not isinstance(name, str) or name not in tensors:
            raise WeightsError(
                f"{at / MANIFEST}: tied name {alias} -> {name} does not fit the weights"
            )
        tensors[alias] = tensors[name]
    return Checkpoint(tensors, manifest, at)


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest alone, its version checked.

    Raises:
        WeightsError: the folder, or its manifest, is missing, damaged or of another version.
    """
    at = Path(os.path.abspath(folder))
    path = at / MANIFEST
    if not at.exists():
        old = at.with_name(f".{at.name}.old")
        hint = (
            f"; a save was cut off, the last good one is {old}: rename it back"
            if old.is_dir()
            else ""
        )
        raise WeightsError(f"{at}: there is no such folder{hint}")
    if (at / "checkpoint" / MANIFEST).is_file() and not path.is_file():
        raise WeightsError(f"{at}: this is a run's folder; its checkpoint is {at / 'checkpoint'}")
    if not path.is_file():
        raise WeightsError(
            f"{at}: no {MANIFEST}, so this is not a checkpoint folder; a published file is brought"
            " in with `sensorium import`, its layout said"
        )
    if path.stat().st_size > MANIFEST_MAX:
        raise WeightsError(f"{path}: larger than {MANIFEST_MAX} bytes")
    manifest = parse_json(path.read_bytes(), str(path))
    said = manifest.get("format")
    if said != FORMAT:
        raise WeightsError(f"{path}: {_other_version(said)}")
    for key in ("files", "tied"):
        if not isinstance(manifest.get(key), dict):
            raise WeightsError(f"{path}: the value {key!r} is missing or no object; save it again")
    return manifest


def value(checkpoint: Checkpoint, key: str, choices: Sequence[object] = ()) -> Any:
    """A manifest value by its dotted key ("transform.resize"), which must be there.

    Raises:
        WeightsError: it is missing, or none of `choices`; the text lists them.
    """
    path = checkpoint.folder / MANIFEST
    among = f"; the choices: {', '.join(map(str, choices))}" if choices else ""
    found: Any = checkpoint.manifest
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            raise WeightsError(f"{path}: the value {key!r} is missing; add it{among}")
        found = found[part]
    if choices and found not in choices:
        raise WeightsError(f"{path}: {key!r} is {found!r}{among}")
    return found


def expect(
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, Sequence[int]],
    where: str = "weights",
    finite: bool = True,
) -> None:
    """Refuses tensors that are not exactly those of `shapes`, or (`finite`) hold NaN or infinity.

    Raises:
        WeightsError: one report of all that is missing, extra, wrongly shaped or not finite.
    """
    both = [name for name in shapes if name in tensors]
    wrong = [name for name in both if tuple(tensors[name].shape) != tuple(shapes[name])]
    found = {
        "missing": [name for name in shapes if name not in tensors],
        "not in this model": [name for name in tensors if name not in shapes],
        "wrongly shaped": [
            f"{name} {tuple(tensors[name].shape)} in the file, {tuple(shapes[name])} in the model"
            for name in wrong
        ],
        "not finite (NaN or infinity)": not_finite(tensors) if finite else [],
    }
    if any(found.values()):
        raise report(where, found, "The file was changed, or belongs to another model.")


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of floating tensors that hold a NaN or an infinity."""
    return [
        name
        for name, tensor in tensors.items()
        if tensor.dtype.is_floating_point and not bool(_finite(tensor))
    ]


def _finite(tensor: Tensor) -> bool:
    wide = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(wide.isfinite().all())


def _untie(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    kept: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[object, str] = {}
    for name, tensor in tensors.items():
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() > 0 and not tensor.is_meta and place in first:
            tied[name] = first[place]
        else:
            first[place] = name
            kept[name] = tensor
    return kept, tied


def _write_weights(
    folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int
) -> dict[str, Written]:
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    total = 0
    for name in sorted(tensors):
        size = tensors[name].numel() * tensors[name].element_size()
        if size > room and shards[-1]:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensors[name]
        room -= size
        total += size
    if len(shards) == 1:
        return {WEIGHTS: write(folder / WEIGHTS, shards[0], {"format": "pt"})}
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    written = {
        name: write(folder / name, shard, {"format": "pt"})
        for name, shard in zip(names, shards, strict=True)
    }
    weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    written[INDEX] = _write_bytes(folder / INDEX, json.dumps(index, indent=2).encode())
    return written


def _write_bytes(path: Path, data: bytes) -> Written:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Written(sha256(path), len(data))


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    if not inside or str(path) != name or name.startswith(".") or "\0" in name:
        raise WeightsError(f"file name {name!r}: a plain path inside the folder is needed")
    if name in (MANIFEST, PROBES, CARD, INDEX) or _is_weights(name):
        raise WeightsError(f"file name {name!r} is the folder's own")
    if path.suffix in PICKLES:
        raise WeightsError(f"file name {name!r}: a checkpoint holds no pickles")


def _refuse_loss(at: Path) -> None:
    """An existing folder is replaced only when all that is in it is a checkpoint's."""
    recover(at)
    if not at.exists():
        return
    if not at.is_dir():
        raise WeightsError(f"{at}: is a file; a checkpoint is a folder, give another name")
    there = [path for path in at.rglob("*") if not path.is_dir()]
    if not there:
        return
    known = set(read_manifest(at)["files"]) | {MANIFEST}
    strange = [name for path in there if (name := path.relative_to(at).as_posix()) not in known]
    if strange:
        raise WeightsError(
            f"{at}: replacing it would lose {some(sorted(strange))}, which is not the checkpoint's;"
            " move that away or save elsewhere"
        )


def _refuse_pickles(at: Path) -> None:
    for path in sorted(at.rglob("*")):
        if path.is_file() and (path.suffix in PICKLES or _looks_pickled(path)):
            raise WeightsError(
                f"{path}: a pickle can run code and has no place in a checkpoint; take it out"
            )


def _looks_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PK\x03\x04" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    pickled = head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    return pickled and path.suffix != ".safetensors"  # whose header may be so long


def _check_files(at: Path, files: Mapping[str, Any], full: bool) -> None:
    found: dict[str, list[str]] = {"missing": [], "of another size": [], "changed (sha256)": []}
    for name, entry in files.items():
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute():
            raise WeightsError(f"{at / MANIFEST}: file name {name!r} leads out of the folder")
        fields = entry if isinstance(entry, dict) else {}
        path = at / name
        if not path.is_file():
            found["missing"].append(name)
        elif path.stat().st_size != fields.get("bytes"):
            sizes = f"{path.stat().st_size} bytes, {fields.get('bytes')} in the manifest"
            found["of another size"].append(f"{name} ({sizes})")
        elif full and sha256(path) != fields.get("sha256"):
            found["changed (sha256)"].append(name)
    if any(found.values()):
        raise report(str(at), found, "The folder is damaged or was edited; fetch or save it again.")


def _is_weights(name: str) -> bool:
    return name.startswith("model") and name.endswith(".safetensors") and "/" not in name


def _weight_files(at: Path, files: Mapping[str, Any]) -> list[str]:
    names = sorted(name for name in files if _is_weights(name))
    if not names:
        raise WeightsError(f"{at / MANIFEST}: lists no weights ({WEIGHTS})")
    stray = [path.name for path in at.glob("model*.safetensors") if path.name not in names]
    if stray:
        raise WeightsError(f"{at}: {some(sorted(stray))} is not in the manifest; take it out")
    return names


def _other_version(said: object) -> str:
    if not isinstance(said, str) or not said.startswith("sensorium/"):
        return f"its format is {said!r}, this library reads {FORMAT!r}; is it a checkpoint of ours?"
    return (
        f"its format is {said!r}, this library reads {FORMAT!r}; use the version of sensorium that"
        " wrote it (upgrade if that is newer), or save it again with that one's export"
    )
