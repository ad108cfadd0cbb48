"""HTML whose texts are escaped by construction: what is not `Html` already is data, and escaped."""

import html
from collections.abc import Iterable, Mapping

VOID = {"img", "meta", "br"}
LONGEST = 240  # characters of an untrusted text that are shown


class Html(str):
    """A piece of finished HTML. Only `tag`, `join` and `trusted` make one."""


def tag(name: str, *content: str, at: Mapping[str, str] | None = None, css: str = "") -> Html:
    """An element; `css` is its class, `at` its other attributes, both escaped like the content."""
    named = {"class": css} if css else {}
    marks = "".join(f' {key}="{escape(value)}"' for key, value in (named | dict(at or {})).items())
    if name in VOID:
        return Html(f"<{name}{marks}>")
    return Html(f"<{name}{marks}>{join(content)}</{name}>")


def join(content: Iterable[str]) -> Html:
    """Pieces one after the other, those that are not HTML yet escaped."""
    return Html("".join(c if isinstance(c, Html) else escape(c) for c in content))


def trusted(text: str) -> Html:
    """Marks a literal of this package as HTML. Never call it on what comes from data."""
    return Html(text)


def escape(text: str) -> str:
    """Data as HTML text: escaped, without control characters and lone surrogates."""
    return html.escape(clean(text), quote=True)


def clean(text: str) -> str:
    """A text in which whatever cannot be printed is replaced: controls, half surrogate pairs."""
    return "".join(c if c.isprintable() or c.isspace() or joins(c) else "\ufffd" for c in text)


def joins(character: str) -> bool:
    """Whether an unprintable character is needed by a script or an emoji: (non-)joiners."""
    return character in "\u200c\u200d"


def short(text: str, longest: int = LONGEST) -> str:
    """A text with its white space joined, cut off where it is longer than `longest`."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def caption(text: str, css: str = "caption") -> Html:
    """An untrusted text, isolated: its direction of writing does not reach its surroundings."""
    return tag("bdi", short(text), css=css, at={"dir": "auto"})
