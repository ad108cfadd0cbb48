"""What a training would learn of conversations, seen token by token: `sensorium data inspect`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.data.conversations import Conversation, Encoded, encoded, template_of
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.language import LANGUAGE, language
from sensorium.data.tokenizers.words import Words
from sensorium.datasets.llava import Conversations, llava
from sensorium.models.declaration import declared
from sensorium.models.llava import llava as a_llava
from sensorium.models.published import built
from sensorium.verbs.open import load
from sensorium.weights import folder as folders

Progress = Callable[[int, int], None]
COLOURS = {"trained": "\x1b[32m", "masked": "\x1b[2m", "picture": "\x1b[34m", "end": "\x1b[0m"}
PLAINLY = {"trained": "[+", "masked": "", "picture": "", "end": "+]"}
SHOWN = 3  # conversations that are shown where none is asked for


class Reader(NamedTuple):
    """How a checkpoint reads conversations.

    Attributes:
        chat: its template; None where it names none.
        patches: tokens of a picture; None where it reads none.
        longest: its context in tokens.
    """

    words: Words
    chat: str | None
    patches: int | None
    longest: int


def reader(checkpoint: str | Path) -> Reader:
    """What a checkpoint folder, or a published file, says of how it reads; of a folder no weights.

    Raises:
        ValueError: it has no tokenizer, or reads no conversations.
    """
    if (Path(checkpoint) / folders.MANIFEST).is_file():
        manifest = folders.read_manifest(checkpoint)
        said = manifest["tokenizer"]
        words = None
        if said is not None and said.get("kind") in LANGUAGE:
            words = language(said, Path(checkpoint))
    else:
        model = load(checkpoint)
        manifest, words = model.manifest, model.words
    if words is None:
        raise ValueError(f"{checkpoint}: has no tokenizer of a language model")
    spec = manifest["model"]
    declaration = declared(spec["args"].get("of", spec))
    args, patches = declaration.args, None
    if built(declaration, a_llava):
        patches = (args["image"].pixels // args["image"].patch) ** 2
        longest = args["text"].length
    else:
        longest = int(declaration.spec()["args"].get("length", 1 << 20))
    return Reader(words, manifest.get("chat"), patches, longest)


class Wanted(NamedTuple):
    """What is to be looked at: ids or numbers of conversations (none: the first ones).

    `template`, `patches` and `longest` stand in for those of the checkpoint.
    """

    samples: Sequence[str] = ()
    template: str | None = None
    patches: int | None = None
    longest: int | None = None


def asked_for(
    options: argparse.Namespace, colour: bool, progress: Progress
) -> tuple[dict[str, Any], list[str]]:
    """What a command line asks (`verbs.options.inspecting`); errors as in `inspect`."""
    o = options
    wanted = Wanted(o.sample, o.template, o.patches, o.length)
    return inspect(o.file, o.checkpoint, o.images, wanted, colour, progress)


def inspect(
    data: str | Path,
    checkpoint: str | Path,
    root: str | Path | None,
    wanted: Wanted,
    colour: bool,
    progress: Progress,
) -> tuple[dict[str, Any], list[str]]:
    """Every conversation of a file encoded and audited, some of them shown.

    Returns:
        Totals: conversations, tokens trained, masked and padded, those of pictures, the longest
        conversation, and what would be refused, by conversation. And lines that show the tokens.

    Raises:
        ValueError: the file or the checkpoint cannot be read (see `reader`, `datasets.llava`).
    """
    how = reader(checkpoint)
    template = wanted.template or how.chat
    parts, found = template_of(template), llava(data, root)
    patches = wanted.patches if wanted.patches is not None else how.patches
    if patches is None:
        raise ValueError(f"{checkpoint} reads no pictures: say how many tokens one is (--patches)")
    longest = min(wanted.longest or how.longest, how.longest)
    picked = chosen(found, wanted.samples)
    totals = {"conversations": len(found), "trained": 0, "masked": 0, "padded": 0, "pictures": 0}
    refused: dict[str, str] = {}
    most, shown = 0, {}
    for number, one in enumerate(found.entries):
        try:
            made = encoded(unread(found, number), how.words, parts, patches, longest)
        except DataError as wrong:
            refused[one.id] = str(wrong)
            continue
        learnt, holes = sum(made.learnt), patches * len(made.holes)
        totals["trained"] += learnt
        totals["masked"] += len(made.ids) - learnt
        totals["pictures"] += holes
        most = max(most, len(made.ids))
        if number in picked:
            shown[number] = lines_of(one.id, made, how.words, patches, colour)
        progress(number + 1, len(found))
    rest = {"template": template, "longest": most, "read": longest, "refused": refused}
    return {**totals, **rest}, [line for number in picked for line in shown.get(number, [])]


def unread(found: Conversations, number: int) -> Conversation:
    """A conversation without its pictures, which are only places in its text."""
    one = found.entries[number]
    return Conversation(one.messages, (), one.id)


def chosen(found: Conversations, samples: Sequence[str]) -> list[int]:
    """The places of conversations that ids, or numbers from 0 on, name.

    DataError: one names none.
    """
    if not samples:
        return list(range(min(SHOWN, len(found))))
    place = {name: i for i, name in enumerate(found.ids)}
    out = []
    for name in samples:
        if name not in place and not (name.isdecimal() and int(name) < len(found)):
            raise DataError(f"no conversation has the id or the number {name!r}")
        out.append(place[name] if name in place else int(name))
    return out


def lines_of(name: str, made: Encoded, words: Words, patches: int, colour: bool) -> list[str]:
    """A conversation's tokens for people: in colour, or what is trained between [+ and +].

    Nothing is padded: conversations are laid end to end.
    """
    marks = COLOURS if colour else PLAINLY
    special = {id: text for text, id in words.specials.items()}
    pieces: list[tuple[str, str]] = []
    place, held = 0, b""
    while place < len(made.ids):
        kind = "trained" if made.learnt[place] else "masked"
        if place in made.holes:
            pieces.append(("picture", f"<a picture, {patches} tokens>"))
            place += patches
            continue
        id = made.ids[place]
        text = special.get(id)
        if text is None:
            held += words.spelt(id)
            try:
                text, held = held.decode(), b""
            except UnicodeDecodeError:
                text = "" if len(held) < 4 else held.decode(errors="replace")
                held = b"" if len(held) >= 4 else held
        pieces.append((kind, text))
        place += 1
    out, last = [], ""
    for kind, text in pieces:
        if kind != last:
            out.append(
                (marks["end"] if last and (colour or last == "trained") else "") + marks[kind]
            )
            last = kind
        out.append("".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text))
    out.append(marks["end"] if colour or last == "trained" else "")
    learnt = sum(made.learnt)
    head = f"--- {name}: {learnt} trained, {len(made.ids) - learnt} masked, 0 padded"
    return [head, "".join(out)]
