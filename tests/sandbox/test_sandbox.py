"""Programs in the sandbox: how they end, what they may use, what stays of them."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensorium.cli import main
from sensorium.sandbox import STATUSES, Job, Limits, Sandbox, SandboxError
from sensorium.sandbox import pool as pools
from sensorium.sandbox.hostile import RIGHT, TESTS, WRONG
from sensorium.sandbox.selftest import PROGRAMS, broken, selftest
from sensorium.sandbox.watch import Process, below


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(2, Limits(cpu=1.0)) as made:
        yield made


@pytest.mark.parametrize(
    ("program", "status", "detail"),
    [
        ("x = 6 * 7", "ended", "0"),
        ("import sys; sys.exit(3)", "ended", "3"),
        ("1 / 0", "failed", "ZeroDivisionError"),
        ("def f(:", "syntax_error", "SyntaxError"),
        ("x = 'a' * 10 ** 12", "oom", "MemoryError"),
        ("import os; os._exit(0)", "early_exit", "0"),
        ("import os; os.abort()", "crashed", "SIGABRT"),
        ("while True: print('a' * 9999)", "output_limit", "1048576 bytes"),
    ],
)
def test_how_a_script_ends(box: Sandbox, program: str, status: str, detail: str) -> None:
    outcome = box.check(Job(program))
    assert (outcome.status, outcome.detail) == (status, detail)
    assert outcome.status in STATUSES


def test_a_limit_on_time_is_of_cpu_and_sleep_has_its_own(box: Sandbox) -> None:
    loop = box.check(Job("while True: pass", cpu=0.2, wall=20))
    assert (loop.status, loop.detail) == ("timeout_cpu", "0.2 s")
    assert loop.cpu == pytest.approx(0.2, abs=0.1)
    assert box.check(Job("import time; time.sleep(9)", wall=0.2)).status == "timeout_wall"


def test_output_is_kept_apart_and_only_its_beginning(box: Sandbox) -> None:
    text = "import sys; print('a' * 99_999); sys.stderr.write('b')"
    outcome = box.check(Job(text))
    assert (outcome.out, outcome.err) == ("a" * 65_536, "b")


def test_a_file_is_read_as_python_reads_one(box: Sandbox) -> None:
    assert box.check(Job("# coding: latin-1\nprint(ord('é'))".encode("latin-1"))).out == "233\n"
    assert box.check(Job("x = 'é'".encode("latin-1"))).status == "syntax_error"


def test_tests_are_asked_from_another_process(box: Sandbox) -> None:
    def outcome(text: str, mode: str = "two") -> str:
        tests = "" if mode == "one" else TESTS
        return box.check(Job(text, mode, tests, names=("f",))).status

    assert outcome(RIGHT) == "passed" and outcome(WRONG) == "failed"
    assert outcome(RIGHT + TESTS, "one") == "passed" and outcome(WRONG + TESTS, "one") == "failed"
    fooled = "class I(int):\n __eq__ = lambda a, b: True\n __hash__ = None\ndef f(x): return I()\n"
    assert outcome(fooled) == "failed"
    assert outcome(fooled + TESTS, "one") == "passed"  # which is why such verdicts are marked
    assert box.check(Job(RIGHT + TESTS, "one")).forgeable
    assert not box.check(Job(RIGHT, "two", TESTS, names=("f",))).forgeable


def test_tests_may_use_errors_helpers_and_objects_of_the_program(box: Sandbox) -> None:
    program = (
        "class P:\n def __init__(self, x): self.x = x\n"
        "def total(ps): return sum(p.x for p in ps)\n"
        "def fails(kind): raise {'k': KeyError, 'o': OSError}[kind]('why')\n"
        "def same(*a, **b): return a, b\n"
    )
    tests = (
        "assert total([P(1), P(2)]) == three()\n"
        "for kind, error in (('k', KeyError), ('o', OSError)):\n"
        "    try: fails(kind)\n    except error: pass\n    else: raise AssertionError\n"
        "sent = (1, 2.5, -0.0, float('inf'), 'é\\ud800', b'\\xff', [None, True], {1: (2,)}, {3},\n"
        "        frozenset({4}), 1j, 10**30, range(3))\n"
        "assert repr(same(*sent, k=sent)) == repr((sent, {'k': sent}))\n"
    )
    names = ("P", "total", "fails", "same")
    job = Job(program, "two", tests, "def three(): return 3\n", names)
    assert box.check(job).status == "passed"
    job = Job(program, "two", "same(int)", names=names)
    assert box.check(job)[:2] == ("infrastructure_error", "Argument")  # never a wrong score


def test_nothing_goes_from_one_program_to_the_next(box: Sandbox) -> None:
    text = "import os, random; random.seed(0); os.environ['A'] = '1'; open('/tmp/a', 'w').close()"
    assert box.check(Job(text)).status == "ended"
    for _ in range(2):
        text = "import os; print(os.environ.get('A'), os.listdir('/tmp'))"
        assert box.check(Job(text)).out == "None []\n"
    drawn = {box.check(Job("import random; print(random.random())")).out for _ in range(3)}
    assert len(drawn) == 3


def test_many_programs_keep_their_order(box: Sandbox) -> None:
    seen: list[int] = []
    jobs = [Job(f"print({n})") for n in range(20)]
    found = box.each(jobs, lambda place, outcome: seen.append(place))
    assert [one.out for one in found] == [f"{n}\n" for n in range(20)]
    assert sorted(seen) == list(range(20))


@pytest.mark.slow  # programs against the clock: not beside other work
def test_an_honest_program_at_nine_tenths_of_its_limit_passes_with_the_machine_busy() -> None:
    text = "import time\nwhile time.process_time() < 0.18: pass" + RIGHT
    with Sandbox(2, Limits(cpu=0.2, wall=30)) as box:
        found = box.each([Job(text, "two", TESTS, names=("f",))] * 6)
    assert {one.status for one in found} == {"passed"}


def test_a_server_that_dies_is_replaced() -> None:
    with Sandbox(1) as box:
        worker = box.workers[0]
        assert worker.first is not None
        os.kill(worker.first, 9)
        assert box.check(Job("x = 1")).status == "infrastructure_error"
        assert box.check(Job("x = 1")).status == "ended"
        first = worker.first
    deadline = time.monotonic() + 5
    while Path(f"/proc/{first}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{first}").exists()


def test_it_refuses_where_nothing_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(limits: Limits, through: str, bwrap: str = "") -> None:
        raise SandboxError(f"{through}: unshare: Operation not permitted")

    monkeypatch.setattr(pools, "Worker", none)
    with pytest.raises(SandboxError, match=r"unshare.*install bubblewrap.*--unsafe"):
        Sandbox(1)


def test_without_isolation_only_when_told_and_it_says_so() -> None:
    with Sandbox(1, Limits(cpu=0.3), through="nothing") as box:
        assert box.facts["through"] == "nothing"
        assert box.check(Job("print(1)")).out == "1\n"
        assert box.check(Job(RIGHT, "two", TESTS, names=("f",))).status == "passed"
        assert box.check(Job("while True: pass", wall=9)).status == "timeout_cpu"


def test_memory_below_a_server_is_that_of_all_its_descendants() -> None:
    table = [
        Process(1, 0, 9),
        Process(2, 1, 5),
        Process(3, 2, 7),
        Process(4, 3, 1),
        Process(8, 7, 6),
    ]
    assert [one.pid for one in below(table, 2)] == [3, 4]
    assert below(table, 4) == []


def test_the_watch_ends_what_no_group_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.sandbox.cgroups._parents", dict)
    text = (
        "import os, time\nfor _ in range(8):\n if os.fork() == 0:\n"
        "  x = bytearray(b'1') * (60 << 20)\n  time.sleep(99)\ntime.sleep(99)"
    )
    with Sandbox(1, Limits(cpu=9, memory=200 << 20)) as box:
        assert box.facts["memory"] == "watched"
        assert box.check(Job(text)).status == "oom"
        assert box.check(Job("x = 1")).status == "ended"


@pytest.mark.slow  # programs against the clock: not beside other work
def test_the_selftest_contains_everything() -> None:
    done: list[tuple[int, int]] = []
    found = selftest(progress=lambda *now: done.append(now))
    assert found["holds"], broken(found)
    assert len(found["programs"]) == len(PROGRAMS) + 1 >= 41
    assert {tuple(row) for row in found["programs"]} == {("name", "expected", "seen", "contained")}
    assert len({row["name"] for row in found["programs"]}) == len(found["programs"])
    assert done[-1] == (len(PROGRAMS), len(PROGRAMS))


def test_the_command_runs_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.py"
    file.write_text("print(6 * 7)")
    assert main(["sandbox", "run", str(file), "--json"]) == 0
    assert '"out": "42\\n"' in capsys.readouterr().out
    file.write_text("1 / 0")
    assert main(["sandbox", "run", str(file)]) == 1
    assert "failed ZeroDivisionError" in capsys.readouterr().err
    assert main(["sandbox", "run"]) == 1
    assert "which program" in capsys.readouterr().err
    assert main(["sandbox", "run", str(tmp_path / "none.py")]) == 1
