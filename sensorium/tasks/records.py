"""Files of per-sample records: a score's evidence, from which it is recomputed without the model.

A records file is JSON lines (gzip when the name ends in `.gz`):

    line 1         the header: what was asked of which data, how it is marked, how many records
    lines 2..n+1   one record a query: `part`, `id`, `cluster` and the marks the metrics name
    last line      {"sha256": ...} of every byte before it

It is written aside and renamed, so a file under its own name is whole; and it is read only when
its count and its hash agree, so a truncated or edited file is an error and never a score.
"""

import contextlib
import gzip
import hashlib
import importlib.metadata
import itertools
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

FORMAT = "sensorium.records"
VERSION = 1
BUDGET = 4 << 30  # bytes of text a records file may unfold to
READ = 256  # samples read and handed to the model at a time: bounds the raw bytes in memory

Progress = Callable[[int, int], None]


class TaskError(ValueError):
    """A task that cannot be asked or marked; the text says what, where, and what to do next."""


@runtime_checkable
class Embedder(Protocol):
    """What a task needs of a model: unit vectors in input order, batching inside.

    Called with exactly one of the two arguments.
    """

    def embed(
        self, images: Sequence[bytes] | None = None, texts: Sequence[str] | None = None
    ) -> Float[np.ndarray, "b e"]: ...


class Records(NamedTuple):
    """A header and one dictionary a query, as a records file holds them."""

    header: dict[str, Any]
    rows: list[dict[str, Any]]


def records(
    task: str, metrics: Mapping[str, Any], facts: Mapping[str, Any], rows: Iterable[dict[str, Any]]
) -> Records:
    """Puts a header on rows, and the rows in the one order a set of queries has (part, then id).

    `metrics` says how the rows are marked (`scores.score`); `facts` is whatever else identifies
    the score: data fingerprint, split, model, definitions.
    """
    ordered = sorted(rows, key=lambda row: (row["part"], row["id"]))
    own = {"format": FORMAT, "version": VERSION, "task": task, "library": library()}
    own |= {"count": len(ordered), "metrics": dict(metrics)}
    clash = sorted(own.keys() & facts.keys())
    if clash:
        raise TaskError(f"the header's own keys cannot be given as facts: {', '.join(clash)}")
    return Records({**own, **facts}, ordered)


def library() -> str:
    """The installed version of the library, or that it is not installed."""
    try:
        return importlib.metadata.version("sensorium")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


# --- files -------------------------------------------------------------------------------------


def write(path: str | os.PathLike[str], kept: Records) -> None:
    """Writes a records file whole or not at all; the same records give the same bytes.

    Raises:
        TaskError: a record holds what JSON cannot (NaN, an array).
        OSError: the file cannot be written; an older file under the name is left as it was.
    """
    path = Path(path)
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            if path.name.endswith(".gz"):
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                    _write_lines(packed, kept)
            else:
                _write_lines(raw, kept)
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
        raise


def _write_lines(file: Any, kept: Records) -> None:
    digest = hashlib.sha256()
    for number, entry in enumerate((kept.header, *kept.rows), start=1):
        try:
            text = json.dumps(entry, ensure_ascii=False, allow_nan=False)
            # a lone surrogate (an undecodable file name) is escaped; it has no UTF-8
            line = text.encode("utf-8", "backslashreplace") + b"\n"
        except (TypeError, ValueError) as error:
            raise TaskError(f"record line {number} cannot be written as JSON: {error}") from error
        digest.update(line)
        file.write(line)
    file.write(json.dumps({"sha256": digest.hexdigest()}).encode() + b"\n")


