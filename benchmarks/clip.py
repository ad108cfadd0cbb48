"""CLIP ViT-B/32 beside transformers' CLIPModel: the same weights, one run, interleaved.

    python benchmarks/clip.py [image] [text] [train] [jpeg] [--quick] [--threads N]

With `--threads 1` the time is the CPU's, for machines that are busy; else it is the wall's.
Before anything is timed the outputs of both are compared. Figures are medians; the ratio of every
line to ours is printed, and the share of the machine's measured matrix-product peak. FLOPs are
those of the model's definition, counted analytically (a product of m x k by k x n is 2 m k n), also
where an implementation leaves out some that nothing reads.
"""

import argparse
import copy
import io
import os
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from common import machine, peak, side_by_side, table
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from sensorium.data.ragged import lay
from sensorium.forms.dual import Dual
from sensorium.media import openai_clip, transform, turbo
from sensorium.models.clip import LOG_SCALE_MAX, SIZES
from sensorium.models.layouts import layout
from sensorium.objectives.contrastive import Contrastive
from sensorium.train.backward import Scale, backward
from sensorium.train.loop import to_device
from sensorium.train.parallel import Place
from sensorium.train.rules import AdamW, optimiser
from sensorium.train.step import Step
from sensorium.types import ImageText
from sensorium.verbs.fast import prepared

BATCH, END, LONGEST = 32, 49407, 77
HALF = torch.bfloat16


def stack_flops(width: int, layers: int, tokens: int, seen: float) -> float:
    """Of a transformer: 12 d^2 weights a layer, and attention over `seen` keys a token."""
    return layers * tokens * (24 * width**2 + 4 * width * seen)


IMAGE = stack_flops(768, 12, 50, 50) + 2 * 49 * 3072 * 768 + 2 * 768 * 512


def text_flops(lengths: list[int]) -> float:
    return sum(stack_flops(512, 12, n, n) + 2 * 512 * 512 for n in lengths)


def pair() -> tuple[Dual, CLIPModel]:
    """Ours and theirs with the same random weights."""
    torch.manual_seed(0)
    declaration = SIZES["ViT-B/32"]
    ours = declaration.build().eval()
    theirs = CLIPModel(CLIPConfig()).eval()
    theirs.load_state_dict(layout("hf-clip").keymap(declaration).save(ours.state_dict()))
    return ours, theirs


def captions(count: int, mean: float = 12.0) -> list[list[int]]:
    """Random ids; lengths from 5 to 40, most of them short."""
    g = torch.Generator().manual_seed(1)
    lengths = (torch.randn(count, generator=g) / 2).exp() * (mean * 0.88)
    sizes = lengths.round().clamp(5, 40).long().tolist()
    words = (torch.randint(300, 49000, (n - 2,), generator=g).tolist() for n in sizes)
    return [[49406, *w, END] for w in words]


def padded(texts: list[list[int]], length: int | None = None) -> dict[str, Tensor]:
    """What transformers reads: rows filled up with the end token, and the mask."""
    n = length or max(map(len, texts))
    ids = torch.tensor([t + [END] * (n - len(t)) for t in texts])
    mask = torch.tensor([[1] * len(t) + [0] * (n - len(t)) for t in texts])
    return {"input_ids": ids, "attention_mask": mask}


def same(what: str, ours: Tensor, theirs: Tensor, limit: float) -> None:
    """Refuses to time two things that say different things."""
    off = float((ours.float() - F.normalize(theirs.float(), dim=-1)).norm(dim=-1).max())
    print(f"  {what}: unit vectors differ by at most {off:.1e}")
    if off > limit:
        raise SystemExit(f"{what}: more than {limit}")


def share(name: str, flops: float, spent: float, dtype: torch.dtype) -> None:
    most = peak(dtype)
    print(
        f"  {name}: {flops / 1e9:.0f} GFLOP, {flops / spent / 1e12:.3f} TFLOP/s, "
        f"{flops / spent / most:.0%} of the measured peak of {most / 1e12:.3f}"
    )


def halved(net: nn.Module) -> nn.Module:
    return copy.deepcopy(net).to(HALF)


