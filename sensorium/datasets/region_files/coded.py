"""Arrays and numbers as JSON objects of other people's files hold them."""

import base64
import binascii
import json
from typing import Any

import numpy as np
from jaxtyping import Float

from sensorium.data.errors import DataError
from sensorium.datasets.region_files.record import MOST


def json_row(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object. DataError: it is none."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as wrong:
        raise DataError(f"{where}: is no JSON ({wrong}); is it cut off?") from wrong
    if not isinstance(said, dict):
        raise DataError(f"{where}: is no JSON object; is it another format?")
    return said


def number(where: str, said: dict[str, Any], name: str, most: int = MOST) -> int:
    """A whole number from 0 to `most`. DataError: it is none."""
    value = said.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise DataError(f"{where}: {name} must be a whole number up to {most}, not {value!r:.40}")
    return value


def floats(where: str, name: str, coded: Any, n: int) -> Float[np.ndarray, "n d"]:
    """n rows of float32 from base64; none where n is 0.

    DataError: no base64, or bytes that are not n rows.
    """
    if not isinstance(coded, (str, bytes)):
        raise DataError(f"{where}: {name} must be base64 in a text, not {type(coded).__name__}")
    try:
        data = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise DataError(f"{where}: {name} is no base64 ({wrong}); is the line cut off?") from wrong
    if n == 0 and not data:
        return np.zeros((0, 0), np.float32)
    if n == 0 or not data or len(data) % (4 * n):
        raise DataError(
            f"{where}: {name} has {len(data)} bytes, which are not {n} rows of float32; is"
            " num_boxes right, and are the numbers of that type?"
        )
    return np.frombuffer(data, "<f4").reshape(n, -1)
