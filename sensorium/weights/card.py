"""The model card: a README.md made of the manifest, so that the two never disagree."""

from collections.abc import Mapping
from typing import Any

FIRST = ("model", "data", "licence")  # in this order, before the rest
SKIPPED = ("format", "files", "tied")


def card(manifest: Mapping[str, Any]) -> str:
    """Markdown of all that the manifest says, for people."""
    named = manifest.get("model")
    title = named if isinstance(named, str) else "A model"
    if isinstance(named, Mapping) and isinstance(named.get("name"), str):
        title = named["name"]
    keys = [key for key in FIRST if key in manifest]
    keys += [key for key in manifest if key not in FIRST and key not in SKIPPED]
    lines = [f"# {_line(title)}", ""]
    lines += ["A sensorium checkpoint. Written from `manifest.json`, which is what counts.", ""]
    for key in keys:
        lines += [f"## {_line(key)}", "", *_bullets(manifest[key], 0), ""]
    tied = manifest.get("tied", {})
    if tied:
        lines += ["## tied weights", "", *_bullets(tied, 0), ""]
    lines += [
        "## use",
        "",
        "    sensorium verify FOLDER    # proves that it gives its own numbers",
        "",
    ]
    return "\n".join(lines)


def _bullets(value: Any, depth: int) -> list[str]:
    pad = "  " * depth
    if isinstance(value, Mapping) and value:
        lines: list[str] = []
        for key, inner in value.items():
            if isinstance(inner, Mapping | list | tuple) and inner:
                lines += [f"{pad}- {_line(key)}:", *_bullets(inner, depth + 1)]
            else:
                lines.append(f"{pad}- {_line(key)}: {_code(inner)}")
        return lines
    if isinstance(value, list | tuple) and value:
        flat = all(not isinstance(inner, Mapping | list | tuple) for inner in value)
        if flat:
            return [f"{pad}- {', '.join(_code(inner) for inner in value)}"]
        return [line for inner in value for line in _bullets(inner, depth)]
    return [f"{pad}- {_code(value)}"]


def _code(value: Any) -> str:
    text = _line(value)
    fence = "``" if "`" in text else "`"
    gap = " " if "`" in text else ""
    return f"{fence}{gap}{text}{gap}{fence}"


def _line(value: Any) -> str:
    return " ".join(str(value).split())
