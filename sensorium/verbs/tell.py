"""What models say of a picture: an answer to a question, put to several side by side, a caption."""

from collections.abc import Callable, Sequence
from typing import Any

from sensorium.data.conversations import PLAIN
from sensorium.forms.gated import Gated
from sensorium.media import Source, read_image_bytes
from sensorium.nn.generate.speaks import How
from sensorium.verbs.model import Model
from sensorium.verbs.shown import shows
from sensorium.verbs.speak import Reply

ASKED = "Describe the image briefly."
BRIEF = How(max_tokens=20)  # OpenFlamingo's captions; its answers have 5 tokens at most
SHORT = How(max_tokens=128)  # of a caption or an answer: what LLaVA's own evaluation allows


def say_of(
    model: Model,
    image: Source,
    words: str,
    settings: How = SHORT,
    template: str | None = None,
) -> Reply:
    """What a model that reads pictures among words says to a picture and a text.

    Raises:
        ValueError: it reads none, or as `Model.chat`.
    """
    if not shows(model.net):
        raise ValueError("this model does not talk about pictures")
    shown = {"type": "image", "image": read_image_bytes(image) if isinstance(image, str) else image}
    parts = [shown, {"type": "text", "text": words}]
    talk = model.talk(template).stream([{"role": "user", "content": parts}], settings)
    return next(bit.reply for bit in talk if bit.reply)


def told_by(model: Model, image: Source, words: str, settings: How) -> str:
    """What a Flamingo writes behind a picture and words, up to the end of the chunk."""
    shown = read_image_bytes(image) if isinstance(image, str) else image
    (reply,) = model.teller().generate([[shown, words]], settings)
    return reply.text.strip()


def caption(
    model: Model,
    image: Source,
    words: str | None = None,
    settings: How = SHORT,
    template: str | None = None,
    shots: Sequence[tuple[Source, str]] = (),
) -> str:
    """What a picture shows, in words.

    Args:
        words: what is asked for; a model that was trained on captions alone is asked nothing.
        shots: pictures with what is said of them, which a Flamingo is shown first.

    Raises:
        ValueError: the model does not talk about pictures, or learns nothing from examples.
    """
    if isinstance(model.net, Gated) and not shots:
        return told_by(model, image, words or "Output:", settings)
    if isinstance(model.net, Gated):
        teller = model.teller()
        examples = [(read_image_bytes(at) if isinstance(at, str) else at, t) for at, t in shots]
        shown = read_image_bytes(image) if isinstance(image, str) else image
        asked = teller.shown(examples, shown, f"{words or 'Output:'}{{}}")
        return teller.generate([asked], settings)[0].text.strip()
    if shots:
        raise ValueError("--shots: only a Flamingo learns from examples in its prompt")
    alone = (template or model.manifest.get("chat")) == PLAIN
    return say_of(model, image, words or ("" if alone else ASKED), settings, template).text


def captioned(open_: Callable[[Any], Model], options: Any) -> dict[str, Any]:
    """What `sensorium caption` says of each picture; examples are checked before a model is opened.

    ValueError: as `caption` and `examples`.
    """
    shots = examples(options.shots)
    model, ask, template = open_(options), options.ask, options.template
    return {at: caption(model, at, ask, template=template, shots=shots) for at in options.images}


def examples(said: Sequence[str]) -> list[tuple[Source, str]]:
    """PICTURE=WORDS texts as pictures with their words. ValueError: one is not of that form."""
    out: list[tuple[Source, str]] = []
    for one in said:
        at, _, words = one.partition("=")
        if not at or not words.strip():
            raise ValueError(f"--shots {one}: write PICTURE=WORDS, as in a.jpg='two cats'")
        out.append((at, words.strip()))
    return out


def answered(
    model: Model, image: str, question: str, template: str | None = None
) -> dict[str, Any]:
    """A model's answer to a question about a picture; with its probability where it chooses one.

    `template` names the chat template, where the model's manifest names none.
    """
    if not question.strip():
        raise ValueError("the question is empty: ask something")
    if isinstance(model.net, Gated):
        asked = f"Question:{question.strip()} Short answer:"
        return {"answer": told_by(model, image, asked, BRIEF)}
    if shows(model.net):
        named = None if model.manifest.get("chat") else template
        return {"answer": say_of(model, image, question, template=named).text}
    best, share = next(iter(model.ask(image, question).items()))
    return {"answer": best, "probability": round(share, 6)}


def beside(
    models: Sequence[tuple[str, Model]], image: str, question: str, template: str | None = None
) -> dict[str, Any]:
    """The answers of several models to one question, by the models' names."""
    return {name: answered(model, image, question, template) for name, model in models}
