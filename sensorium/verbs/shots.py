"""What users do with a Flamingo: prompts of words and pictures, continued or chosen behind."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sensorium.data.interleaved import CHUNK, marks
from sensorium.data.tokenizers.words import Words
from sensorium.forms.gated import Gated
from sensorium.media import Transform
from sensorium.nn.generate.beam import beam
from sensorium.nn.generate.choices import Likely
from sensorium.nn.generate.loop import Start
from sensorium.nn.generate.pick import Dice, wide
from sensorium.nn.generate.speaks import How, Request, check, laid
from sensorium.nn.pictured import Pictures
from sensorium.verbs.speak import Beams, Reply, endings, ids_of, say

NAMED = "Output:{}"  # OpenFlamingo's template of captions and of classes


class Prompt(NamedTuple):
    """Ids with a mark at each picture's place, and the pictures, in order."""

    ids: list[int]
    images: list[Any]


class Teller:
    """A Flamingo with its transform and its words.

    Args:
        words: None: prompts are ids, in which the net's mark stands for a picture.
    """

    def __init__(self, net: Gated, look: Transform, words: Words | None):
        self.net, self.look, self.words = net, look, words

    def prompt(self, of: Any) -> Prompt:
        """A prompt: a text, ids, a list of texts and pictures in order, or one made by `shown`.

        In a list a text is a text, and a path object, bytes, a PIL image or an array a picture: no
        text opens a file or becomes a mark.

        Raises:
            ValueError: it is empty, holds something else, or is in words without a tokenizer.
        """
        if isinstance(of, Prompt):
            return of
        if isinstance(of, str) or all(isinstance(one, int) for one in of):
            return Prompt(ids_of(of, self.words), [])
        words, images = self._words(), []
        ids = [words.bos] if words.begins and words.bos is not None else []
        for number, one in enumerate(of):
            if isinstance(one, str):
                ids += words.encode(one, f"part {number} of the prompt")
            elif isinstance(one, (os.PathLike, bytes, Image.Image, np.ndarray)):
                ids.append(self.net.mark)
                images.append(one)
            else:
                raise ValueError(
                    f"part {number} of the prompt is a {type(one).__name__}: texts and pictures"
                    " (path objects, bytes, PIL images, arrays) are read"
                )
        if not ids:
            raise ValueError("the prompt is empty: there is nothing to continue")
        return Prompt(ids, images)

    def shown(self, demos: Sequence[tuple[Any, str]], image: Any, template: str = NAMED) -> Prompt:
        """A few-shot prompt: pictures with what is said of them, then a picture to be told of.

        Args:
            demos: a picture and its words; None: the words alone.
            template: what surrounds the words at {}.

        Raises:
            ValueError: the template has no {}; the tokenizer is not one of a Flamingo.
        """
        if template.count("{}") != 1:
            raise ValueError(f"the template {template!r} needs one {{}} where the words go")
        words, front = self._words(), template.partition("{}")[0]
        known = marks(words)
        ids = [words.bos] if words.begins and words.bos is not None else []
        images = []
        for shown, said in demos:
            if shown is not None:
                ids.append(known.picture)
                images.append(shown)
            ids += [*words.encode(template.replace("{}", said)), known.chunk]
        ids += [known.picture, *words.encode(front)]
        return Prompt(ids, [*images, image])

    @torch.inference_mode()
    def begin(self, prompts: Sequence[Prompt], room: int) -> Start:
        """Reads prompts, every picture once."""
        parameter = next(self.net.parameters())
        text = laid([one.ids for one in prompts], parameter.device)
        cache = self.net.blank(len(prompts), room)
        images = [image for one in prompts for image in one.images]
        if not images:
            if bool((text.ids == self.net.mark).any()):
                raise ValueError("the prompt has a mark of a picture, and no picture is given")
            return Start(cache, self.net.extend(text, cache))
        pixels = self.pixels(images)
        place = (text.ids == self.net.mark).nonzero()[:, 0]
        return Start(cache, self.net.begin(Pictures(pixels, place), text, cache))

    def pixels(self, images: Sequence[Any]) -> Float[Tensor, "p c y x"]:
        """Pictures as the net reads them. MediaError: one cannot be read."""
        parameter = next(self.net.parameters())
        return torch.stack([self.look(one) for one in images]).to(parameter.device, parameter.dtype)

    def generate(
        self, prompts: Sequence[Any], settings: How, n: int = 1, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Continues every prompt (see `prompt`), `n` times; prompt by prompt.

        Raises:
            ValueError: as `nn.generate`; a prompt is not sound; a picture cannot be read.
        """
        if n < 1:
            raise ValueError(f"n is {n}: every prompt must be continued at least once")
        read = [self.prompt(one) for one in prompts]
        asked = [Request(one.ids, settings, self.ends()) for one in read]
        start = self.begin(read, check(self.net, asked))
        rows = [place for place in range(len(read)) for _ in range(n)]
        requests = [asked[row] for row in rows]
        if n > 1:
            start = Start(start.cache.take(rows), start.scores[rows])
        dice = [Dice(settings.seed, number) for _ in read for number in range(n)]
        done = {
            bit.row: bit.reply
            for bit in say(self.net, self.words, requests, stop, start, dice)
            if bit.reply is not None
        }
        return [done[row] for row in range(len(requests))]

    def continued(
        self,
        prompts: Sequence[Any],
        settings: How,
        n: int,
        stop: Sequence[str],
        beams: int | None,
        penalty: float,
    ) -> list[Reply]:
        """As `generate`, or with `beams` as `search`."""
        if beams is None:
            return self.generate(prompts, settings, n, stop)
        if stop:
            raise ValueError("a beam search knows no stop strings: leave out stop, or beams")
        return self.search(prompts, settings, Beams(beams, penalty), n)

    def search(self, prompts: Sequence[Any], settings: How, beams: Beams, n: int) -> list[Reply]:
        """The best `n` texts that a beam search finds for every prompt, best first.

        A reply's log-probabilities are one number, that of all its tokens.
        """
        if not 1 <= n <= beams.beams:
            raise ValueError(f"n is {n}: a search with {beams.beams} beams finds 1 to that many")
        read = [self.prompt(one) for one in prompts]
        asked = [Request(one.ids, settings, self.ends()) for one in read]
        start = self.begin(read, check(self.net, asked))
        out = []
        apart = set() if self.words is None else set(self.words.specials.values())
        for found in beam(self.net, asked, beams.beams, beams.penalty, start):
            for one in found[:n]:
                plain = [i for i in one.ids if i not in apart]
                text = "" if self.words is None else self.words.decode(plain)
                end = "end" if one.ended else "length"
                out.append(Reply(text.strip(), one.ids, (one.logprob,), end))
        return out

    def ends(self) -> frozenset[int]:
        """The tokens that end a reply: those of the text and of a chunk."""
        return endings(self.words, (CHUNK,))

    @torch.inference_mode()
    def likely(self, prompt: Prompt, options: Sequence[Sequence[int]]) -> list[Likely]:
        """The log-probability of every option behind a prompt, which is read once for all of them.

        Raises:
            ValueError: no options, an empty one, or one too long with the prompt.
        """
        if not options or not all(options):
            raise ValueError("a choice needs options, none of them empty")
        room = len(prompt.ids) + max(map(len, options))
        if room > self.net.length:
            raise ValueError(
                f"the prompt and an option have {room} tokens, and the model's context is"
                f" {self.net.length}: show fewer examples"
            )
        start = self.begin([prompt], room)
        first = wide(start.scores)[0].log_softmax(0)
        out = [[float(first[one[0]])] for one in options]
        long = [i for i, one in enumerate(options) if len(one) > 1]
        if long:
            parts = [options[i][:-1] for i in long]
            cache = start.cache.take([0] * len(long))
            scores = wide(self.net.extend_all(laid(parts, first.device), cache)).log_softmax(1)
            for i, rows in zip(long, scores.split([len(p) for p in parts]), strict=True):
                after = torch.tensor(options[i][1:], device=first.device)
                out[i] += rows.gather(1, after[:, None])[:, 0].tolist()
        return [Likely(tuple(one)) for one in out]

    @torch.inference_mode()
    def vectors(self, images: Sequence[Any], batch: int = 64) -> Float[np.ndarray, "n e"]:
        """Unit vectors by which like pictures are found: the mean of the tower's states."""
        parts = [
            self.net.image(self.pixels(images[i : i + batch])).float().mean(1)
            for i in range(0, len(images), batch)
        ]
        found = torch.nn.functional.normalize(torch.cat(parts), dim=1)
        return found.cpu().numpy()

    def _words(self) -> Words:
        if self.words is None:
            raise ValueError("this model has no tokenizer: give prompts as lists of ids")
        return self.words
