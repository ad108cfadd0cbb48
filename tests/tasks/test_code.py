"""pass@k of given samples: the estimator, the files, the programs, the records."""

import gzip
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sensorium.cli import main
from sensorium.data.errors import DataError
from sensorium.datasets.coding import Coding
from sensorium.datasets.humaneval import CodingSet, humaneval
from sensorium.datasets.mbpp import called, mbpp
from sensorium.sandbox import Job, Limits, Outcome, Sandbox
from sensorium.tasks.code.command import coding, facts
from sensorium.tasks.code.passk import checked, pass_at
from sensorium.tasks.code.samples import Sample, read, write
from sensorium.tasks.code.score import Asked, job, pass_at_k, recount
from sensorium.tasks.records import TaskError
from sensorium.tasks.records import read as read_records
from sensorium.tasks.scores import score

PROMPT = 'from math import pi\n\n\ndef one(x):\n    return 1\n\n\ndef add(a, b):\n    """Adds."""\n'
ROW = {
    "task_id": "T/1",
    "prompt": PROMPT,
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert one(0) == 1\n",
}
RIGHT, WRONG = "    return a + b\n", "    return a - b\n"
PROGRAMS = {"T/1": [RIGHT, WRONG, RIGHT, "    return 1 / 0\n"], "T/2": [WRONG, "", "!", RIGHT]}


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(2, Limits(cpu=1.0)) as made:
        yield made


@pytest.fixture
def data(tmp_path: Path) -> CodingSet:
    """Two problems in a file of HumanEval's form."""
    file = tmp_path / "HumanEval.jsonl.gz"
    rows = [ROW, ROW | {"task_id": "T/2"}]
    file.write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows)))
    return humaneval(file)


@pytest.fixture
def samples() -> list[Sample]:
    return [Sample(task, n, text) for task, some in PROGRAMS.items() for n, text in enumerate(some)]


# --- the estimator -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "c", "k", "value"),
    [
        *((5, 2, 1, 0.4), (10, 3, 5, 0.9166666666666667), (200, 1, 100, 0.5)),
        *((200, 0, 100, 0.0), (100, 1, 100, 1.0), (1, 1, 1, 1.0)),
    ],
)
def test_the_estimator_at_known_places(n: int, c: int, k: int, value: float) -> None:
    assert pass_at(n, c, k) == pytest.approx(value, abs=1e-12)


def test_the_estimator_is_the_share_of_draws_that_hold_a_right_one() -> None:
    for n, c in itertools.product(range(1, 8), range(8)):
        for k in range(1, n + 1):
            if c <= n:
                draws = list(itertools.combinations([1] * c + [0] * (n - c), k))
                share = sum(any(draw) for draw in draws) / len(draws)
                assert pass_at(n, c, k) == pytest.approx(share, abs=1e-12)
                exact = 1 - math.comb(n - c, k) / math.comb(n, k)
                assert pass_at(n, c, k) == pytest.approx(exact, abs=1e-12)


def test_the_naive_estimate_is_too_low() -> None:
    for n, c, k in ((10, 3, 5), (20, 1, 10), (5, 2, 3)):
        assert 1 - (1 - c / n) ** k < pass_at(n, c, k)
    g = np.random.default_rng(0)
    drawn = [pass_at(10, int(c), 5) for c in g.binomial(10, 0.2, 20_000)]
    assert np.mean(drawn) == pytest.approx(1 - 0.8**5, abs=0.01)


def test_a_k_above_n_is_refused_with_the_problem() -> None:
    with pytest.raises(
        TaskError, match=r"pass@5 needs at least 5 .* 1 of 2 have fewer \(b has 4\)"
    ):
        checked([1, 5], {"a": 5, "b": 4})
    with pytest.raises(TaskError, match="pass@3 needs at least 3"):
        pass_at(2, 1, 3)
    for ks in ([], [0], [-1]):
        with pytest.raises(TaskError, match="at least one k"):
            checked(ks, {"a": 5})
    assert checked([5, 1, 5], {"a": 5}) == (1, 5)


# --- files of samples ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.gz"])
def test_samples_are_read_as_they_were_written(
    tmp_path: Path, data: CodingSet, samples: list[Sample], name: str
) -> None:
    odd = [*samples, Sample("T/1", 4, "é\ud800\0\r\n"), Sample("T/2", 4, "")]
    write(tmp_path / name, odd)
    assert sorted(read(tmp_path / name, data.problems)) == sorted(odd)
    assert [path.name for path in tmp_path.glob("s*")] == [name]


