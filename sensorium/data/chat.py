"""Conversations as models were trained to read them: our own code for each chat template.

A template found in a file is a program, and is never run: it is matched to one of ours by its exact
text, or refused. What people typed stays text: only a template's own marks are special tokens.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sensorium.data.chat_jinja import SMOLLM2, SUMS, VICUNA
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.words import Words

ROLES = ("system", "user", "assistant")


class Message(NamedTuple):
    """Who says what."""

    role: str
    text: str


class Part(NamedTuple):
    """A piece of a prompt: text, or the name of a special token.

    `learnt` marks what the assistant says, the token that ends it included: what is trained.
    """

    text: str
    special: bool = False
    learnt: bool = False


class Template(NamedTuple):
    """A chat template.

    Attributes:
        parts: messages to parts; with `reply` up to where the assistant begins to speak.
        ends: the special tokens that end a reply.
        system: what stands first where a conversation has no system message of its own.
    """

    parts: Callable[[Sequence[Message], bool], list[Part]]
    ends: tuple[str, ...]
    system: str | None = None


def conversation(messages: Any, reply: bool = True) -> list[Message]:
    """Messages in OpenAI's form, checked: {"role": ..., "content": text or text parts}.

    Args:
        reply: whether the assistant is to speak next.

    Raises:
        DataError: no user turn, an unknown role, a content that is not text, roles that do not
            take turns, a system message that is not the first, or a wrong last speaker.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)) or not messages:
        raise DataError('messages must be a list like [{"role": "user", "content": "Hello"}]')
    out = [_message(one, place) for place, one in enumerate(messages, start=1)]
    for place, one in enumerate(out, start=1):
        if one.role == "system" and place > 1:
            raise DataError(f"message {place} is of the system; only the first can be")
    turns = out[1:] if out[0].role == "system" else out
    if not any(one.role == "user" for one in turns):
        raise DataError("the conversation has no user turn: nothing was asked")
    for place, one in enumerate(turns):
        due = "user" if place % 2 == 0 else "assistant"
        if one.role != due:
            number = place + 1 + len(out) - len(turns)
            raise DataError(f"message {number} is of the {one.role}, but it is the {due}'s turn")
    last = "user" if reply else "assistant"
    if turns[-1].role != last:
        raise DataError(f"the last message is of the {turns[-1].role}; it must be the {last}'s")
    return out


def _message(one: Any, place: int) -> Message:
    if isinstance(one, Message):
        one = {"role": one.role, "content": one.text}
    if not isinstance(one, Mapping) or not {"role", "content"} <= set(one):
        raise DataError(f"message {place} needs a role and a content, it is {one!r:.80}")
    role, content = one["role"], one["content"]
    if role not in ROLES:
        raise DataError(f"message {place} has the role {role!r}; known are {', '.join(ROLES)}")
    if isinstance(content, Sequence) and not isinstance(content, (str, bytes)):
        texts = [_text(part, place) for part in content]
        content = "\n".join(texts)
    if not isinstance(content, str):
        raise DataError(f"message {place}: the content is of type {type(content).__name__}")
    return Message(role, content)


def _text(part: Any, place: int) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text":
        text = part.get("text")
        if isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise DataError(f"message {place} has a part of type {kind!r}; this model reads text only")


# --- the templates ----------------------------------------------------------------------------


def _with_system(messages: Sequence[Message], default: str | None) -> tuple[str | None, list]:
    if messages[0].role == "system":
        return messages[0].text, list(messages[1:])
    return default, list(messages)


def _chatml(default: str | None) -> Callable[[Sequence[Message], bool], list[Part]]:
    def parts(messages: Sequence[Message], reply: bool) -> list[Part]:
        system, turns = _with_system(messages, default)
        said = [Message("system", system), *turns] if system is not None else turns
        out: list[Part] = []
        for one in said:
            learnt = one.role == "assistant"
            out += [Part("<|im_start|>", True), Part(f"{one.role}\n")]
            out += [Part(one.text, learnt=learnt), Part("<|im_end|>", True, learnt), Part("\n")]
        return [*out, Part("<|im_start|>", True), Part("assistant\n")] if reply else out

    return parts


