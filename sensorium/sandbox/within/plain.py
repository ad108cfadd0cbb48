"""Values between two processes that do not trust each other: only exact built-in types arrive.

What is sent is what a value holds, not what it says of itself: a subclass of `int` arrives as an
`int`, so that an `__eq__` of its own has nothing to say. What is no plain value arrives as a
`Handle`: it is equal to nothing, and given back it stands for the same object again.
"""

from collections.abc import Callable
from typing import Any

EXACT = 1 << 53  # JSON's readers agree on whole numbers up to here


class Handle:
    """An object that stayed on the other side."""

    def __init__(self, number: int, kind: str) -> None:
        self.number, self.kind = number, kind

    def __repr__(self) -> str:
        return f"<{self.kind} in the program>"


def encode(value: Any, other: Callable[[Any], Any]) -> Any:
    """A value as JSON; `other` makes JSON of what is no plain value, or raises."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if -EXACT < whole < EXACT else {"i": hex(whole)}
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, list):
        return [encode(one, other) for one in value]
    if isinstance(value, tuple):
        return {"t": [encode(one, other) for one in value]}
    if isinstance(value, dict):
        return {"d": [[encode(k, other), encode(v, other)] for k, v in value.items()]}
    if isinstance(value, set):
        return {"s": [encode(one, other) for one in value]}
    if isinstance(value, frozenset):
        return {"z": [encode(one, other) for one in value]}
    if isinstance(value, (bytes, bytearray)):
        return {"b" if isinstance(value, bytes) else "a": bytes(value).decode("latin-1")}
    if isinstance(value, complex):
        return {"c": [value.real, value.imag]}
    if isinstance(value, range):
        return {"r": [value.start, value.stop, value.step]}
    return other(value)


def decode(sent: Any, handle: Callable[[Any], Any]) -> Any:
    """The value of `encode`, of exact built-in types; `handle` makes what was no plain value.

    ValueError, TypeError, RecursionError: it is none.
    """
    if not isinstance(sent, (list, dict)):
        return sent
    if isinstance(sent, list):
        return [decode(one, handle) for one in sent]
    ((kind, held),) = sent.items()
    if kind == "d":
        return {decode(k, handle): decode(v, handle) for k, v in held}
    if kind in ("t", "s", "z"):
        return {"t": tuple, "s": set, "z": frozenset}[kind]([decode(one, handle) for one in held])
    if kind == "i":
        return int(held, 16)
    if kind in ("b", "a"):
        return {"b": bytes, "a": bytearray}[kind](held.encode("latin-1"))
    if kind == "c":
        return complex(float(held[0]), float(held[1]))
    if kind == "r":
        return range(*(int(number) for number in held))
    return handle(sent)
