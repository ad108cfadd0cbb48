"""Models small enough to be checked by eye: every picture and text has its vector in a table."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from sensorium.types import Captioned


class Table:
    """A model that looks its answers up, `batch` at a time."""

    def __init__(self, vectors: Mapping[bytes | str, np.ndarray], batch: int = 7) -> None:
        self.vectors, self.batch = vectors, batch

    def embed(
        self, images: Sequence[bytes] | None = None, texts: Sequence[str] | None = None
    ) -> np.ndarray:
        asked = list(images) if images is not None else list(texts or ())
        parts = [asked[i : i + self.batch] for i in range(0, len(asked), self.batch)]
        rows = [np.stack([self.vectors[one] for one in part]) for part in parts]
        return np.concatenate(rows).astype(np.float32)


@pytest.fixture
def table() -> type[Table]:
    return Table


@pytest.fixture
def world() -> Callable[..., tuple[Table, list[Captioned]]]:
    """A set of captioned pictures whose captions lie near them, and the model that says so."""

    def make(
        pictures: int = 40, captions: int = 3, noise: float = 1.5, seed: int = 0, scene: int = 0
    ) -> tuple[Table, list[Captioned]]:
        g, vectors, samples = np.random.default_rng(scene), {}, []
        blur = np.random.default_rng(1000 + seed)
        for i in range(pictures):
            image, centre = f"picture {i}".encode(), g.normal(size=16)
            texts = tuple(f"caption {j} of {i}" for j in range(captions))
            vectors[image] = centre
            for text in texts:
                vectors[text] = centre + noise * blur.normal(size=16)
            samples.append(Captioned(image, texts, f"id{(i * 17) % pictures:03}"))
        return Table({k: v / np.linalg.norm(v) for k, v in vectors.items()}), samples

    return make
