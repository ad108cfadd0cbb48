"""Nested values as text for people."""

from typing import Any


def lines(found: Any, depth: int = 0) -> list[str]:
    """Nested values as indented text; numbers rounded for the eye (--json has them in full)."""
    pad = "  " * depth
    if not isinstance(found, dict):
        return [pad + shown(item) for item in found]
    wide = max((len(str(key)) for key in found), default=0)
    out = []
    for key, value in found.items():
        nested = isinstance(value, dict) or (
            isinstance(value, (list, tuple)) and any(isinstance(v, dict) for v in value)
        )
        if nested and value:
            out += [f"{pad}{key}", *lines(value, depth + 1)]
        else:
            out.append(f"{pad}{key!s:{wide}}  {shown(value)}")
    return out


def shown(value: Any) -> str:
    """One value as text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "  ".join(f"{k} {shown(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return " to ".join(map(shown, value)) if len(value) == 2 else ", ".join(map(shown, value))
    return "none" if value is None else str(value)