def line(**row: object) -> bytes:
    return json.dumps(row).encode() + b"\n"


GOOD = line(task_id="T/1", completion="") + line(task_id="T/2", completion="")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "holds no sample"),
        (b"\n\n", "holds no sample"),
        (line(task_id="T/1", completion=""), r"1 of 2 problems have no sample \(T/2\).*--part"),
        (
            GOOD + line(task_id="T/9", completion=""),
            "1 problems are not in the data.*'T/9' in line 3",
        ),
        (GOOD + b"{", "line 3: no JSON"),
        (GOOD + b'"\xff"\n', "line 3: no JSON in UTF-8"),
        (GOOD + b"[1]\n", "line 3: no JSON object"),
        (GOOD + b"[" * 100_000, "line 3: no JSON"),
        (GOOD + line(task_id="T/1"), "line 3: needs the texts"),
        (GOOD + line(task_id="T/1", completion=7), "line 3: needs the texts"),
        (GOOD + line(task_id=None, completion=""), "line 3: needs the texts"),
        (
            2 * line(task_id="T/1", completion="", sample=0) + GOOD,
            "line 2: T/1 has a second sample",
        ),
    ],
)
def test_a_bad_file_of_samples_is_one_clear_error(
    tmp_path: Path, data: CodingSet, text: bytes, match: str
) -> None:
    (tmp_path / "s.jsonl").write_bytes(text)
    with pytest.raises(TaskError, match=match) as error:
        read(tmp_path / "s.jsonl", data.problems)
    assert str(error.value).startswith(f"{tmp_path}/s.jsonl: ") and len(str(error.value)) < 400


def test_a_damaged_archive_is_an_error_and_a_part_is_a_choice(
    tmp_path: Path, data: CodingSet
) -> None:
    packed = gzip.compress(GOOD * 50)
    for text in (packed[:-9], b"no gzip", packed[:40] + b"x" + packed[41:]):
        (tmp_path / "s.jsonl.gz").write_bytes(text)
        with pytest.raises(TaskError, match=r"damaged|no JSON"):
            read(tmp_path / "s.jsonl.gz", data.problems)
    (tmp_path / "s.jsonl").write_bytes(line(task_id="T/1", completion="x"))
    assert read(tmp_path / "s.jsonl", data.problems, part=True) == [Sample("T/1", 0, "x")]


# --- scoring -------------------------------------------------------------------------------------


def test_what_is_scored_is_what_was_drawn(
    tmp_path: Path, data: CodingSet, samples: list[Sample], box: Sandbox
) -> None:
    at, seen = tmp_path / "records.jsonl.gz", list[tuple[int, int]]()
    asked = Asked((1, 2, 4), about={"temperature": "0.8"})
    found = pass_at_k(data, samples, box, asked, path=at, progress=lambda *now: seen.append(now))
    by_hand = {k: (pass_at(4, 2, k) + pass_at(4, 1, k)) / 2 for k in (1, 2, 4)}
    assert {k: found["pass"][f"pass@{k}"].value for k in by_hand} == pytest.approx(by_hand)
    assert found["problems"]["solved"].value == 1.0
    assert found["pass"]["pass@1"].low == 0.25 and found["pass"]["pass@1"].high == 0.5
    kept = read_records(at)
    assert score(kept) == found == recount(kept)
    header = kept.header
    assert header["statuses"] == {"passed": 3, "failed": 4, "syntax_error": 1}
    assert header["n"] == {"least": 4, "most": 4} and header["about"] == {"temperature": "0.8"}
    assert header["samples"]["count"] == 8 and header["samples"]["different"] == 7
    assert header["sandbox"]["limits"]["cpu"] == 1.0 and header["mode"] == "two"
    raw = {row["id"]: row["completion"] for row in kept.rows if row["part"] == "sample"}
    assert raw["T/2#000002"] == "!"
    assert seen[-1] == (5, 5)  # equal programs for equal tests run once
    assert not list(tmp_path.glob("*.journal"))


def test_records_that_were_changed_are_refused(
    tmp_path: Path, data: CodingSet, samples: list[Sample], box: Sandbox
) -> None:
    pass_at_k(data, samples, box, path=tmp_path / "r.jsonl")
    kept = read_records(tmp_path / "r.jsonl")
    row = next(row for row in kept.rows if row["part"] == "sample" and row["status"] == "failed")
    row["status"] = "passed"
    with pytest.raises(TaskError, match="contradict themselves"):
        recount(kept)


