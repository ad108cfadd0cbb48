"""Conversations with pictures in them: checked, encoded, and audited before anything is trained.

In a message's text `MARK` stands where a picture does: half of a surrogate pair, which no text that
can be read holds, so that nothing people type ("<image>" least of all) becomes a picture or a
special token.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sensorium.data.chat import TEMPLATES, Message, Part, Template, conversation, encode, template
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.words import Words, readable

MARK = "\udfff"
PLAIN = "plain"
HOLE = 0  # the id at a picture's places; it is never looked up for what it means
LARGEST = 64 << 20  # letters of a picture written into a message


class Conversation(NamedTuple):
    """Messages with `MARK` at the places of pictures, and those pictures, undecoded, in order."""

    messages: tuple[Message, ...]
    images: tuple[bytes, ...]
    id: str


class Encoded(NamedTuple):
    """Ids with places for pictures; which of them are learnt; where each picture begins."""

    ids: list[int]
    learnt: list[bool]
    holes: list[int]


# --- messages -----------------------------------------------------------------------------------


def fronted(text: str) -> str:
    """A turn's only picture stands before its words, as the authors train; several stay in place.

    llava/train/train.py, `preprocess_multimodal`.
    """
    if text.count(MARK) != 1:
        return text
    return f"{MARK}\n{text.replace(MARK, '').strip()}".strip()


def pictured(messages: Any, reply: bool = True) -> tuple[list[Message], list[Any]]:
    """Messages in OpenAI's form, checked, and their pictures in order.

    A content is text, or a list of parts: {"type": "text", "text": ...}; {"type": "image_url",
    "image_url": {"url": "data:image/png;base64,..."}} (nothing is fetched, and no file is opened);
    {"type": "image", "image": a path object, bytes, a PIL image or an array}, which no JSON holds.

    Raises:
        DataError: as `data.chat.conversation`; a part of another kind; a picture that is not the
            user's; a url that is not a picture written out.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        return conversation(messages, reply), []
    images: list[Any] = []
    plain = [_plain(one, number, images) for number, one in enumerate(messages, start=1)]
    return conversation(plain, reply), images


def _plain(one: Any, number: int, images: list[Any]) -> Any:
    """A message whose content is one text; its pictures are added to `images`."""
    if isinstance(one, Message):
        return Message(one.role, readable(one.text, f"message {number}"))
    if not isinstance(one, Mapping) or "content" not in one:
        return one
    content = one["content"]
    if isinstance(content, str):
        return {**one, "content": readable(content, f"message {number}")}
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        return one
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        if kind in ("image_url", "image"):
            if one.get("role") != "user":
                raise DataError(f"message {number} of the {one.get('role')} holds a picture")
            images.append(_picture(part, number))
            texts.append(MARK)
        elif kind == "text" and isinstance(part.get("text"), str):
            texts.append(readable(part["text"], f"message {number}"))
        else:
            known = "text, image_url and image"
            raise DataError(f"message {number} has a part of type {kind!r}; known are {known}")
    return {**one, "content": fronted("\n".join(texts))}


def _picture(part: Mapping[str, Any], number: int) -> Any:
    if part.get("type") == "image":
        image = part.get("image")
        if isinstance(image, (bytes, PathLike, Image.Image, np.ndarray)):
            return image
        raise DataError(
            f"message {number}: a picture is a path object, bytes, a PIL image or an array, not"
            f" {type(image).__name__}"
        )
    said = part.get("image_url")
    url = said.get("url") if isinstance(said, Mapping) else said
    head, comma, body = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not head.startswith("data:image/") or not head.endswith(";base64") or not comma:
        raise DataError(
            f"message {number}: only pictures written into the message are read"
            ' ("data:image/png;base64,..."): nothing is fetched, and no file is opened'
        )
    if len(body) > LARGEST:
        raise DataError(f"message {number}: its picture has {len(body)} letters, {LARGEST} at most")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise DataError(f"message {number}: its picture is not in base64: {wrong}") from wrong


def joined(several: Sequence[Conversation]) -> Conversation:
    """Conversations about the same pictures as one of many rounds, the pictures shown once.

    Raises:
        DataError: they show other pictures, or a later one has a system message.
    """
    first = several[0]
    messages = list(first.messages)
    for one in several[1:]:
        if one.images != first.images:
            raise DataError(f"{one.id} shows other pictures than {first.id}: not to be joined")
        if one.messages[0].role == "system":
            raise DataError(f"{one.id} begins with the system, which speaks once: not to be joined")
        messages += [Message(m.role, m.text.replace(MARK, "").strip()) for m in one.messages]
    return Conversation(tuple(messages), first.images, first.id)


# --- templates and ids --------------------------------------------------------------------------


def _captions(messages: Sequence[Message], reply: bool) -> list[Part]:
    """What the first stage trains: pictures alone, then what is said of them, and a new line.

    What the user says is left out (llava/train/train.py, `preprocess_plain`).
    """
    out = []
    for one in messages:
        if one.role == "assistant":
            out.append(Part(f"{one.text}\n", learnt=True))
        elif one.role == "user":
            out.append(Part(MARK * one.text.count(MARK)))
    return out


