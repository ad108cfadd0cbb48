"""What a net that reads words, or words beside pictures, says of fixed inputs.

Its probes and the proof of an export compare all of it: the states, the pooled vector, and what
every head answers.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sensorium.data.patched import drawn_patches, lay_patches
from sensorium.data.ragged import lay
from sensorium.data.regions import Looked, lay_regions
from sensorium.forms.align_fuse import AlignFuse
from sensorium.nn.answering import Told
from sensorium.nn.crops import Crops
from sensorium.nn.embed import PatchEmbed
from sensorium.nn.heads import HIDDEN, STATES, Task
from sensorium.nn.patched import PatchedEmbed
from sensorium.nn.regions import Look
from sensorium.nn.words import WithTasks, WordEmbed
from sensorium.types import (
    Fuses,
    Ids,
    Joint,
    JointPair,
    Phrases,
    Pictured,
    Ragged,
    Reads,
    Tokens,
)
from sensorium.weights.errors import WeightsError

Shown = Looked | Tensor  # one picture's regions, or its pixels
COUNTS = (3, 7, 1)  # regions of drawn pictures
PLAIN = ((5, 3, 8, 1, 9, 11, 4), (2, 7, 7, 6), (10, 2))  # ids, where there is no tokenizer


class Sight(NamedTuple):
    """What a net's picture part reads: regions of `size` numbers, pictures of any shape in patches
    of `size` pixels (`most` of them, if there is a limit), or squares of `size` pixels."""

    kind: Literal["regions", "patches", "pixels"]
    size: int
    most: int | None = None


def understands(net: nn.Module) -> bool:
    """Whether a net reads words, alone or beside pictures."""
    return isinstance(net, (Reads, Fuses))


def sight(net: nn.Module) -> Sight | None:
    """What a net that fuses reads a picture as; None: it reads words alone.

    Raises:
        WeightsError: its picture part is of no kind that is known.
    """
    if not isinstance(net, Fuses):
        return None
    parts = list(net.get_submodule("image").modules())
    for part in parts:
        if isinstance(part, Crops):
            return Sight("regions", 3 * part.side**2)
    for part in parts:
        if isinstance(part, Look):
            return Sight("regions", part.proj.in_features)
        if isinstance(part, PatchedEmbed):
            return Sight("patches", part.patches.patch, part.most)
        if isinstance(part, PatchEmbed):
            return Sight("pixels", part.grid * part.patches.patch)
    raise WeightsError("it is not known what this net's picture part reads: no probe can be made")


def fixed_texts(net: nn.Module) -> list[list[int]]:
    """Texts of unlike lengths as ids that the net has; one ends in its last id."""
    (words,) = [part for part in net.modules() if isinstance(part, WordEmbed)][:1]
    tasks = sum(p.tasks.num_embeddings for p in net.modules() if isinstance(p, WithTasks))
    vocab = words.word.num_embeddings
    texts = [[i % vocab for i in text[: words.length]] for text in PLAIN]
    texts[0][-1] = vocab + tasks - 1
    return texts


def drawn(seen: Sight, number: int) -> dict[str, Tensor]:
    """A picture as the net reads it, drawn from its number: what a probe keeps of it."""
    g = torch.Generator().manual_seed(number)
    if seen.kind == "regions":
        r = COUNTS[number % len(COUNTS)]
        near, far = torch.rand(r, 2, generator=g) / 2, torch.rand(r, 2, generator=g) / 2 + 0.5
        features = torch.rand(r, seen.size, generator=g)
        return {"features": features, "boxes": torch.cat([near, far], dim=1)}
    rows, columns = (1, 1) if seen.kind == "pixels" else (2 + number % 2, 3)
    sides = (3, seen.size * rows, seen.size * columns)
    return {"pixels": 2 * torch.rand(sides, generator=g) - 1}


def shown(kept: dict[str, Tensor]) -> Shown:
    """A picture from what a probe keeps of it."""
    return kept["pixels"] if "pixels" in kept else Looked(kept["features"], kept["boxes"])


def flipped(picture: Shown) -> Shown:
    """Another picture, for heads that are asked about two: the regions in reverse, or mirrored."""
    if isinstance(picture, Tensor):
        return picture.flip(-1)
    return picture._replace(features=picture.features.flip(0))


def laid(pictures: Sequence[Shown], seen: Sight) -> Pictured:
    """Pictures as a batch of what the net reads."""
    if seen.kind == "regions":
        return lay_regions([one for one in pictures if isinstance(one, Looked)])
    pixels = [one for one in pictures if isinstance(one, Tensor)]
    if seen.kind == "pixels":
        return torch.stack(pixels)
    patches = lay_patches(pixels, seen.size)
    if seen.most is None:
        return patches
    return drawn_patches(patches, seen.most, torch.Generator().manual_seed(0))


@torch.inference_mode()
def said(
    net: nn.Module, texts: Sequence[Sequence[int]], pictures: Sequence[Shown]
) -> dict[str, Tensor]:
    """The states of words and pictures, the pooled vectors, and the answer of each head.

    The second half of each text is its second segment, where the net has two. Behind a head's
    numbers stands the largest of the pooled ones: a lone number near 0 is held against that.

    Raises:
        WeightsError: the net reads no words.
    """
    text, seen = placed(segmented(net, texts), net), sight(net)
    if isinstance(net, Reads):
        read = net.read(text)
        states: dict[str, Tokens | Tensor] = {"text": read.text, "pooled": read.pooled}
        asked: dict[type, object] = {}
    elif isinstance(net, Fuses) and seen is not None:
        image = placed(laid(pictures, seen), net)
        second = placed(laid([flipped(one) for one in pictures], seen), net)
        joint, each = Joint(image, text), torch.arange(len(texts), device=text.ids.device)
        fused = net.fuse(joint)
        states = {"text": fused.text, "image": fused.image, "pooled": fused.pooled}
        asked = {Joint: joint, JointPair: JointPair(image, second, text)}
        asked |= {Phrases: Phrases(joint, text.rows[:, 0], each), Told: Told(joint, text, each)}
    else:
        raise WeightsError("a probe asks what a net reads, and this model reads no words")
    out = {name: x.x.flatten(0, 1) if isinstance(x, Tokens) else x for name, x in states.items()}
    largest = out["pooled"].abs().max()[None]
    for name, head in net.heads.items():
        if isinstance(head, Task):
            answer = net.ask(name, asked[head.asks])  # type: ignore[union-attr]
        else:
            answer = head(first(states[STATES[name]]))
        out[f"head {name}"] = torch.cat([answer.flatten(), largest])
    if isinstance(net, AlignFuse) and net.temperature is not None:
        vectors = {
            "image vector": net.embed_image(joint.image),
            "text vector": net.embed_text(text),
        }
        out |= vectors | {"temperature": net.get_parameter("temperature").clone()}
    return {name: told(x) for name, x in out.items()}


def segmented(net: nn.Module, texts: Sequence[Sequence[int]]) -> Ids:
    """Texts end to end, in two segments where the net has them."""
    types = [p.segment.num_embeddings for p in net.modules() if isinstance(p, WordEmbed)]
    two = bool(types) and types[0] > 1
    kinds = [[int(two and j > len(one) // 2) for j in range(len(one))] for one in texts]
    return lay([list(one) for one in texts], kinds=kinds)


def first(states: Tokens | Tensor) -> Tensor:
    """The state of each sample's first token, or the vectors as they are."""
    if isinstance(states, Tensor):
        return states
    if isinstance(states.at, Ragged):
        return states.x[0, states.at.rows[:, 0]]
    return states.x[:, 0]


def told(x: Tensor) -> Tensor:
    """Numbers to compare: nothing where no region is, halves as float32."""
    x = torch.where(x > HIDDEN / 2, x, torch.zeros_like(x)).cpu()
    return x if x.dtype == torch.float64 else x.float()


def placed(batch: Any, net: nn.Module) -> Any:
    """A batch on the net's device, numbers in its precision."""
    parameter = next(net.parameters())

    def put(x: Tensor) -> Tensor:
        return x.to(parameter.device, parameter.dtype if x.is_floating_point() else None)

    return tree_map(lambda x: put(x) if isinstance(x, Tensor) else x, batch)