def test_a_run_that_was_stopped_goes_on(
    tmp_path: Path, data: CodingSet, samples: list[Sample], box: Sandbox
) -> None:
    at = tmp_path / "r.jsonl"

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pass_at_k(data, samples, box, path=at, progress=stop)
    journal = tmp_path / "r.jsonl.journal"
    kept = journal.read_bytes()
    assert len(kept.splitlines()) >= 3 and not at.exists()
    journal.write_bytes(kept + b'["torn')
    seen: list[tuple[int, int]] = []
    found = pass_at_k(data, samples, box, path=at, progress=lambda *now: seen.append(now))
    assert seen[0][0] == len(kept.splitlines()) + 1 and seen[-1] == (5, 5)
    assert found == pass_at_k(data, samples, box)


def test_what_is_late_is_run_again_alone_before_it_counts(data: CodingSet, tmp_path: Path) -> None:
    class Late(Sandbox):
        """A sandbox whose machine was too busy the first time."""

        def __init__(self) -> None:
            self.facts = dict.fromkeys(("through", "version", "python", "machine", "limits"), "")
            self.alone = 0

        def each(
            self, jobs: list[Job], seen: Callable[[int, Outcome], None] | None = None
        ) -> list[Outcome]:
            found = [Outcome(one) for one in ("timeout_cpu", "infrastructure_error")]
            for place, outcome in enumerate(found):
                assert seen is not None
                seen(place, outcome)
            return found

        def check(self, one: Job) -> Outcome:
            self.alone += 1
            return Outcome("passed" if RIGHT in str(one.program) else "timeout_cpu")

    late = Late()
    some = [Sample("T/1", 0, RIGHT), Sample("T/2", 0, WRONG)]
    at = tmp_path / "r.jsonl"
    found = pass_at_k(data, some, late, path=at)
    assert found["pass"]["pass@1"].value == 0.5 and late.alone == 2
    firsts = {row["id"]: row["first"] for row in read_records(at).rows if row["part"] == "sample"}
    assert firsts == {"T/1#000000": "timeout_cpu", "T/2#000000": "infrastructure_error"}
    late.check = lambda one: Outcome("infrastructure_error", "X", "why")  # type: ignore[method-assign]
    with pytest.raises(TaskError, match=r"failed twice on a program: X: why.*no score"):
        pass_at_k(data, some, late)


def test_ten_megabytes_and_nothing_are_counted(data: CodingSet, box: Sandbox) -> None:
    some = [Sample("T/1", 0, "#" * 10_000_000 + "\n" + RIGHT), Sample("T/2", 0, "")]
    assert pass_at_k(data, some, box)["pass"]["pass@1"].value == 0.5
    some = [Sample("T/1", 0, "    x = 1\n" * 1_000_000), Sample("T/2", 0, RIGHT)]
    assert pass_at_k(data, some, box, Asked(extract="chat"))["pass"]["pass@1"].value == 0.5


def test_one_process_is_marked_as_what_it_is(
    tmp_path: Path, data: CodingSet, samples: list[Sample], box: Sandbox
) -> None:
    two = pass_at_k(data, samples, box)
    assert pass_at_k(data, samples, box, Asked(mode="one"), path=tmp_path / "r.jsonl") == two
    assert read_records(tmp_path / "r.jsonl").header["forgeable"] == 3


# --- the published sets --------------------------------------------------------------------------


def judged(box: Sandbox, problems: list[Coding]) -> dict[str, Outcome]:
    """The outcome of each problem's reference, two processes where they serve."""
    jobs = []
    for one in problems:
        text = one.reference.removeprefix(one.prompt) if one.completes else one.reference
        jobs.append(job(one, text, Asked()))
    found = box.each(jobs)
    return {
        f"{one.id} {outcome.status} {outcome.detail}": outcome
        for one, outcome in zip(problems, found, strict=True)
        if outcome.status != "passed"
    }


@pytest.mark.data
def test_references_pass_where_they_are_odd(catalogue: Path, box: Sandbox) -> None:
    first = humaneval(catalogue / "code").problems
    odd = [first[n] for n in (0, 32, 33, 38, 50, 53, 75, 162)]  # helpers, random inputs, slowest
    second = {one.id: one for one in mbpp(catalogue / "code", split="all").problems}
    odd += [second[f"MBPP/{n}"] for n in (2, 56, 126, 349, 367, 533, 596, 899, 927, 967)]
    assert judged(box, odd) == {}


