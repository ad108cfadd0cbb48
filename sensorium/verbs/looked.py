"""Where a net that answered a question looked: attention over the picture, as numbers and drawn.

The attention of every layer is followed from the answer back to the words and the picture that came
in: each layer passes on half of what stood there and half of what it read, heads averaged (Abnar
and Zuidema 2020, "Quantifying Attention Flow in Transformers", attention rollout). Of a net whose
words read the picture by cross-attention (ALBEF) it is Grad-CAM, as its paper has it; ViLT's words
have each a picture of their own besides (see `pointed`).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sensorium.media import Source, open_image
from sensorium.models.question_inputs import Item
from sensorium.nn.attention import CrossAttention, SelfAttention
from sensorium.types import Joint, Patched, Regions
from sensorium.verbs.ask import Asker
from sensorium.verbs.pointed import carried, gained
from sensorium.verbs.sheet import font
from sensorium.weights.atomic import write_file

SIDE = 512  # pixels that the longer side of a drawing is enlarged to
STRIP, LETTERS = 84, 20  # pixels of what stands below, and of its letters
HEAT, INK, PAGE, VEIL = (214, 62, 26), (28, 29, 31), (252, 251, 248), (70, 72, 78)
WORDS = 4  # small pictures in a row
FAINT = 0.25  # how much is seen of what the net did not look at


class Where(NamedTuple):
    """How much of an answer came from each part of the picture; shares add up to 1.

    `boxes` are of those parts, as shares of the picture's sides; `words` is what came from the
    question, before the picture's part was made to add up to 1.
    """

    shares: Float[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    words: float


class Read(NamedTuple):
    """One attention: who asked whom ("text", "image" or "all"), the shares, the part's name."""

    asks: str
    told: str
    shares: Float[Tensor, "n k"]
    part: str


class Watching(TorchFunctionMode):
    """Takes down every attention of a net while it runs."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.reads: list[Read] = []
        self.part, self.asks, self.told = "", "", ""
        self.turns: dict[str, int] = {}
        self.hooks = [
            module.register_forward_pre_hook(self.begun(name, module))
            for name, module in net.named_modules()
            if isinstance(module, (SelfAttention, CrossAttention))
        ]

    def begun(self, name: str, module: nn.Module) -> Callable[..., None]:
        """Notes which part's attention is about to run."""

        def note(*_: Any) -> None:
            self.part = name
            turn = self.turns[name] = self.turns.get(name, 0) + 1
            steps = name.split(".")
            if isinstance(module, CrossAttention):
                back = "to_image" in steps or ("both" in steps and turn % 2 == 0)
                self.asks, self.told = ("image", "text") if back else ("text", "image")
                return
            alone = steps[0] if steps[0] in ("text", "image") else None
            inner = next((s for s in steps[1:] if s in ("text", "image")), None)
            fused = "text" if steps[0] == "fusion" else "all"
            self.asks = self.told = alone or inner or fused

        return note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        said = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            q, k, mask = args[0], args[1], args[3] if len(args) > 3 else None
            score = q.float() @ k.float().transpose(2, 3) * q.shape[3] ** -0.5
            if mask is not None:
                score = score.masked_fill(~mask, float("-inf"))
            shares = score.softmax(dim=3).mean(dim=1)[0]
            self.reads.append(Read(self.asks, self.told, shares, self.part))
        return func(*args, **said)

    def ended(self) -> None:
        """Takes the hooks out again."""
        for hook in self.hooks:
            hook.remove()


@torch.no_grad()
def where(asker: Asker, item: Item) -> Where:
    """Where the net looked to answer one question.

    Raises:
        ValueError: the net is not in float32 (its attention runs by other kernels), or the question
            is about two pictures.
    """
    batch = asker.placed(asker.inputs.joint([item]))
    if not isinstance(batch, Joint):
        raise ValueError("where a net looked is shown for questions about one picture")
    if next(asker.net.parameters()).dtype != torch.float32:  # type: ignore[attr-defined]
        raise ValueError("where a net looked is shown in float32: load it with --precision float32")
    watching = Watching(asker.net)  # type: ignore[arg-type]
    try:
        with watching:
            asker.net.fuse(batch)
    finally:
        watching.ended()
    words = int(batch.text.lengths[0])
    flow = rollout(watching.reads, words)
    count, boxes = parts(batch, len(flow) - words)
    row = flow[: 1 if asker.how.scores != "decoder" else words]
    if asker.how.sees.words == "masked":
        row = flow[words - 2 : words - 1]
    row = row.mean(dim=0)
    seen = row[len(row) - count :]  # before them may stand a token of the whole picture
    if asker.how.sees.picture == "pixels":
        seen = gained(asker, batch)[-count:]
    total = float(seen.sum())
    shares = (seen / total if total > 0 else seen).cpu().numpy()
    return Where(shares, boxes, float(row[:words].sum()))


@torch.no_grad()
def by_word(asker: Asker, item: Item) -> list[tuple[str, Where]]:
    """Where each word of a question goes in a picture of patches; of other nets nothing."""
    batch = asker.placed(asker.inputs.joint([item]))
    if asker.how.sees.picture != "patches" or not isinstance(batch, Joint):
        return []
    words = int(batch.text.lengths[0])
    rows = carried(asker.net.fuse(batch), words)
    _, boxes = parts(batch, rows.shape[1])
    names = [asker.words.pieces[i] for i in batch.text.ids[1 : words - 1].tolist()]
    return [(name, Where(row, boxes, 1.0)) for name, row in zip(names, rows, strict=True)]


