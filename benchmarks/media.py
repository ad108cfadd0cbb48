"""JPEG file to normalised tensor: the Pillow path beside the fast one, in one run.

    python benchmarks/media.py [PICTURE.jpg ...]

Each figure is CPU time of one thread, the median of interleaved rounds, so that a busy machine
touches both sides alike. Without pictures, smooth noise stands in for photographs.
"""

import io
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image

from sensorium.media import augment, canvas, open_image, openai_clip, square_vit, transform, turbo
from sensorium.media.jpeg import decode_jpeg_rgb
from sensorium.media.resize import resize, resize_crop

SIZES = [(640, 480), (1024, 768)]


def side_by_side(*functions: Callable[[], object], rounds: int = 40, each: int = 4) -> list[float]:
    """Median milliseconds of each function, their rounds interleaved."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(rounds):
        for took, function in zip(times, functions, strict=True):
            start = time.thread_time()
            for _ in range(each):
                function()
            took.append((time.thread_time() - start) / each * 1e3)
    return [float(np.median(took)) for took in times]


def photograph(width: int, height: int) -> Image.Image:
    if len(sys.argv) > 1:
        return open_image(sys.argv[1]).resize((width, height), Image.Resampling.BICUBIC)
    g = np.random.default_rng(0)
    total = np.zeros((height, width, 3))
    for cells in (2, 4, 8, 16, 32, 64, 128, 256):
        noise = Image.fromarray(g.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        noise = noise.resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(noise).astype(float) - 128) / cells**0.5
    return Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def transforms(width: int, height: int) -> None:
    image = photograph(width, height)
    data, array, size = jpeg(image), np.array(image), f"{width} x {height}"
    for label, spec in (("clip 224", openai_clip()), ("square 224", square_vit())):
        slow, fast = transform(spec), transform(turbo(spec))
        off = np.abs(slow.pixels(data).astype(int) - fast.pixels(data))
        a, b = side_by_side(partial(slow, data), partial(fast, data))
        print(
            f"{size} {label:12s} {a:7.2f} {b:7.2f} {a / b:5.2f}x   "
            f"grey levels: largest {off.max()}, share {np.mean(off > 0):.1e}"
        )
    wide = int(224 * width / height)
    left = round((wide - 224) / 2)
    box = (left, 0, left + 224, 224)
    a, b = side_by_side(partial(open_image, data), partial(decode_jpeg_rgb, data))
    print(f"{size} {'decode':12s} {a:7.2f} {b:7.2f} {a / b:5.2f}x")
    a, b = side_by_side(
        lambda: resize(image, (wide, 224), "bicubic", "rows-first").crop(box),
        lambda: resize_crop(array, (wide, 224), box, "bicubic", "rows-first"),
    )
    print(f"{size} {'resize, crop':12s} {a:7.2f} {b:7.2f} {a / b:5.2f}x")


def small_pictures(source: int, size: int) -> None:
    g, small, out = np.random.default_rng(0), photograph(source, source), io.BytesIO()
    small.save(out, "WEBP", quality=90)
    fit = transform(canvas(size))
    a, b = side_by_side(
        partial(augment.augment, small, size, g), partial(fit, out.getvalue()), each=20
    )
    print(f"augment {source} -> {size}: {a:.3f}   WebP {source} to canvas {size}: {b:.3f}")


def main() -> None:
    torch.set_num_threads(1)
    print("milliseconds a picture on one core: Pillow, fast, ratio")
    for width, height in SIZES:
        transforms(width, height)
    print("milliseconds a small picture")
    for source, size in ((64, 48), (72, 64), (96, 64)):
        small_pictures(source, size)


if __name__ == "__main__":
    main()
