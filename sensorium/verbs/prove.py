"""A checkpoint proves itself: it gives again, from raw inputs, what it gave when it was saved."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sensorium.models.detector_regions import detector, detects, fixed
from sensorium.models.fused import understands
from sensorium.models.scored import IDS, scored, writes
from sensorium.types import Classifies, Embeds
from sensorium.verbs.model import Model
from sensorium.verbs.reading import answer_of_reading, probes_of_reading
from sensorium.verbs.shown import answer_of_shown, inputs_of_shown, reads
from sensorium.verbs.speech.probe import heard, listens, sounds
from sensorium.weights.errors import WeightsError
from sensorium.weights.probes import Drift, Probe, verify

FAST = 2  # probes that every load runs
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float64: "float64"}


def answer(model: Model, probe: Probe) -> dict[str, Tensor]:
    """What the model says to a probe's inputs: the decoded picture or the ids, then the vector."""
    if probe.verb == "embed_text":
        text = str(probe.inputs["text"])
        if model.tokenizer is None:
            raise WeightsError("a probe asks for a text's vector, but the model has no tokenizer")
        ids = torch.tensor(model.tokenizer.encode(text))
        return {"ids": ids, "vector": torch.from_numpy(model.embed(texts=[text])[0])}
    if probe.verb == "score":
        ids = [int(one) for one in str(probe.inputs["ids"]).split()]
        if model.words is not None:
            ids = model.words.encode(str(probe.inputs["text"]))
        last = scored(model.net, [ids])[-1].float().cpu()
        return {"ids": torch.tensor(ids), "logits": last}
    if probe.verb == "hear":
        sound = probe.inputs["sound"]
        return heard(model.net, sound if isinstance(sound, bytes) else str(sound).encode())
    if probe.verb == "show":
        return answer_of_shown(model, probe)
    if probe.verb in ("read", "fuse"):
        return answer_of_reading(model, probe)
    image = probe.inputs["image"]
    if not isinstance(image, bytes):
        raise WeightsError(f"probe {probe.verb}: its picture is not given as bytes")
    pixels = {"pixels": model.transform(image)}
    if probe.verb == "detect":
        return pixels | fixed(detector(model.net), pixels["pixels"])
    if probe.verb == "embed_image":
        return pixels | {"vector": torch.from_numpy(model.embed(images=[image])[0])}
    if probe.verb == "classify":
        return pixels | {"shares": torch.from_numpy(model.classify([image])[0])}
    raise WeightsError(f"a probe asks for {probe.verb!r}, which this library does not know")


def prove(
    model: Model, probes: Sequence[Probe], each: Callable[[], None] = lambda: None
) -> list[Drift]:
    """The drift of every value of every probe, in the model's precision."""

    def run(probe: Probe) -> dict[str, Tensor]:
        each()
        return answer(model, probe)

    dtype = next(model.net.parameters()).dtype
    return verify(probes, run, NAMES.get(dtype, str(dtype)))


def probes_of(
    model: Model, images: Sequence[bytes], texts: Sequence[str], source: str
) -> list[Probe]:
    """Probes made from a model's own answers to raw pictures and texts, the two kinds in turn."""
    if writes(model.net):
        numbers = [" ".join(map(str, one)) for one in IDS]
        given = texts if model.words is not None else [""] * len(numbers)
        pairs = [{"text": t, "ids": n} for t, n in zip(given, numbers, strict=False)]
        asked = [Probe("score", inputs, {}, source) for inputs in pairs]
        return [p._replace(values=answer(model, p)) for p in asked]
    if reads(model.net):
        asked = [Probe("show", one, {}, source) for one in inputs_of_shown(model, images, texts)]
        return [p._replace(values=answer(model, p)) for p in asked]
    if listens(model.net):
        asked = [Probe("hear", {"sound": sound}, {}, source) for sound in sounds()]
        return [p._replace(values=answer(model, p)) for p in asked]
    if understands(model.net):
        asked = probes_of_reading(model, images, texts, source)
        return [p._replace(values=answer(model, p)) for p in asked]
    verb = "classify" if isinstance(model.net, Classifies) else "embed_image"
    verb = "detect" if detects(model.net) else verb
    asked = [Probe(verb, {"image": image}, {}, source) for image in images]
    spoken = [Probe("embed_text", {"text": text}, {}, source) for text in texts]
    if not isinstance(model.net, Embeds):
        spoken = []
    turns = [p for pair in zip(asked, spoken, strict=False) for p in pair]
    rest = asked[len(spoken) :] + spoken[len(asked) :]
    return [p._replace(values=answer(model, p)) for p in turns + rest]


def refuse_drift(drifts: Sequence[Drift], folder: Path) -> None:
    """Raises WeightsError if a value has moved out of its tolerance."""
    bad = [d for d in drifts if not d.ok]
    if bad:
        named = "; ".join(
            f"{d.name} moved by {d.drift:.1e} (allowed {d.tolerance:.0e})" for d in bad
        )
        raise WeightsError(
            f"{folder}: the model does not give the outputs it was saved with: {named}. The files "
            "or this machine's libraries differ from what it was made with; run: sensorium verify"
        )