@torch.inference_mode()
def image(rounds: int) -> None:
    net, peer = pair()
    x = torch.randn(BATCH, 3, 224, 224)
    nets = {torch.float32: (net, peer), HALF: (halved(net), halved(peer))}
    calls, wanted = {}, net.embed_image(x)
    for dtype, (mine, other) in nets.items():
        kind, y = str(dtype).removeprefix("torch."), x.to(dtype)
        limit = 1e-5 if dtype == torch.float32 else 2e-2
        twin = prepared(mine)
        theirs = partial(other.get_image_features, pixel_values=y)
        same(f"{kind}, ours", twin.embed_image(y), wanted, limit)  # type: ignore[operator]
        same(f"{kind}, transformers", wanted, theirs().pooler_output, limit)
        calls[f"ours {kind}, prepared"] = partial(twin.embed_image, y)  # type: ignore[arg-type]
        calls[f"ours {kind}, as trained"] = partial(mine.embed_image, y)  # type: ignore[arg-type]
        calls[f"transformers {kind}"] = theirs
    times = side_by_side(calls, rounds)
    table(
        f"image embedding, batch {BATCH}, pixels in memory",
        times,
        BATCH,
        "pictures",
        first(calls, "bf"),
    )
    for dtype, kind in ((HALF, "bfloat16"), (torch.float32, "float32")):
        share(kind, IMAGE * BATCH, times[f"ours {kind}, prepared"], dtype)
        print(f"  {kind}: {ratio(times, f'transformers {kind}', f'ours {kind}, prepared')}")


