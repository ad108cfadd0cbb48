"""Which store answers the search in a folder of pictures: exact, faiss or LanceDB, in one run.

    python benchmarks/index.py [ROWSxWIDTH ...]    by default four sizes, to 100000x512
    python benchmarks/index.py kill                what SIGKILL leaves of each library's own files

Stand-ins for embeddings: points around centres in a space of 48 dimensions, put linearly into 128
or 512 and normalised. Half of the queries are pictures (a stored vector and a little noise), half
"texts": more noise, and all shifted the same way, as the texts of a contrastive model are. Every
approximate index is given as much effort as it needs for recall@10 of at least 0.95 over both
kinds; a query's time is the median of interleaved rounds. Needs faiss-cpu and lancedb.
"""

import importlib.metadata
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import lancedb
import numpy as np
import pyarrow as pa
import torch

K, WANTED, QUERIES, CHANGED = 10, 0.95, 100, 100
EFFORTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
Ask = Callable[[np.ndarray, int], np.ndarray]  # (query, effort) -> ids, best first


class Store(NamedTuple):
    """`build` writes below a folder; `open` gives a function that answers."""

    build: Callable[[np.ndarray, Path], Any]
    open: Callable[[Path], Ask]
    change: Callable[[np.ndarray, Path], None]  # adds CHANGED rows and removes CHANGED others
    efforts: tuple[int, ...]