def _vicuna(messages: Sequence[Message], reply: bool) -> list[Part]:
    system, turns = _with_system(messages, VICUNA)
    out = [Part("<s>", True), Part(f"{system} ")]
    for one in turns:
        if one.role == "user":
            out.append(Part(f"USER: {one.text} ASSISTANT:"))
        else:
            out += [Part(f" {one.text}", learnt=True), Part("</s>", True, True)]
    return out


def _llama2(messages: Sequence[Message], reply: bool) -> list[Part]:
    system, turns = _with_system(messages, None)
    out: list[Part] = []
    for place, one in enumerate(turns):
        text = one.text.strip()
        if one.role == "assistant":
            out += [Part(f" {text} ", learnt=True), Part("</s>", True, True)]
            continue
        if place == 0 and system is not None:
            text = f"<<SYS>>\n{system}\n<</SYS>>\n\n{one.text}".strip()
        out += [Part("<s>", True), Part(f"[INST] {text} [/INST]")]
    return out


def _llama3(messages: Sequence[Message], reply: bool) -> list[Part]:
    def head(role: str) -> list[Part]:
        marks = Part("<|start_header_id|>", True), Part("<|end_header_id|>", True)
        return [marks[0], Part(role), marks[1], Part("\n\n")]

    out = [Part("<|begin_of_text|>", True)]
    for one in messages:
        learnt = one.role == "assistant"
        out += head(one.role)
        out += [Part(one.text.strip(), learnt=learnt), Part("<|eot_id|>", True, learnt)]
    return [*out, *head("assistant")] if reply else out


TEMPLATES: dict[str, Template] = {
    "chatml": Template(_chatml(None), ("<|im_end|>",)),
    "smollm2": Template(_chatml(SMOLLM2), ("<|im_end|>",), SMOLLM2),
    "vicuna": Template(_vicuna, ("</s>",), VICUNA),
    "llama-2": Template(_llama2, ("</s>",)),
    "llama-3": Template(_llama3, ("<|eot_id|>",)),
}
MATCHED = {  # the sha256 of templates in published files, and which of ours they are
    "fcf7a096fe99a48fd9ad2b250bf9237e96e8f48bffec1c7ea4d3f225176cd40e": "chatml",
    "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788": "smollm2",
    "b48c47f6443892716176eb200bf4ef108f64e06ca26ed0fa8ebc0a4b3992fcb2": "llama-3",
    "e8d5b5a546d3f19df16a5320c614fab05bdc4edd50e850f1afd947b503ea41cf": "llama-2",
}


def template(name: str | None) -> Template:
    """The template of that name. DataError: there is none; the message lists all."""
    if name is None:
        raise DataError(
            "the model's manifest names no chat template: it was not trained on conversations, or"
            f" say which it was trained with: {', '.join(TEMPLATES)}"
        )
    if name not in TEMPLATES:
        raise DataError(f"no chat template is called {name!r}; known: {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def matched(text: str) -> str:
    """The name of ours that a template found in a file is, letter by letter.

    DataError: it is none of those known; it is not run.
    """
    sum_of = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    found = MATCHED.get(sum_of, SUMS.get(sum_of))
    if found is None:
        raise DataError(
            f"the file's chat template ({text[:60]!r}...) is none of those known here, and those"
            f" found in files are never run; say which to use instead: {', '.join(TEMPLATES)}"
        )
    return found


def encode(parts: Sequence[Part], words: Words) -> tuple[list[int], list[bool]]:
    """The ids of a prompt, and which of them are learnt.

    Text next to text is read as one; it is cut where what is learnt begins or ends.

    DataError: the tokenizer lacks a special token of the template.
    """
    joined: list[Part] = []
    for part in parts:
        if joined and not part.special and not joined[-1].special:
            before = joined[-1]
            if before.learnt == part.learnt:
                joined[-1] = Part(before.text + part.text, learnt=part.learnt)
                continue
        joined.append(part)
    ids: list[int] = []
    learnt: list[bool] = []
    follows = False
    for part in joined:
        if part.special:
            if part.text not in words.specials:
                raise DataError(f"the template's mark {part.text!r} is no token of this tokenizer")
            new = [words.specials[part.text]]
        else:
            new = words.encode(part.text, follows=follows)
        follows = not part.special
        ids += new
        learnt += [part.learnt] * len(new)
    return ids, learnt
