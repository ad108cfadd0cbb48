"""Reading safetensors files that may have been made to hurt.

The header is checked here in full before the safetensors package maps the file: its length against
the file's and a budget, every key once, known dtypes, and offsets that cover the data exactly, in
order, without gap or overlap.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from sensorium.weights.errors import WeightsError
from sensorium.weights.writing import DTYPES, META

HEADER_MAX = 32 << 20  # bytes; 300,000 tensors fit


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of one file, and its metadata.

    Raises:
        WeightsError: the file is not sound; the text says where.
        OSError: it cannot be read.
    """
    metadata = check_header(path)
    return load_file(path), metadata


def check_header(path: Path) -> dict[str, str]:
    """Checks a safetensors file without reading its data; gives its metadata."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise WeightsError(
                f"{path}: a safetensors header of {length} bytes is announced, the file has {size}:"
                " it is truncated or no safetensors file; fetch it again"
            )
        if length > HEADER_MAX:
            raise WeightsError(f"{path}: its header has {length} bytes, the most is {HEADER_MAX}")
        header = parse_json(file.read(length), f"{path}: safetensors header")
    metadata = header.pop(META, {})
    texts = isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values())
    if not texts:
        raise WeightsError(f"{path}: the header's {META} must be texts only")
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        spans.append((*_span(path, name, entry), name))
    end = 0
    for first, last, name in sorted(spans):
        if first != end:
            what = "overlaps the tensor before it" if first < end else "leaves a gap before it"
            raise WeightsError(f"{path}: tensor {name} at bytes {first}..{last} {what} ({end})")
        end = last
    if end != size - 8 - length:
        raise WeightsError(
            f"{path}: the tensors take {end} bytes, the file holds {size - 8 - length}:"
            " it is truncated or has something appended; fetch it again"
        )
    return metadata


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object whose keys occur once, from bytes that may hold anything."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise WeightsError(f"{what}: the key {twice!r} occurs twice")
        return made

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=once)
    except RecursionError as wrong:
        raise WeightsError(f"{what}: nested too deeply") from wrong
    except (UnicodeDecodeError, json.JSONDecodeError) as wrong:
        raise WeightsError(f"{what}: not JSON ({wrong})") from wrong
    except WeightsError:
        raise
    except ValueError as wrong:  # a number of thousands of digits
        raise WeightsError(f"{what}: {wrong}") from wrong
    if not isinstance(value, dict):
        raise WeightsError(f"{what}: a JSON object is expected")
    return value


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, span = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise WeightsError(f"{path}: tensor {name} has dtype {dtype!r}, known: {', '.join(DTYPES)}")
    sound = (
        isinstance(shape, list)
        and isinstance(span, list)
        and len(span) == 2
        and all(type(number) is int and 0 <= number < 1 << 62 for number in [*shape, *span])
    )
    if not sound:
        raise WeightsError(f"{path}: tensor {name} has a malformed shape or place in the header")
    assert isinstance(shape, list) and isinstance(span, list)
    want = DTYPES[dtype].itemsize
    for length in shape:
        want *= length
    if span[1] - span[0] != want:
        raise WeightsError(
            f"{path}: tensor {name} {shape} {dtype} needs {want} bytes, has {span[1] - span[0]}"
        )
    return span[0], span[1]