def embeddings(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(0)
    spread = g.standard_normal((48, d), dtype=np.float32)
    centres = g.standard_normal((max(50, n // 200), 48), dtype=np.float32)
    at = g.integers(0, len(centres), n)
    rows = centres[at] + 0.6 * g.standard_normal((n, 48), dtype=np.float32)
    x = rows @ spread + 0.5 * g.standard_normal((n, d), dtype=np.float32)
    q = x[g.integers(0, n, QUERIES)]
    noise = g.standard_normal(q.shape, dtype=np.float32) * np.linalg.norm(q[0]) / d**0.5
    words = np.arange(QUERIES)[:, None] % 2
    gap = g.standard_normal(d, dtype=np.float32) * np.linalg.norm(q[0]) / d**0.5
    q = q + np.where(words, 1.0, 0.1) * noise + np.where(words, 1.0, 0.0) * gap
    return unit(x), unit(q).astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def best(scores: np.ndarray) -> np.ndarray:
    top = np.argpartition(-scores, K)[:K]
    return top[np.argsort(-scores[top], kind="stable")]


# --- exact: a matrix in a file ------------------------------------------------------------------


def exact_build(x: np.ndarray, at: Path) -> None:
    np.save(at / "x.npy", x)


def exact_open(at: Path) -> Ask:
    x = np.load(at / "x.npy", mmap_mode="r")
    return lambda q, _: best(x @ q)


def exact_change(x: np.ndarray, at: Path) -> None:
    np.save(at / "more.npy", x[:CHANGED])  # a second file, and a list of rows that are gone
    np.save(at / "gone.npy", np.arange(CHANGED))


def half_build(x: np.ndarray, at: Path) -> None:
    np.save(at / "x.npy", x.astype(np.float16))


def half_open(at: Path) -> Ask:
    x = torch.from_numpy(np.load(at / "x.npy", mmap_mode="c"))
    return lambda q, _: best((x @ torch.from_numpy(q).half()).float().numpy())


# --- faiss --------------------------------------------------------------------------------------


def faiss_store(recipe: str, effort: str, efforts: tuple[int, ...] = EFFORTS) -> Store:
    """An index of faiss's factory; inverted lists are mapped, not read, where it can."""

    def build(x: np.ndarray, at: Path) -> None:
        lists = int(4 * len(x) ** 0.5)
        index = faiss.index_factory(x.shape[1], recipe.format(lists), faiss.METRIC_INNER_PRODUCT)
        index.train(x[np.random.default_rng(0).permutation(len(x))[: 40 * lists]])
        index.add(x)
        faiss.write_index(index, str(at / "x.faiss"))

    def start(at: Path) -> Ask:
        flags = faiss.IO_FLAG_MMAP if "IVF" in recipe else 0
        index = faiss.read_index(str(at / "x.faiss"), flags)
        space = faiss.ParameterSpace()

        def ask(q: np.ndarray, much: int) -> np.ndarray:
            if effort:
                space.set_index_parameter(index, effort, much)
            return index.search(q[None], K)[1][0]

        return ask

    def change(x: np.ndarray, at: Path) -> None:
        index = faiss.read_index(str(at / "x.faiss"))
        index.add(x[:CHANGED])
        if "HNSW" not in recipe:  # which cannot remove
            index.remove_ids(np.arange(CHANGED))
        faiss.write_index(index, str(at / "x.faiss"))

    return Store(build, start, change, efforts if effort else (0,))


# --- LanceDB ------------------------------------------------------------------------------------


def rows_of(x: np.ndarray, first: int = 0) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
    return pa.table({"id": np.arange(first, first + len(x)), "vector": vectors})


def lance_store(kind: str | None, refine: int = 0, **more: Any) -> Store:
    def build(x: np.ndarray, at: Path) -> None:
        table = lancedb.connect(at / "lance").create_table("x", rows_of(x))
        if kind:
            lists = max(1, len(x) // 4096) if "HNSW" in kind else int(len(x) ** 0.5)
            table.create_index(metric="dot", index_type=kind, num_partitions=lists, **more)  # type: ignore[call-overload]

    def start(at: Path) -> Ask:
        table = lancedb.connect(at / "lance").open_table("x")

        def ask(q: np.ndarray, much: int) -> np.ndarray:
            search = table.search(q).distance_type("dot").limit(K)
            search = search.select(["id", "_distance"])
            if much:
                search = search.nprobes(much)
            if refine:
                search = search.refine_factor(refine)
            return search.to_arrow()["id"].to_numpy()

        return ask

    def change(x: np.ndarray, at: Path) -> None:
        table = lancedb.connect(at / "lance").open_table("x")
        table.add(rows_of(x[:CHANGED], len(x)))
        table.delete(f"id < {CHANGED}")

    return Store(build, start, change, EFFORTS if kind else (0,))


STORES = {
    "exact, float32 file": Store(exact_build, exact_open, exact_change, (0,)),
    "exact, float16 file": Store(half_build, half_open, exact_change, (0,)),
    "faiss Flat": faiss_store("Flat", ""),
    "faiss IVF,Flat": faiss_store("IVF{},Flat", "nprobe"),
    "faiss IVF,SQ8": faiss_store("IVF{},SQ8", "nprobe"),
    "faiss HNSW32": faiss_store("HNSW32", "efSearch", (*EFFORTS[3:], 512)),
    "LanceDB, no index": lance_store(None),
    "LanceDB IVF_PQ, refined": lance_store("IVF_PQ", 10),
    "LanceDB IVF_HNSW_SQ": lance_store("IVF_HNSW_SQ", 5),
}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def compare(n: int, d: int, folder: Path) -> None:
    x, queries = embeddings(n, d)
    truth = [set(best(x @ q)) for q in queries]
    made: dict[str, tuple[Ask, int, list[float]]] = {}
    lines: dict[str, list[str]] = {}
    for name, store in STORES.items():
        at = folder / re.sub(r"\W", "", name)
        at.mkdir()
        built, _ = timed(lambda s=store, a=at: s.build(x, a))
        size = sum(f.stat().st_size for f in at.rglob("*") if f.is_file())
        opened, ask = timed(lambda s=store, a=at: s.open(a))
        first, _ = timed(lambda a=ask, s=store: a(queries[0], s.efforts[0]))
        for effort in store.efforts:
            found = [ask(q, effort) for q in queries]
            hits = [len(t & set(f)) / K for t, f in zip(truth, found, strict=True)]
            if np.mean(hits) >= WANTED:
                break
        made[name] = (ask, effort, [])
        recalls = f"{np.mean(hits[0::2]):.2f} {np.mean(hits[1::2]):.2f}"
        numbers = [f"{built:7.1f}", f"{size / 2**20:6.0f}", f"{1e3 * (opened + first):7.0f}"]
        lines[name] = [*numbers, f"{effort:4d}", recalls]
    for q in queries[:40]:
        for ask, effort, times in made.values():
            times.append(timed(lambda a=ask, q=q, e=effort: a(q, e))[0])
    base = float(np.median(made["exact, float32 file"][2]))
    print(f"\n{n} x {d}: seconds to build, MiB, ms to open and answer once, effort, recall@{K} of")
    print("pictures and of texts, ms a query, times exact, ms to add and remove 100 rows")
    for name, store in STORES.items():
        query = float(np.median(made[name][2]))
        at = folder / re.sub(r"\W", "", name)
        changed, _ = timed(lambda s=store, a=at: s.change(x, a))
        ends = [f"{1e3 * query:8.2f}", f"{query / base:6.2f}", f"{1e3 * changed:7.0f}"]
        print(f"{name:24s}", *lines[name], *ends, flush=True)


def installed(name: str, seen: set[str]) -> Iterator[tuple[str, int]]:
    """Bytes of a distribution and of all it requires."""
    if name in seen:
        return
    seen.add(name)
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return
    yield name, sum((f.size or 0) for f in found.files or ())
    for line in found.requires or ():
        if "extra ==" not in line:
            yield from installed(re.split(r"[^\w.-]", line)[0], seen)


def costs() -> None:
    core = dict(installed("numpy", set()))
    for name, module in (("faiss-cpu", "faiss"), ("lancedb", "lancedb")):
        parts = {k: v for k, v in installed(name, set()) if k not in core}
        code = f"import time, numpy; t = time.time(); import {module}; print(time.time() - t)"
        took = [
            float(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE).stdout)
            for _ in range(3)
        ]
        print(
            f"{name} {importlib.metadata.version(name)}: {len(parts)} distributions, "
            f"{sum(parts.values()) / 2**20:.0f} MiB installed, import {min(took):.2f} s"
        )


# --- kills --------------------------------------------------------------------------------------


def kills(times: int = 10) -> None:
    """Each library changes its own files for ever; a child is killed, then the files are opened."""
    x, queries = embeddings(20_000, 128)
    stores = {k: STORES[k] for k in ("faiss IVF,Flat", "LanceDB, no index")}
    for name, store in stores.items():
        rng, bad = random.Random(0), 0
        with tempfile.TemporaryDirectory() as folder:
            at = Path(folder)
            store.build(x, at)
            shutil.copytree(at, at / "kept")
            for _ in range(times):
                code = "import sys, benchmarks.index as b; b.forever(sys.argv[1], sys.argv[2])"
                child = subprocess.Popen(
                    [sys.executable, "-c", code, name, folder], stdout=subprocess.PIPE
                )
                assert child.stdout and child.stdout.readline() == b"ready\n"
                time.sleep(rng.uniform(0.0, 0.1))
                child.kill()
                child.wait()
                try:
                    store.open(at)(queries[0], store.efforts[-1])
                except (RuntimeError, ValueError, OSError) as error:
                    bad += 1
                    print("  ", str(error).splitlines()[0][:100])
                    shutil.copytree(at / "kept", at, dirs_exist_ok=True)
        print(f"{name}: {bad} of {times} kills left what cannot be opened", flush=True)


def forever(name: str, folder: str) -> None:
    x, _ = embeddings(20_000, 128)
    print("ready", flush=True)
    while True:
        STORES[name].change(x, Path(folder))


def main() -> None:
    torch.set_num_threads(2)
    faiss.omp_set_num_threads(2)
    costs()
    if sys.argv[1:] == ["kill"]:
        kills()
        return
    for size in sys.argv[1:] or ["10000x128", "10000x512", "100000x128", "100000x512"]:
        n, d = size.split("x")
        with tempfile.TemporaryDirectory() as folder:
            compare(int(n), int(d), Path(folder))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent.parent))
    main()
