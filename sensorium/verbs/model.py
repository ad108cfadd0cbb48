"""A loaded model: its net, its transform, its tokenizer, and what users do with them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.data.questions import Box
from sensorium.data.ragged import lay
from sensorium.data.tokenizers import Tokenizer
from sensorium.data.tokenizers.words import Words
from sensorium.forms.gated import Gated
from sensorium.forms.prefix import Prefix
from sensorium.media import Source, Transform
from sensorium.media.audio import AudioSource
from sensorium.models.scored import writes
from sensorium.nn.lowbit import lowered, size_of
from sensorium.nn.swift import Swift, swift
from sensorium.types import Classifies, Embeds
from sensorium.verbs.ask import Asker
from sensorium.verbs.fast import prepared, stamp, supported
from sensorium.verbs.shots import Teller
from sensorium.verbs.sight import Sight
from sensorium.verbs.speak import Beams, Bit, Chat, Prompt, Reply, generate, how, search
from sensorium.verbs.speech.live import Heard, live
from sensorium.verbs.speech.longform import settings
from sensorium.verbs.speech.result import Failure, Transcript
from sensorium.verbs.speech.run import BATCH as WINDOWS
from sensorium.verbs.speech.run import aligned_heads, hearing, transcribe
from sensorium.verbs.turns import Turns

BATCH = 64


class Model:
    """What `sensorium.load` gives. Pictures may be paths, bytes, PIL images or uint8 arrays.

    Args:
        net: on its device, in its precision, in evaluation mode.
        transform: None for a model that reads no pictures.
        manifest: of the checkpoint; `labels` names the classes of a classifier, `chat` the chat
            template of a language model.
        words: a language model's tokenizer.
    """

    def __init__(
        self,
        net: nn.Module,
        transform: Transform | None,
        tokenizer: Tokenizer | None,
        manifest: dict[str, Any],
        folder: Path | None = None,
        words: Words | None = None,
    ):
        self.net, self._transform, self.tokenizer = net.eval(), transform, tokenizer
        self.words = words
        self.manifest, self.folder = manifest, folder
        self._twin: tuple[Any, nn.Module] | None = None
        self._voice: tuple[Any, int | None, Any] | None = None

    @property
    def transform(self) -> Transform:
        """From a picture to what the net reads. ValueError: the model reads no pictures."""
        if self._transform is None:
            raise ValueError("this model reads no pictures: its manifest names no transform")
        return self._transform

    def prepare(self) -> bool:
        """Lays the weights out for inference (see `verbs.fast`), at twice their memory.

        From then on `embed`, `classify` and `transcribe` use them. In bfloat16 `sensorium.load`
        does it unasked. Gives False, and nothing changes, where it is not possible: see
        `fast.supported`. A language model needs no more memory: see `quicken`.
        """
        if writes(self.net) or isinstance(self.net, Prefix):
            self.quicken()
            return self._voice is not None and isinstance(self._voice[2], Swift)
        if not supported(self.net):
            self._twin = None
            return False
        self._twin = stamp(self.net), prepared(self.net)
        return True

    def embed(
        self,
        images: Sequence[Source] | None = None,
        texts: Sequence[str] | None = None,
        batch: int = BATCH,
    ) -> Float[np.ndarray, "b e"]:
        """Unit vectors of pictures or of texts, in the order given.

        Raises:
            ValueError: both or neither are given; a picture cannot be read (it is named); a text is
                too long; the model has no shared space.
        """
        if (images is None) == (texts is None):
            raise ValueError("embed takes either images or texts, one of the two")
        net = self._ready()
        if not isinstance(net, Embeds):
            raise ValueError("this model is a classifier: it has no space of pictures and texts")
        if images is not None:
            return self._run(self._pictures, net.embed_image, listed(images, "images"), batch)
        texts = worded(texts, "texts")
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # like lengths together
        vectors = self._run(self._texts, net.embed_text, [texts[i] for i in order], batch)
        out = np.empty_like(vectors)
        out[order] = vectors
        return out

    def classify(
        self,
        images: Sequence[Source],
        labels: Sequence[str] | None = None,
        templates: Sequence[str] = ("a photo of a {}.",),
        batch: int = BATCH,
    ) -> Float[np.ndarray, "b v"]:
        """The probability of each label for each picture; rows add up to 1.

        A dual encoder takes any labels: each is put into every template's {}, and the mean of those
        texts' vectors stands for it (CLIP, section 3.1.4). A classifier knows its own labels.

        Raises:
            ValueError: labels are missing, repeated, or not this classifier's; a template without
                {}.
        """
        images = listed(images, "images")
        net = self._ready()
        if isinstance(net, Classifies):
            if labels is not None:
                raise ValueError("a classifier answers in its own labels: leave `labels` out")
            logits = self._run(self._pictures, net.classify, images, batch)
            return torch.from_numpy(logits).softmax(dim=-1).numpy()
        vectors = self.class_vectors(checked_labels(labels), templates)
        scale = float(self.net.get_parameter("log_scale").detach().exp())
        logits = torch.from_numpy(scale * self.embed(images=images, batch=batch) @ vectors.T)
        return logits.softmax(dim=-1).numpy()

    def ask(
        self, image: Source, question: str, boxes: Sequence[Box] | None = None
    ) -> dict[str, float]:
        """The answers to a question about a picture with their probabilities, likeliest first.

        `boxes` in pixels, for a model that sees what boxes cut out.

        Raises:
            ValueError: see `verbs.ask.Asker`.
        """
        return Asker(self.net, self.tokenizer, self.manifest).ask(image, question, boxes)

    def class_vectors(
        self, labels: Sequence[str], templates: Sequence[str]
    ) -> Float[np.ndarray, "v e"]:
        """One unit vector a label: the mean over the templates of the texts' unit vectors."""
        templates = worded(templates, "templates")
        bad = [t for t in templates if "{}" not in t]
        if bad or not templates:
            raise ValueError(f"every template needs a {{}} where the label goes: {bad or 'none'}")
        texts = [t.replace("{}", label) for label in labels for t in templates]
        mean = self.embed(texts=texts).reshape(len(labels), len(templates), -1).mean(axis=1)
        return mean / np.linalg.norm(mean, axis=-1, keepdims=True)

    def generate(
        self,
        prompts: Prompt | Sequence[Any],
        n: int = 1,
        stop: Sequence[str] = (),
        beams: int | None = None,
        penalty: float = 1.0,
        **said: Any,
    ) -> list[Reply]:
        """Continues texts (or lists of ids), each `n` times; all of them together.

        A Flamingo's prompts may be lists of texts and pictures, in order: see `verbs.shots.Teller`.

        Args:
            stop: texts before which a reply ends.
            beams: texts that a beam search keeps; its best `n` are given. Nothing is drawn.
            penalty: of a beam's length: 0 ranks by the sum of log p, 1 by the mean.
            said: max_tokens, temperature, top_k, top_p, min_p, repetition, seed: see
                `nn.generate.speaks.How`. Without any, the most likely token is taken.

        Raises:
            ValueError: the model is no language model; a prompt is empty or too long; a setting is
                unknown or means nothing.
        """
        many = not isinstance(prompts, str) and not all(isinstance(p, int) for p in prompts)
        asked: Any = prompts if many else [prompts]
        if isinstance(self.net, Gated):
            return self.teller().continued(asked, how(said), n, stop, beams, penalty)
        if beams is None:
            return generate(self._speaking(), self.words, asked, how(said), n, stop)
        if stop:
            raise ValueError("a beam search knows no stop strings: leave out stop, or beams")
        with_beams = Beams(beams, penalty)
        return search(self._speaking(), self.words, asked, how(said), with_beams, n)

    def teller(self) -> Teller:
        """Prompts of words and pictures. ValueError: the model reads none like that."""
        if not isinstance(self.net, Gated):
            raise ValueError("this model reads no pictures among words: it is no Flamingo")
        return Teller(self.net, self.transform, self.words)

    def chat(self, messages: Any, stop: Sequence[str] = (), **said: Any) -> Reply:
        """The assistant's next turn in a conversation in OpenAI's form.

        `messages` is a list of {"role": ..., "content": ...}. Text in it never becomes a special
        token. A content may be a list of parts, pictures among them, where the model reads any: see
        `data.conversations.pictured`. `said` as in `generate`.

        Raises:
            ValueError: as `generate`; the conversation is not sound, or the model has no template.
        """
        return next(bit.reply for bit in self.talk().stream(messages, how(said), stop) if bit.reply)

    def stream(self, messages: Any, stop: Sequence[str] = (), **said: Any) -> Iterator[Bit]:
        """As `chat`, piece by piece; the last piece has the whole reply."""
        return self.talk().stream(messages, how(said), stop)

    def talk(self, template: str | None = None) -> Chat | Turns:
        """A conversation that keeps what was read, for many turns.

        `template` names the chat template, where the manifest names none; of a Flamingo see
        `verbs.turns.Turns`.
        """
        if isinstance(self.net, Gated):
            return Turns(self.teller(), template)
        sight = None
        if isinstance(self.net, Prefix):
            sight = Sight(self.net, self.transform)
        return Chat(self._speaking(), self.words, template or self.manifest.get("chat"), sight)

    def quicken(self, bits: int | None = None) -> dict[str, Any]:
        """Says tokens faster from now on, by a kernel of our own where one can be compiled here.

        Args:
            bits: keep the weights in 8 or 4 bits for saying; None: as they are, the same function.

        Returns:
            Whether the kernel is used, bytes of the weights, and the largest and mean error of a
            layer: the root of the mean square of what rounding changed, over that of its weight.
        """
        if bits is not None and isinstance(self.net, Gated):
            raise ValueError("a Flamingo's weights are not kept in fewer bits: leave out --bits")
        own = self.net.decoder if isinstance(self.net, Prefix) else self.net
        found = None if bits is None else lowered(own, bits)
        net = own if found is None else found.net
        quick = swift(net)
        self._voice = stamp(self.net), bits, quick if quick is not None else net
        report: dict[str, Any] = {"kernel": quick is not None, "bytes": size_of(net)}
        if found is not None:
            errors = list(found.errors.values())
            report |= {"error": {"largest": max(errors), "mean": sum(errors) / len(errors)}}
        return report

    def _speaking(self) -> Any:
        """What texts are said by; made anew if the net's weights changed."""
        if self._voice is None:
            return self.net
        if self._voice[0] != stamp(self.net):
            self.quicken(self._voice[1])
        return self._voice[2]

    def transcribe(
        self,
        sounds: Sequence[AudioSource],
        batch: int = WINDOWS,
        progress: Callable[[int, int], None] | None = None,
        **said: Any,
    ) -> list[Transcript | Failure]:
        """What is said in recordings, in their order: text, segments, words, language.

        A recording that cannot be read gives a `Failure` in its place, and the others go on.

        Args:
            sounds: paths, files as bytes, or mono arrays of 16 kHz.
            batch: windows of 30 s that are worked on together.
            progress: called with how many recordings are done, and of how many.
            said: language, task, words, prompt, beams and so on: see
                `verbs.speech.longform.How`.

        Raises:
            ValueError: the model is no speech model; a setting is unknown or means nothing.
        """
        heads = aligned_heads(self.manifest["model"]["args"])
        model = hearing(self._ready(), self.words, heads)
        return transcribe(model, listed(sounds, "sounds"), settings(said), batch, None, progress)

    def live(self, blocks: Iterable[Any], step: float = 2.0, **said: Any) -> Iterator[Heard]:
        """What is said in a sound that is still coming, while it is said; memory does not grow.

        Args:
            blocks: mono samples of 16 kHz from -1 to 1, in arrays of any length.
            step: seconds after which what has come is looked at again.
            said: as in `transcribe`; there are no word times.

        Raises:
            ValueError: the model is no speech model; a setting is unknown or means nothing.
        """
        model = hearing(self._ready(), self.words, ())
        return live(model, blocks, settings(said), step)

    def fingerprint(self) -> str:
        """The weights' SHA-256, as the manifest lists it; what a score's record names it by."""
        files = self.manifest.get("files", {})
        sums = [files[name]["sha256"] for name in sorted(files) if name.startswith("model")]
        return "+".join(sums) or "not saved"

    # --- inside ----------------------------------------------------------------------------------

    def _pictures(self, images: Sequence[Source]) -> Tensor:
        return self._placed(torch.stack([self.transform(image) for image in images]))

    def _texts(self, texts: Sequence[str]) -> Any:
        if self.tokenizer is None:
            raise ValueError("this model reads no texts: its manifest names no tokenizer")
        ids = lay(self.tokenizer.encode_batch(list(texts)))
        device = self._parameter().device
        placed = {k: None if x is None else x.to(device) for k, x in ids._asdict().items()}
        return ids._replace(**placed)

    def _placed(self, x: Tensor) -> Tensor:
        return x.to(self._parameter().device, self._parameter().dtype)

    def _parameter(self) -> nn.Parameter:
        return next(self.net.parameters())

    def _ready(self) -> nn.Module:
        """The net, or its twin laid out for inference, made anew if the net's weights changed."""
        if self._twin is None:
            return self.net
        if self._twin[0] != stamp(self.net) and not self.prepare():
            return self.net
        return self._twin[1]

    @torch.inference_mode()
    def _run(self, read, verb, items: Sequence[Any], batch: int) -> np.ndarray:
        if not items:
            raise ValueError("nothing to work on: the list is empty")
        if batch < 1:
            raise ValueError(f"batch is {batch}: at least one must be taken at a time")
        parts = [verb(read(items[i : i + batch])) for i in range(0, len(items), batch)]
        return torch.cat(parts).float().cpu().numpy()


def listed(items: Any, what: str) -> list[Any]:
    """`items` as a list; a single picture or text in place of a list is refused."""
    if not isinstance(items, (Sequence, np.ndarray)) or isinstance(items, (str, bytes)):
        raise ValueError(f"{what} must be a list, even of one: {what}=[...]")
    return list(items)


def worded(items: Any, what: str) -> list[str]:
    """`items` as a list of texts."""
    out = listed(items, what)
    other = sorted({type(item).__name__ for item in out if not isinstance(item, str)})
    if other:
        raise ValueError(f"{what} must be of type str; among them are {', '.join(other)}")
    return out


def checked_labels(labels: Sequence[str] | None) -> list[str]:
    """Labels, none missing and none twice."""
    if labels is not None:
        labels = worded(labels, "labels")
    if not labels:
        raise ValueError("this model has no labels of its own: pass labels=[...] (--labels)")
    twice = sorted({x for x in labels if list(labels).count(x) > 1})
    if twice:
        raise ValueError(f"these labels are given more than once: {', '.join(twice[:5])}")
    return list(labels)
