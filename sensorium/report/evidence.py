"""What a run's folder says: its record, its metrics, its scores, its per-sample records."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open

from sensorium.tasks.records import Records, read
from sensorium.train import checkpoint
from sensorium.train.log import read_metrics
from sensorium.weights.header import parse_json

RECORDS = {"all": "retrieval.jsonl.gz", "unseen": "retrieval-unseen.jsonl.gz"}
TO_IMAGE, TO_TEXT = "text_to_image", "image_to_text"


class Series(NamedTuple):
    """Scores of one set of queries, {part: {metric: value}}, their intervals and query counts."""

    name: str
    scores: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, Sequence[float]]]
    queries: Mapping[str, Mapping[str, int]]


class Evidence(NamedTuple):
    """All that a report is made of, model and pictures excepted."""

    folder: Path
    said: dict[str, Any]  # run.json
    manifest: dict[str, Any]  # of the checkpoint
    metrics: list[dict[str, Any]]
    series: list[Series]
    records: dict[str, Records]  # retrieval, by the name of its series
    found: Mapping[str, Any]
    corrupt: dict[str, str]
    parameters: int | None
    temperature: float | None


def gather(folder: Path, found: Mapping[str, Any]) -> Evidence:
    """Reads a run's folder; what is not there is left out, what is damaged is an error.

    Raises:
        TaskError, WeightsError: a records file or a manifest is damaged.
    """
    records = {
        name: read(folder / "records" / file)
        for name, file in RECORDS.items()
        if (folder / "records" / file).exists()
    }
    last = checkpoint.latest(folder)
    count, temperature = weighed(folder / "checkpoint")
    state = plain_json(last / "state/progress.json") if last else {}
    return Evidence(
        folder=folder,
        said=plain_json(folder / "run.json"),
        manifest=plain_json(folder / "checkpoint/manifest.json"),
        metrics=read_metrics(folder / "metrics.jsonl"),
        series=series(found),
        records=records,
        found=found,
        corrupt=state.get("corrupt", {}),
        parameters=count,
        temperature=temperature,
    )


def plain_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is no file."""
    return parse_json(path.read_bytes(), str(path)) if path.exists() else {}


def series(found: Mapping[str, Any]) -> list[Series]:
    """The scores in what a run found: first its own, then those under a name (`unseen`)."""
    inner = {name: value for name, value in found.items() if isinstance(value, Mapping)}
    named = {"all": found} | {name: value for name, value in inner.items() if "scores" in value}
    return [
        Series(name, value["scores"], value.get("intervals", {}), value.get("queries", {}))
        for name, value in named.items()
        if value.get("scores")
    ]


def weighed(at: Path) -> tuple[int | None, float | None]:
    """How many numbers a checkpoint's weights are, and its temperature where it has one."""
    files = sorted(at.glob("model*.safetensors"))
    total, temperature = 0, None
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dictionary)
                total += math.prod(file.get_slice(name).get_shape())
                if name == "log_scale":
                    temperature = math.exp(-float(file.get_tensor(name)))
    return (total if files else None), temperature


def chance(records: Records, part: str, k: int) -> float:
    """The expected R@k of an embedding that ranks at random.

    A query with c correct ones among n candidates misses with C(n - c, k) / C(n, k).
    """
    n, counts = records.header["candidates"][part], {}
    for row in records.rows:
        if row["part"] == part:
            counts[row["correct"]] = counts.get(row["correct"], 0) + 1
    missed = {c: math.comb(n - c, min(k, n)) / math.comb(n, min(k, n)) for c in counts}
    return 1 - sum(missed[c] * m for c, m in counts.items()) / sum(counts.values())


def drawn(name: str) -> str:
    """The place of a name in an order that nobody chose: the SHA-256 of the name."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
