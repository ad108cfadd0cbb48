"""Questions about pictures, asked of a loaded model that answers them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_map

from sensorium.data.questions import Box, Question
from sensorium.data.ragged import lay
from sensorium.data.tokenizers import Tokenizer, WordPiece
from sensorium.media import Source, read_image_bytes, transform
from sensorium.models.question_inputs import Features, Item, QuestionInputs, Sees
from sensorium.nn.answering import OfAnswers
from sensorium.nn.heads import Task
from sensorium.types import Fuses, Ids, Joint, JointPair

BATCH = 64
SCORES = ("softmax", "sigmoid", "decoder", "places", "match")
NAME = "the question"


class Asking(NamedTuple):
    """What a manifest says under "asking": how a net is asked, and how it answers.

    Attributes:
        sees: how it sees a picture.
        head: the head that answers.
        scores: "softmax" (one answer is right), "sigmoid" (each by itself), "decoder" (answers are
            read word by word), "places" (one of the picture's regions is right, by its place),
            "match" (how well the text goes with the picture: the last of the head's numbers).
    """

    sees: Sees
    head: str
    scores: str

    def spec(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**self.sees._asdict(), "head": self.head, "scores": self.scores}


def said(manifest: Mapping[str, Any]) -> Asking:
    """How a model is asked.

    Raises:
        ValueError: it answers no questions, or the manifest says so in a way that means nothing.
    """
    spec = manifest.get("asking")
    if not isinstance(spec, dict):
        raise ValueError(
            "this model answers no questions: its manifest does not say how it is asked; train one"
            " with `sensorium train vqa`"
        )
    if spec.keys() != {"picture", "words", "patch", "head", "scores"}:
        raise ValueError(f"the manifest's 'asking' has the values {sorted(spec)}")
    kinds = [("picture", ("pixels", "patches", "crops", "features")), ("scores", SCORES)]
    for key, known in [*kinds, ("words", ("plain", "masked", "clean"))]:
        if spec[key] not in known:
            raise ValueError(f"the manifest's 'asking': {key} {spec[key]!r:.40} is none of {known}")
    patch, head = spec["patch"], spec["head"]
    if type(patch) is not int or not 0 <= patch <= 4096 or not isinstance(head, str):
        raise ValueError(f"the manifest's 'asking': patch {patch!r:.40}, head {head!r:.40}")
    return Asking(Sees(spec["picture"], spec["words"], patch), head, spec["scores"])


class Asker:
    """A net with its inputs and its answers.

    Raises:
        ValueError: the model answers no questions, or lacks its words, answers or transform.
    """

    def __init__(
        self,
        net: nn.Module,
        words: Tokenizer | None,
        manifest: Mapping[str, Any],
        features: Mapping[str, Sequence[Features]] | None = None,
    ):
        self.how = said(manifest)
        self.answers: tuple[str, ...] = tuple(manifest.get("labels") or [])
        known = bool(self.answers) or self.how.scores == "places"
        if not isinstance(net, Fuses) or not isinstance(words, WordPiece) or not known:
            raise ValueError("this model lacks its words or its answers: it cannot be asked")
        spec = manifest.get("transform")
        look = None if spec is None else transform(spec)
        if look is None and self.how.sees.picture != "features":
            raise ValueError("this model lacks the transform of its pictures: it cannot be asked")
        self.net, self.words = net, words
        self.inputs = QuestionInputs(look, words, self.how.sees, features)
        self.known = lay([told(words, answer) for answer in self.answers or ("",)])

    def shares(self, samples: Sequence[Question], batch: int = BATCH) -> Float[np.ndarray, "b v"]:
        """The probability of each answer to each question; of "sigmoid" each by itself."""
        parts = [
            self.of([self.inputs(one) for one in samples[i : i + batch]])
            for i in range(0, len(samples), batch)
        ]
        most = max((part.shape[1] for part in parts), default=0)
        filled = [functional.pad(part, (0, most - part.shape[1])) for part in parts]
        return torch.cat(filled).cpu().numpy()

    @torch.no_grad()
    def of(self, items: Sequence[Item]) -> Float[Tensor, "b v"]:
        """The same of questions that were read."""
        return self.answer(self.placed(self.inputs.joint(items)))

    @torch.no_grad()
    def answer(self, joint: Joint | JointPair) -> Float[Tensor, "b v"]:
        """The same of a batch."""
        if self.how.scores != "decoder":
            logits = self.logits(joint)
            if self.how.scores == "match":
                return logits.softmax(dim=1)[:, 1:] if logits.shape[1] > 1 else logits.sigmoid()
            return logits.sigmoid() if self.how.scores == "sigmoid" else logits.softmax(dim=1)
        head = self.net.heads[self.how.head]
        if not isinstance(head, OfAnswers) or not isinstance(joint, Joint):
            raise ValueError(f"the head {self.how.head!r} reads no answers word by word")
        answers: Ids = self.placed(self.known)
        ids, shares = head.rank(self.net.fuse, joint, answers, len(self.answers))
        return torch.zeros_like(shares, dtype=torch.float32).scatter_(1, ids, shares.float())

    def logits(self, joint: Any) -> Float[Tensor, "b v"]:
        """The numbers of the head, which is asked with the batch, or given the pooled vector."""
        head = self.net.heads[self.how.head]
        if isinstance(head, Task):
            return wide(self.net.ask(self.how.head, joint))
        return wide(head(self.net.fuse(joint).pooled))

    @torch.no_grad()
    def match(
        self,
        images: Sequence[bytes],
        texts: Sequence[str],
        see: Callable[[Sequence[Question]], Sequence[Question]] = lambda some: some,
    ) -> Float[np.ndarray, " b"]:
        """How well each picture goes with its text; regions are those of the picture's digest.

        `see` gives a batch its regions, where they are not known beforehand.
        """
        out = []
        for i in range(0, len(texts), BATCH):
            pairs = zip(images[i : i + BATCH], texts[i : i + BATCH], strict=True)
            some = see([Question((image,), text, (), digest(image), "") for image, text in pairs])
            joint = self.placed(self.inputs.joint([self.inputs(one) for one in some]))
            said = self.logits(joint)
            out.append(said[:, -1] - (said[:, 0] if said.shape[1] > 1 else 0))
        return torch.cat(out).double().cpu().numpy()

    def placed(self, batch: Any) -> Any:
        """A batch on the net's device, numbers in its precision."""
        parameter = next(self.net.parameters())  # type: ignore[attr-defined]

        def put(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            return x.to(parameter.device, parameter.dtype if x.is_floating_point() else None)

        return tree_map(put, batch)

    def ask(
        self,
        image: Source,
        question: str,
        boxes: Sequence[Box] | None = None,
        features: Features | None = None,
    ) -> dict[str, float]:
        """The answers to one question, likeliest first; of "places" the regions by their number.

        Raises:
            ValueError: the question is empty or too long; the picture cannot be read; the net sees
                regions and none are given, or regions are given and it sees pixels.
        """
        item = self.item(image, question, boxes, features)
        if self.how.scores == "places" and len(item.pictures[0].boxes) == 0:
            raise ValueError("none of no regions can be meant: give at least one box")
        shares = self.of([item])[0].cpu().numpy()
        names = self.answers or tuple(map(str, range(len(shares))))
        return {names[i]: float(shares[i]) for i in shares.argsort(kind="stable")[::-1]}

    def item(
        self,
        image: Source,
        question: str,
        boxes: Sequence[Box] | None = None,
        features: Features | None = None,
    ) -> Item:
        """One question, read; errors as in `ask`."""
        if not isinstance(question, str) or not question.strip():
            raise ValueError("the question is empty: ask something")
        told = self.inputs.worded(question)
        if not told.strip():
            raise ValueError(f"the question {question!r:.40} holds no words that this model reads")
        count = len(self.words.ids(told, NAME)) + (4 if self.how.sees.words == "masked" else 2)
        if count > self.words.length:
            raise ValueError(
                f"the question has {count} tokens, special ones included, and this model reads"
                f" {self.words.length}: shorten it"
            )
        picture = self.how.sees.picture
        given = {"crops": boxes is not None, "features": features is not None}
        if any(given[key] for key in given if key != picture):
            raise ValueError(f"this model sees {picture}: what was given is something else")
        if picture in given and not given[picture]:
            raise ValueError(
                f"this model sees regions ({picture}): give their boxes, a detector that finds"
                " them, or a file of them"
            )
        if features is not None:
            return Item((features,), self.inputs.encode(question, NAME))
        own = () if boxes is None else (tuple(boxes),)
        data = read_image_bytes(image)  # type: ignore[arg-type]
        return self.inputs(Question((data,), question, (), NAME, NAME, boxes=own))


def wide(x: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
    """In at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def digest(image: bytes) -> str:
    """What names a picture by its content."""
    return hashlib.sha256(image).hexdigest()


def told(words: WordPiece, answer: str) -> list[int]:
    """An answer as a decoder of answers reads it: [CLS] answer [SEP]."""
    return [words.sot, *words.ids(answer), words.eot]