def read(path: str | os.PathLike[str]) -> Records:
    """Reads a records file, refusing one that is truncated, edited, or of another version.

    Raises:
        TaskError: with the file, the line and the reason.
        OSError: the file cannot be opened.
    """
    path = Path(path)

    def refuse(why: str, cause: Exception | None = None) -> NoReturn:
        text = f"{path}: {why}; the records are not to be trusted, run the evaluation again"
        raise TaskError(text) from cause

    digest, entries, size, last = hashlib.sha256(), [], 0, b""
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as file:
        while True:
            try:
                line = file.readline(BUDGET + 1 - size)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                refuse(f"the compressed data is damaged or cut off ({error})", error)
            size += len(line)
            if size > BUDGET:
                refuse(f"it unfolds to more than {BUDGET} bytes")
            if not line:
                break
            if not line.endswith(b"\n"):
                refuse(f"line {len(entries) + 1} is cut off")
            if last:
                digest.update(last)
            last = line
            try:
                entry = json.loads(line, parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                refuse(f"line {len(entries) + 1} is not JSON ({error})", error)
            if not isinstance(entry, dict):
                refuse(f"line {len(entries) + 1} is not a JSON object")
            entries.append(entry)
    if not entries or entries[0].get("format") != FORMAT:
        refuse("it has no header of a records file")
    header, *rows = entries
    if header.get("version") != VERSION:
        refuse(f"it is of version {header.get('version')!r}, this library reads {VERSION}")
    if not rows or rows[-1].keys() != {"sha256"}:
        refuse(f"the last line is missing ({len(rows)} of {header.get('count')} records are there)")
    if rows.pop()["sha256"] != digest.hexdigest():
        refuse("its sha256 does not agree with its content")
    if header.get("count") != len(rows):
        refuse(f"its header counts {header.get('count')} records and it holds {len(rows)}")
    if not isinstance(header.get("task"), str) or not isinstance(header.get("metrics"), dict):
        refuse("its header lacks the task or the metrics")
    for number, row in enumerate(rows, start=2):
        if not {"part", "id", "cluster"} <= row.keys():
            refuse(f"line {number} lacks a part, an id or a cluster")
    return Records(header, rows)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


# --- what every task does before it asks ---------------------------------------------------------


def in_order(ids: Sequence[str]) -> list[int]:
    """Places of the samples in the order of their ids: the order in which every task asks.

    So a score cannot depend on the order of a data set, not even through a model whose numbers
    depend on what shares a batch.

    Raises:
        TaskError: there are no samples, or an id names two of them.
    """
    if not ids:
        raise TaskError("there are no samples to evaluate: the data set or the split is empty")
    order = sorted(range(len(ids)), key=lambda place: ids[place])
    for before, after in itertools.pairwise(order):
        if ids[before] == ids[after]:
            raise TaskError(
                f"samples {min(before, after)} and {max(before, after)} share the id"
                f" {ids[before]!r}; ids name the records, so each sample needs its own"
            )
    return order


def fingerprint(entries: Iterable[Sequence[Any]]) -> str:
    """sha256 over the samples as JSON lines, in the order given (ask in `in_order`)."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps(list(entry)).encode() + b"\n")
    return digest.hexdigest()


def embed_images(
    model: Embedder, images: Callable[[int], bytes], count: int, progress: Progress | None = None
) -> Float[np.ndarray, "b e"]:
    """Unit vectors of the pictures images(0) .. images(count - 1), read a chunk at a time."""
    parts = []
    for start in range(0, count, READ):
        chunk = [images(place) for place in range(start, min(start + READ, count))]
        parts.append(_checked(model.embed(images=chunk), len(chunk), f"images from {start}"))
        if progress is not None:
            progress(start + len(chunk), count)
    return np.concatenate(parts)


def embed_texts(
    model: Embedder, texts: Sequence[str], progress: Progress | None = None
) -> Float[np.ndarray, "b e"]:
    """Unit vectors of the texts, asked a chunk at a time."""
    parts = []
    for start in range(0, len(texts), READ):
        chunk = list(texts[start : start + READ])
        parts.append(_checked(model.embed(texts=chunk), len(chunk), f"texts from {start}"))
        if progress is not None:
            progress(start + len(chunk), len(texts))
    return np.concatenate(parts)


def _checked(vectors: np.ndarray, count: int, what: str) -> np.ndarray:
    vectors = np.ascontiguousarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != count:
        raise TaskError(f"{what}: {count} were asked, the model gave shape {vectors.shape}")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise TaskError(
            f"{what}: {len(bad)} embeddings hold NaN or infinity (first: number {bad[0]});"
            " the model is broken or overflowed, run it in float32 and verify its weights"
        )
    norms = np.sqrt((vectors * vectors).sum(axis=1))
    bad = np.flatnonzero(np.abs(norms - 1) > 0.02)
    if len(bad):
        raise TaskError(
            f"{what}: {len(bad)} embeddings are no unit vectors (first: number {bad[0]} of"
            f" length {norms[bad[0]]:.4g}); embed() must normalise"
        )
    return (vectors / norms[:, None]).astype(np.float32)