@torch.inference_mode()
def text(rounds: int) -> None:
    net, peer = pair()
    texts, count = captions(256), 64
    order = sorted(texts, key=len)
    mean, most = sum(map(len, texts)) / len(texts), len(order[-1])
    print(f"\n{len(texts)} captions of {mean:.1f} tokens, at most {most}, batches of {count}")
    laid = [lay(order[i : i + count]) for i in range(0, len(texts), count)]
    cut = [texts[i : i + count] for i in range(0, len(texts), count)]
    whole, longest = [padded(t, LONGEST) for t in cut], [padded(t) for t in cut]
    for dtype in (HALF, torch.float32):
        kind = str(dtype).removeprefix("torch.")
        mine, other = net.to(dtype), peer.to(dtype)
        twin = prepared(mine)
        wanted = peer.get_text_features(**padded(order[:count])).pooler_output
        same(f"{kind}", twin.embed_text(laid[0]), wanted, 3e-2 if dtype == HALF else 1e-5)  # type: ignore[operator]

        def theirs(batches, other=other):
            return [other.get_text_features(**b).pooler_output for b in batches]

        ours = f"ours {kind}, prepared"
        calls = {
            ours: lambda twin=twin: [twin.embed_text(b) for b in laid],  # type: ignore[operator]
            f"ours {kind}, as trained": lambda mine=mine: [mine.embed_text(b) for b in laid],
            f"transformers {kind}, padded to the longest": partial(theirs, longest),
            f"transformers {kind}, padded to 77": partial(theirs, whole),
        }
        times = side_by_side(calls, max(1, rounds // 2))
        table(f"text embedding, {kind}", times, len(texts), "texts", ours)
        share(kind, text_flops([len(t) for t in texts]), times[ours], dtype)


def train(rounds: int) -> None:
    texts, x = captions(BATCH, 14.5), torch.randn(BATCH, 3, 224, 224)
    mean = sum(map(len, texts)) / len(texts)
    print(f"\na training step of {BATCH} pairs, captions of {mean:.1f} tokens, optimiser included")
    batch, theirs = ImageText(x, lay(texts)), padded(texts, LONGEST)
    calls, losses = {}, {}
    for half in (True, False):
        kind = "bfloat16 autocast" if half else "float32"
        net, peer = pair()
        step = Step(net.train(), {"pairs": Contrastive((0.0, LOG_SCALE_MAX))})
        learn = optimiser(step, [("", AdamW(1e-5, 0.01))])
        for group in learn.param_groups:
            group["lr"] = group["initial_lr"]
        plain = torch.optim.AdamW(peer.train().parameters(), lr=1e-5)

        def our_step(half=half, step=step, learn=learn, losses=losses, kind=kind) -> None:
            place = Place(0, 1, torch.device("cpu"))
            asked = step.asked["pairs"]
            question = asked.pose(step.net, to_device(batch, place.device), torch.Generator())
            scale = Scale({"pairs": {"contrast": 1 / BATCH}})
            around = lambda piece: torch.autocast("cpu", HALF, enabled=half)  # noqa: E731
            sums = backward(step, step, [{"pairs": question}], scale, place, around)
            nn.utils.clip_grad_norm_(step.parameters(), float("inf"))
            learn.step()
            learn.zero_grad()
            asked.after_step(step.net)
            losses.setdefault(f"ours {kind}", float(sums["pairs"]["contrast"]) / BATCH)

        def their_step(half=half, peer=peer, plain=plain, losses=losses, kind=kind) -> None:
            with torch.autocast("cpu", HALF, enabled=half):
                loss = peer(**theirs, pixel_values=x, return_loss=True).loss
            loss.backward()
            plain.step()
            plain.zero_grad()
            losses.setdefault(f"transformers {kind}", float(loss.detach()))

        calls |= {f"ours {kind}": our_step, f"transformers {kind}": their_step}
    times = side_by_side(calls, max(1, rounds // 2))
    print("  first losses:", ", ".join(f"{k} {v:.4f}" for k, v in losses.items()))
    table("training step", times, BATCH, "pairs", first(calls, "ours bf"))
    flops = 3 * (IMAGE * BATCH + text_flops([len(t) for t in texts]))
    for dtype, kind in ((HALF, "bfloat16 autocast"), (torch.float32, "float32")):
        share(kind, flops, times[f"ours {kind}"], dtype)
        print(f"  {kind}: {ratio(times, f'transformers {kind}', f'ours {kind}')}")


@torch.inference_mode()
def jpeg(rounds: int) -> None:
    net, peer = pair()
    net, peer = halved(net), halved(peer)
    twin, files = prepared(net), pictures(BATCH)
    read = transform(turbo(openai_clip()))
    # without torchvision, which this library never needs, CLIPImageProcessor is Pillow's as well
    processor = transformers.CLIPImageProcessor()

    def ours() -> Tensor:
        batch = torch.empty(len(files), 3, 224, 224, dtype=HALF)
        for row, data in zip(batch, files, strict=True):
            read(data, out=row)
        return twin.embed_image(batch)  # type: ignore[operator]

    def theirs() -> Tensor:
        opened = [Image.open(io.BytesIO(data)).convert("RGB") for data in files]
        x = processor(opened, return_tensors="pt")["pixel_values"].to(HALF)
        return peer.get_image_features(pixel_values=x).pooler_output

    same("from files, bfloat16", ours(), theirs(), 1e-1)
    calls = {"ours, turbo": ours, f"transformers, {type(processor).__name__}": theirs}
    times = side_by_side(calls, rounds)
    table("image embedding from JPEG files, bfloat16", times, len(files), "pictures", "ours, turbo")


def pictures(count: int) -> list[bytes]:
    """Photographs of $SENSORIUM_DATA/coco_open, or smooth noise of their size."""
    folder = Path(os.environ.get("SENSORIUM_DATA", "")) / "coco_open" / "images"
    found = sorted(folder.glob("*.jpg"))[:count] if "SENSORIUM_DATA" in os.environ else []
    if len(found) == count:
        return [path.read_bytes() for path in found]
    g, made = np.random.default_rng(0), []
    for _ in range(count):
        small = Image.fromarray(g.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        out = io.BytesIO()
        small.resize((640, 480), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        made.append(out.getvalue())
    return made


def first(calls: dict, part: str) -> str:
    return next(name for name in calls if part in name)


def ratio(times: dict[str, float], slow: str, fast: str) -> str:
    return f"{fast} is {times[slow] / times[fast]:.2f} times as fast as {slow}"


def main() -> None:
    parts = {"image": image, "text": text, "train": train, "jpeg": jpeg}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="all of them by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"{machine()}, transformers {transformers.__version__}")
    for name in asked.parts or parts:
        parts[name](2 if asked.quick else 7)
    print(machine())


if __name__ == "__main__":
    main()
