"""The record: nothing is measured twice, an interrupted measurement goes on, damage is named."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from sensorium.claims.record import Record, Row, complete


class Design(NamedTuple):
    scale: float
    sizes: tuple[int, ...] = (1, 2)


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    if job["seed"] == 13:
        raise ValueError("an unlucky seed")
    torch.manual_seed(job["seed"])
    return {"value": design.scale * job["seed"], "threads": torch.get_num_threads()}


JOBS = [{"arm": "a", "seed": seed} for seed in range(4)]


def test_jobs_are_done_once_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        record = Record(tmp_path / "results.jsonl", Design(2.0))
        complete(record, Design(2.0), JOBS, work, said.append, workers=0)
    assert record.get(arm="a", seed=3) == {"value": 6.0, "threads": 1}
    assert len(said) == len(JOBS) + 1 and "4 of 4 jobs were done before" in said[-1]


def test_an_interrupted_measurement_goes_on(tmp_path: Path) -> None:
    path, design = tmp_path / "results.jsonl", Design(2.0)
    broken = [*JOBS[:2], {"arm": "a", "seed": 13}, *JOBS[2:]]
    with pytest.raises(ValueError, match="unlucky"):
        complete(Record(path, design), design, broken, work, lambda text: None, workers=0)
    with path.open("a") as file:
        file.write('{"job": {"arm": "a", "se')  # killed while writing
    record = Record(path, design)
    assert record.left(JOBS) == JOBS[2:]
    complete(record, design, JOBS, work, lambda text: None, workers=0)
    assert [row.job for row in Record(path, design).rows] == JOBS


def test_processes_find_what_one_process_finds(tmp_path: Path) -> None:
    found = []
    for workers in (0, 2):
        record = Record(tmp_path / f"{workers}.jsonl", Design(0.5))
        complete(record, Design(0.5), JOBS[:2], work, lambda text: None, workers=workers)
        found.append(sorted((row.job["seed"], row.found["value"]) for row in record.rows))
    assert found[0] == found[1]


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    before = torch.get_num_threads()
    record = Record(tmp_path / "results.jsonl", Design(1.0))
    complete(record, Design(1.0), JOBS, work, lambda text: None, workers=0)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == before


def test_results_of_another_design_are_not_mixed_in(tmp_path: Path) -> None:
    Record(tmp_path / "results.jsonl", Design(1.0)).add(Row(JOBS[0], {"value": 1.0}, 0.1))
    with pytest.raises(ValueError, match="another design"):
        Record(tmp_path / "results.jsonl", Design(2.0))


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Record(path, Design(1.0)).add(Row(JOBS[0], {"value": 1.0}, 0.1))
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(ValueError, match="line 3 is damaged"):
        Record(path, Design(1.0))


def test_a_missing_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="seed"):
        Record(tmp_path / "results.jsonl", Design(1.0)).get(arm="a", seed=0)