@pytest.mark.slow
@pytest.mark.data
def test_all_references_pass(catalogue: Path) -> None:
    folder = catalogue / "code"
    with Sandbox() as box:
        assert judged(box, humaneval(folder).problems) == {}
        assert judged(box, mbpp(folder, split="all").problems) == {}
        assert judged(box, mbpp(folder, sanitized=True, split="all").problems) == {}


@pytest.mark.data
def test_the_published_files_are_what_they_are_said_to_be(catalogue: Path) -> None:
    folder = catalogue / "code"
    first = humaneval(folder)
    assert first.official and len(first.problems) == 164
    assert sum(one.prompt.endswith("\n") for one in first.problems) == 164
    assert [n for n, one in enumerate(first.problems) if "def " in one.head] == [10, 32, 38, 50]
    for one in first.problems:
        written = one.reference.removeprefix(one.prompt)
        assert not any(stop in written for stop in one.stops)  # stops never hurt the reference
    sizes = {
        s: len(mbpp(folder, split=s).problems) for s in ("prompt", "test", "validation", "train")
    }
    assert sizes == {"prompt": 10, "test": 500, "validation": 90, "train": 374}
    sizes = {
        s: len(mbpp(folder, True, s).problems) for s in ("prompt", "test", "validation", "train")
    }
    assert sizes == {"prompt": 7, "test": 257, "validation": 43, "train": 120}
    one = mbpp(folder).problems[0]
    assert one.prompt.count("[BEGIN]\n") == 4 and one.prompt.count("[DONE]\n\n") == 3
    assert one.prompt.endswith("\n[BEGIN]\n") and "\r" not in one.prompt
    assert coding("mbpp:validation", folder).name == "mbpp:validation"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "holds no problem"),
        (b"{", "line 1: no JSON"),
        (b"[]", "line 1: lacks the texts task_id"),
        (json.dumps(ROW | {"test": 3}).encode(), "lacks the texts test"),
        (json.dumps(ROW | {"prompt": "x = 1\n"}).encode(), "does not begin the function 'add'"),
        (json.dumps(ROW | {"prompt": "def (\n"}).encode(), "does not begin the function 'add'"),
    ],
)
def test_a_file_that_is_not_humaneval_is_refused(tmp_path: Path, text: bytes, match: str) -> None:
    (tmp_path / "h.jsonl").write_bytes(text)
    with pytest.raises(DataError, match=match):
        humaneval(tmp_path / "h.jsonl")


@pytest.mark.parametrize("row", [{}, {"task_id": 1}, {"task_id": 11, "code": "", "text": ""}, 7])
def test_a_file_that_is_not_mbpp_is_refused(tmp_path: Path, row: object) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match="is this MBPP's file"):
        mbpp(tmp_path / "m.jsonl")
    with pytest.raises(DataError, match="no split 'tests'"):
        mbpp(tmp_path / "m.jsonl", split="tests")
    for name in ("mbpp:tests", "humaneval:test", "apps"):
        with pytest.raises(DataError, match=r"no split|no problems are called"):
            coding(name, tmp_path)


def test_names_that_tests_call() -> None:
    assert called("assert f(1) == len(g([x for x in y]))", "") == ("f", "g", "y")
    assert called("import math\nassert sum(1, 2) == math.pi", "def sum(a, b): pass") == ("sum",)


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.slow  # programs against the clock: not beside other work
def test_the_command_scores_and_recounts(
    tmp_path: Path, data: CodingSet, samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    at, out = tmp_path / "s.jsonl", tmp_path / "r.jsonl"
    write(at, samples)
    words = ["score", "code", str(at), "--folder", str(tmp_path), "-k", "1", "2", "--json"]
    assert main([*words, "--records", str(out), "--about", "temperature=0.2"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["scores"]["pass"]["pass@1"] == 0.375
    assert found["about"] == {"temperature": "0.2"} and found["data"]["official"] is False
    assert main(["score", "code", str(out), "--recount", "--json"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["scores"] == found["scores"] and again["intervals"] == found["intervals"]
    assert main([*words[:-3], "9"]) == 1
    assert "pass@9 needs at least 9" in capsys.readouterr().err
    assert main([*words, "--records", str(tmp_path)]) == 1
    assert "choose another" in capsys.readouterr().err
    with pytest.raises(TaskError, match="NAME=VALUE"):
        facts(["temperature"])
