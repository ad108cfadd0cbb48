"""A conversation in a terminal: lines in, the reply as it is said; /clear, /history, /exit."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sensorium.nn.generate.speaks import How
from sensorium.verbs.speak import Chat, Reply, how

HELP = "/clear forgets the conversation, /history shows it, /exit (or Ctrl-D) ends it"


def converse(
    chat: Chat,
    lines: Iterable[str],
    settings: How,
    show: Callable[[str], None],
    system: str | None = None,
) -> list[dict[str, str]]:
    """Answers line after line until they end; gives the conversation.

    What is typed is text and nothing else. An error in a turn (a conversation that grew too long,
    say) is shown, and that turn is taken back.

    Args:
        show: takes the pieces of text as they come, line ends included.
        system: what the system says first; the template's own default when None.
    """
    start: list[dict[str, str]] = []
    if system is not None:
        start = [{"role": "system", "content": system}]
    said = list(start)
    for line in lines:
        text = line.rstrip("\n")
        if not text.strip():
            continue
        if text.startswith("/"):
            if text.strip() == "/exit":
                break
            if text.strip() == "/clear":
                said = list(start)
                show("(cleared)\n")
            elif text.strip() == "/history":
                show("".join(f"{one['role']}: {one['content']}\n" for one in said) or "(empty)\n")
            else:
                show(f"{HELP}\n")
            continue
        asked = [*said, {"role": "user", "content": text}]
        try:
            reply = answer(chat, asked, settings, show)
        except ValueError as wrong:
            show(f"({wrong}; /clear begins anew)\n")
            continue
        said = [*asked, {"role": "assistant", "content": reply.text}]
    return said


def answer(chat: Chat, asked: Any, settings: How, show: Callable[[str], None]) -> Reply:
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