def rollout(reads: list[Read], words: int) -> Float[Tensor, "n n"]:
    """What each token that comes out holds of each that came in: words first, then the picture."""
    picture = max(
        [r.shares.shape[1] for r in reads if r.told == "image"]
        + [r.shares.shape[1] - words for r in reads if r.told == "all"]
        + [0]
    )
    where = {
        "text": slice(0, words),
        "image": slice(words, words + picture),
        "all": slice(0, words + picture),
    }
    flow = torch.eye(words + picture)
    before, last = flow, ""
    for one in reads:
        # two streams read each other as both came in
        block = one.part.rpartition(".blocks.")[2].split(".")[0]
        crossing = one.asks != one.told
        together = crossing and one.asks == "image" and last == block
        source = before if together else flow
        before, last = flow, block if crossing else ""
        flow = flow.clone()
        read = one.shares.to(flow) @ source[where[one.told]]
        flow[where[one.asks]] = 0.5 * flow[where[one.asks]] + 0.5 * read
    return flow


def parts(batch: Joint, tokens: int) -> tuple[int, Float[np.ndarray, "n 4"]]:
    """How many parts the picture has, and where they are, as shares of its sides.

    Pixels are cut into a square of patches: `tokens` are as many, or one more for all of it.
    """
    image = batch.image
    if isinstance(image, Regions):
        count = int(image.lengths[0])
        return count, image.boxes[:count].float().cpu().numpy()
    if isinstance(image, Patched):
        rows, columns = image.grid[0].tolist()
        place = image.place[: rows * columns].cpu().numpy()
    else:
        rows = columns = isqrt(tokens)
        place = np.stack(np.divmod(np.arange(rows * columns), columns), axis=1)
    size = np.array([columns, rows], dtype=np.float32)
    first = place[:, ::-1].astype(np.float32)
    return len(place), np.concatenate([first / size, (first + 1) / size], axis=1)


# --- drawn ----------------------------------------------------------------------------------------


def show(
    at: str | os.PathLike[str],
    image: Source,
    looked: Where,
    question: str,
    answers: Mapping[str, float],
    words: Sequence[tuple[str, Where]] = (),
) -> None:
    """Writes a PNG: the picture, brighter where the net looked, the question and the best answers,
    and below them the picture once for each word, if it is known where that goes.

    OSError: it cannot be written; the file appears whole or not at all.
    """
    out = BytesIO()
    picture = open_image(image)
    page = drawn(picture, looked, question, answers)
    if words:
        page = beneath(page, [(name, drawn(picture, one, name, {})) for name, one in words])
    page.save(out, "PNG", optimize=True)
    write_file(Path(os.path.abspath(at)), out.getvalue())


def drawn(
    picture: Image.Image, looked: Where, question: str, answers: Mapping[str, float]
) -> Image.Image:
    """The same as a picture."""
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    large = picture.resize(size, Image.Resampling.NEAREST if scale > 4 else None)
    most = float(looked.shares.max()) if len(looked.shares) else 1.0
    veil = Image.new("L", size, round(255 * FAINT))
    pen = ImageDraw.Draw(veil)
    order = np.argsort(looked.shares, kind="stable")  # what counts most lies on top
    cells = [tuple(float(v) for v in np.array([*size, *size]) * looked.boxes[i]) for i in order]
    for i, cell in zip(order, cells, strict=True):
        strength = float(looked.shares[i]) / most if most > 0 else 0.0
        shown = round(255 * (FAINT + (1 - FAINT) * strength))
        pen.rectangle((cell[0], cell[1], cell[2] - 1, cell[3] - 1), fill=shown)
    page = Image.new("RGB", (max(SIDE, size[0]), size[1] + STRIP), PAGE)
    page.paste(Image.composite(large, Image.new("RGB", size, VEIL), veil), (0, 0))
    pen = ImageDraw.Draw(page)
    if len(looked.shares) <= 40:  # regions: their outlines
        for i, cell in zip(order, cells, strict=True):
            wide = 1 + round(3 * float(looked.shares[i]) / most) if most > 0 else 1
            pen.rectangle((cell[0], cell[1], cell[2] - 1, cell[3] - 1), outline=HEAT, width=wide)
    best = list(answers.items())[:4]
    lines = [question, "   ".join(f"{name} {share:.0%}" for name, share in best)]
    for number, line in enumerate(lines):
        letters = font(line, LETTERS, bold=number == 0)
        pen.text((12, size[1] + 12 + number * 32), line, fill=INK, font=letters)
    return page


def beneath(page: Image.Image, words: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """A page with small pictures below it, WORDS in a row, each with its word."""
    side = page.width // WORDS
    small = [one.crop((0, 0, one.width, one.height - STRIP)) for _, one in words]
    small = [
        one.resize((side - 8, max(1, round(one.height * (side - 8) / one.width)))) for one in small
    ]
    tall = max(one.height for one in small) + LETTERS + 16
    rows = -(-len(words) // WORDS)
    out = Image.new("RGB", (page.width, page.height + rows * tall), PAGE)
    out.paste(page, (0, 0))
    pen = ImageDraw.Draw(out)
    for number, ((name, _), one) in enumerate(zip(words, small, strict=True)):
        x, y = 4 + side * (number % WORDS), page.height + tall * (number // WORDS)
        out.paste(one, (x, y))
        letters = font(name, LETTERS, bold=False)
        pen.text((x, y + one.height + 2), name, fill=INK, font=letters)
    return out
