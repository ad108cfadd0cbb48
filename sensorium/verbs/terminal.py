"""A conversation in a terminal: lines in, the reply as it is said, and a few commands."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sensorium.media import read_image_bytes
from sensorium.nn.generate.speaks import How
from sensorium.verbs.speak import Chat, Reply, how
from sensorium.verbs.turns import Turns

HELP = (
    "/clear forgets the conversation, /history shows it, /image FILE shows a picture with the next"
    " line, /exit (or Ctrl-D) ends it"
)


def converse(
    chat: Chat | Turns,
    lines: Iterable[str],
    settings: How,
    show: Callable[[str], None],
    system: str | None = None,
    images: Sequence[str | Path] = (),
) -> list[dict[str, Any]]:
    """Answers line after line until they end; gives the conversation.

    What is typed is text and nothing else. An error in a turn (a conversation that grew too long,
    say) is shown, and that turn is taken back; its pictures are shown again with the next line.

    Args:
        show: takes the pieces of text as they come, line ends included.
        system: what the system says first; the template's own default when None.
        images: pictures that are shown with the first line.

    Raises:
        ValueError: one of `images` cannot be read, or the model reads none.
    """
    start: list[dict[str, Any]] = []
    if system is not None:
        start = [{"role": "system", "content": system}]
    said, pictures = list(start), [picture(chat, one) for one in images]
    for line in lines:
        text = line.rstrip("\n")
        if not text.strip():
            continue
        if text.startswith("/"):
            command, _, rest = text.strip().partition(" ")
            if command == "/exit":
                break
            if command == "/clear":
                said, pictures = list(start), []
                show("(cleared)\n")
            elif command == "/history":
                show("".join(f"{one['role']}: {told(one)}\n" for one in said) or "(empty)\n")
            elif command == "/image" and rest.strip():
                try:
                    pictures.append(picture(chat, rest.strip()))
                    show("(it is shown with the next line)\n")
                except (ValueError, OSError) as wrong:
                    show(f"({wrong})\n")
            else:
                show(f"{HELP}\n")
            continue
        content: Any = [*pictures, {"type": "text", "text": text}] if pictures else text
        asked = [*said, {"role": "user", "content": content}]
        try:
            reply = answer(chat, asked, settings, show)
        except ValueError as wrong:
            show(f"({wrong}; /clear begins anew)\n")
            continue
        said, pictures = [*asked, {"role": "assistant", "content": reply.text}], []
    return said


def picture(chat: Chat | Turns, path: str | Path) -> dict[str, Any]:
    """A picture file as a part of a message, read now. ValueError: see `converse`."""
    if chat.sight is None:
        raise ValueError("this model reads no pictures")
    data = read_image_bytes(path)
    chat.sight.pixels([data])
    return {"type": "image", "image": data}


def told(message: dict[str, Any]) -> str:
    """A message for people to read."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return " ".join("[picture]" if one["type"] == "image" else one["text"] for one in content)


def answer(chat: Chat | Turns, asked: Any, settings: How, show: Callable[[str], None]) -> Reply:
    """One turn, shown as it is said."""
    whole: Reply | None = None
    for bit in chat.stream(asked, settings):
        show(bit.text)
        whole = bit.reply or whole
    show("\n" if whole is None or whole.end != "length" else " [cut at max_tokens]\n")
    assert whole is not None
    return whole


def settings(said: Sequence[str]) -> How:
    """NAME=VALUE texts as settings.

    Raises:
        ValueError: one is not of that form, not known, or means nothing.
    """
    found: dict[str, Any] = {}
    for one in said:
        name, equals, value = one.partition("=")
        kind = How.__annotations__.get(name)
        try:
            found[name] = kind(value) if kind is not None and equals else None
        except ValueError:
            raise ValueError(f"--set {one}: {name} is a number") from None
        if found[name] is None:
            raise ValueError(f"--set {one}: say NAME=VALUE, with one of {', '.join(How._fields)}")
    return how(found)
