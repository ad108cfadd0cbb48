"""A run's folder as a recipe leaves it, with a model that is a table of vectors."""

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.report.evidence import Evidence, gather
from sensorium.tasks.retrieval import retrieve
from sensorium.tasks.scores import to_json
from sensorium.types import Captioned

Make = Callable[..., Evidence]


class Table:
    """Embeds a picture as its mean colour, a text as some colour that its letters decide."""

    def embed(
        self, images: Sequence[bytes] | None = None, texts: Sequence[str] | None = None
    ) -> np.ndarray:
        if images is not None:
            said = [np.asarray(Image.open(BytesIO(b)).convert("RGB")).mean((0, 1)) for b in images]
        else:
            said = [
                np.random.default_rng(list(t.encode("utf-8", "replace"))).uniform(0, 255, 3)
                for t in texts or ()
            ]
        vectors = np.array(said, dtype=np.float64) - 128 + 0.5
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture of one colour, encoded."""
    colour = tuple(int(c) for c in np.random.default_rng(seed).integers(0, 256, 3))
    out = BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def samples(count: int, texts: Sequence[str] = ()) -> list[Captioned]:
    """Pictures with a text each; the first texts are the given ones."""
    named = [*texts, *(f"colour number {i}" for i in range(len(texts), count))]
    return [Captioned(picture(i), (named[i],), f"set/{i:03d}.png") for i in range(count)]


def rows(steps: int) -> list[dict]:
    """Metrics as the loop writes them."""
    return [
        {"step": s, "loss/contrast": 3 / s + 1, "norm": 5 / s, "rate": 1 - s / (steps + 1)}
        | {"samples_per_second": 300.0 + s % 7, "samples": "49f1af47", "corrupt": 0}
        for s in range(1, steps + 1)
    ]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """Writes a run's folder: metrics of some steps, records of some samples; gathers it."""

    def make(given: Sequence[Captioned] = (), steps: int = 50, recipe: str = "clip") -> Evidence:
        said = {
            "recipe": recipe,
            "arguments": {"seed": 7},
            "settings": {"batch": 8, "steps": steps},
        }
        said |= {"library": "0.1", "versions": {"torch": "2"}, "machine": {"cores": 2, "gpu": None}}
        (tmp_path / "run.json").write_text(json.dumps(said))
        (tmp_path / "metrics.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows(steps))
        )
        (tmp_path / "records").mkdir()
        found: dict = {"run": str(tmp_path)}
        if given:
            path = tmp_path / "records/retrieval.jsonl.gz"
            found |= to_json(retrieve(Table(), given, path=path, about={"split": "all"}))
            few = tmp_path / "records/retrieval-unseen.jsonl.gz"
            found["unseen"] = to_json(
                retrieve(Table(), given, queries=range(min(3, len(given))), path=few)
            )
        return gather(tmp_path, found)

    return make
