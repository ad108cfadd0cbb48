"""What `sensorium code data` and `sensorium code tokenizer` do."""

import argparse
from collections.abc import Callable
from typing import Any

from sensorium.corpus.filters import asked_out
from sensorium.corpus.minhash import Settings
from sensorium.corpus.pipeline import run
from sensorium.corpus.presets import PRESETS, Wanted
from sensorium.corpus.shards import texts
from sensorium.corpus.vocabulary import save, train
from sensorium.corpus.workers import processes, ray_cluster
from sensorium.data.errors import DataError
from sensorium.report.corpus import write

Progress = Callable[[int, int], None]


def prepared(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Runs the pipeline that the options name, writes report.html, and says what came out.

    DataError: sources, lists or the folder cannot be used. OSError: of files.
    """
    o = options
    if not 0 < o.threshold < 1:
        raise DataError(f"--threshold {o.threshold}: a Jaccard index lies between 0 and 1")
    if min(o.largest, o.shard) < 1:
        raise DataError("--largest and --shard are sizes of at least 1")
    out = asked_out(o.opt_out.read_text(encoding="utf-8")) if o.opt_out else frozenset()
    at = o.benchmarks.absolute() if o.benchmarks else None
    settings = Settings(threshold=o.threshold)
    wanted = Wanted(out, at, tuple(o.only or ()), o.any_licence, o.keep_personal, settings)
    workers = ray_cluster(o.ray) if o.ray else processes(o.workers)
    stages = PRESETS[o.preset](wanted)
    where = o.out.absolute()
    said = run(o.sources, where, stages, workers, o.largest, o.shard << 20, progress)
    page = write(where)
    first, last = said["stages"][0], said["stages"][-1]
    left = {
        stage["stage"]: f"{stage['kept_files']:,} files, {stage['kept_bytes'] / 1e6:,.1f} MB"
        for stage in said["stages"]
    }
    return {
        "corpus": str(where / "clean"),
        "report": str(page),
        "files": [first["files"], last["kept_files"]],
        "bytes": [first["bytes"], last["kept_bytes"]],
        "left after": left,
        "languages": len(said["languages"]),
    }


def learned(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Trains a tokenizer on a folder of shards and writes it. DataError: there are none."""
    o = options
    if not any(o.corpus.glob("*.parquet")):
        raise DataError(f"{o.corpus}: holds no shards; `sensorium code data` leaves them in clean/")
    made = train(texts(o.corpus, o.only or ""), o.vocab, progress)
    save(made, o.out)
    return {"tokenizer": str(o.out), "ids": made.get_vocab_size()}