def template_of(name: str | None) -> Template:
    """A chat template, or "plain": pictures and captions without any roles.

    DataError: there is none of that name.
    """
    if name == PLAIN:
        return Template(_captions, ())
    if name is not None and name not in TEMPLATES:
        known = ", ".join([*TEMPLATES, PLAIN])
        raise DataError(f"no chat template is called {name!r}; known: {known}")
    return template(name)


def stops(name: str | None) -> tuple[str, ...]:
    """The texts that end a reply, where no special token of the template does."""
    return ("\n",) if name == PLAIN else ()


def encode_pictured(parts: Sequence[Part], words: Words, patches: int) -> Encoded:
    """The ids of a prompt with so many places for each picture.

    Texts before and after a picture are encoded apart, as the authors do (llava/mm_utils.py,
    `tokenizer_image_token`). A prompt that begins with no special token begins with the
    tokenizer's own start, where it has one.

    DataError: the tokenizer lacks a special token of the template.
    """
    out = Encoded([], [], [])
    begun = bool(parts) and parts[0].special
    if words.begins and words.bos is not None and not begun:
        out.ids.append(words.bos)
        out.learnt.append(False)
    run: list[Part] = []

    def flush() -> None:
        ids, learnt = encode([p for p in run if p.text], words)
        out.ids.extend(ids)
        out.learnt.extend(learnt)
        run.clear()

    for part in parts:
        pieces = [part.text] if part.special else part.text.split(MARK)
        run.append(part._replace(text=pieces[0]))
        for piece in pieces[1:]:
            flush()
            out.holes.append(len(out.ids))
            out.ids.extend([HOLE] * patches)
            out.learnt.extend([False] * patches)
            run.append(part._replace(text=piece))
    flush()
    return out


# --- the audit ----------------------------------------------------------------------------------


def encoded(one: Conversation, words: Words, how: Template, patches: int, longest: int) -> Encoded:
    """A conversation as it is trained, audited (see `audit`).

    Args:
        patches: tokens of a picture.
        longest: tokens that are read; what is behind them is cut, if it is nothing that is learnt.
    """
    made = encode_pictured(how.parts(one.messages, False), words, patches)
    audit(one, made, words, how)
    return fitted(one, made, longest)


def runs(made: Encoded) -> list[tuple[int, int]]:
    """Where each stretch of learnt tokens begins and ends."""
    out: list[tuple[int, int]] = []
    for place, learnt in enumerate(made.learnt):
        if learnt and (place == 0 or not made.learnt[place - 1]):
            out.append((place, place + 1))
        elif learnt:
            out[-1] = (out[-1][0], place + 1)
    return out


def audit(one: Conversation, made: Encoded, words: Words, how: Template) -> None:
    """Holds what is learnt against what the assistant says: each answer, and what ends it.

    Raises:
        DataError: nothing is learnt, or the template and its mask disagree; it names the sample,
            and the answer.
    """
    wanted = [m.text for m in one.messages if m.role == "assistant"]
    found = runs(made)
    if not found:
        raise DataError(f"{one.id}: no token is learnt: nothing would be trained by it")
    if len(found) != len(wanted):
        raise DataError(
            f"{one.id}: the template and its mask disagree: {len(wanted)} answers, and"
            f" {len(found)} stretches of learnt tokens"
        )
    ends = {words.specials[name] for name in how.ends if name in words.specials}
    for number, ((start, end), text) in enumerate(zip(found, wanted, strict=True), start=1):
        said = words.decode(made.ids[start:end]).strip()
        if said != text.replace("\u2581", " ").strip():
            raise DataError(
                f"{one.id}: the template and its mask disagree: answer {number} is"
                f" {text.strip()[:60]!r}, what is learnt is {said[:60]!r}"
            )
        if ends and made.ids[end - 1] not in ends:
            raise DataError(
                f"{one.id}: the template and its mask disagree: the token that ends answer"
                f" {number} is not learnt, so that the model would never end one"
            )


def fitted(one: Conversation, made: Encoded, longest: int) -> Encoded:
    """The first `longest` tokens, if nothing that is learnt stands behind them.

    DataError: an answer would be cut; it says which.
    """
    if len(made.ids) <= longest:
        return made
    cut = [number for number, (_, end) in enumerate(runs(made), start=1) if end > longest]
    late = any(hole >= longest for hole in made.holes)
    if cut or late:
        what = f"answer {cut[0]} of {len(runs(made))}" if cut else "a picture"
        raise DataError(
            f"{one.id}: has {len(made.ids)} tokens, {longest} are read: {what} would be cut."
            " Shorten the conversation, make several of it, or read more tokens"
        )
    return Encoded(made.ids[:longest], made.learnt[:longest], made.holes)
