"""Few corrupt samples, many of them, and a record that was damaged."""

from pathlib import Path

import pytest

from sensorium.data.errors import DataError
from sensorium.data.loader import Corrupt, Loaded, load, micro_batches
from sensorium.train.log import read_metrics
from sensorium.train.loop import note_corrupt
from tests.data.test_loader import SIZE, source


def batch(*indices: int) -> dict[str, list[Loaded]]:
    corrupt = [Corrupt(i, f"{i}.png", f"{i}.png: the file is empty") for i in indices]
    return {"contrast": [Loaded(None, list(indices), corrupt)]}


def test_a_few_corrupt_samples_are_named_once_and_many_are_an_error() -> None:
    seen: dict[str, str] = {}
    data = {"contrast": range(40)}
    note_corrupt(seen, batch(3, 17), data, 0.01)
    note_corrupt(seen, batch(3, 20), data, 0.01)
    assert next(iter(seen.values())) == "3.png: the file is empty" and len(seen) == 3
    with pytest.raises(ValueError, match=r"^4 of 40 samples .* the 3 .*21\.png.*take them out$"):
        note_corrupt(seen, batch(21), data, 0.01)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_worker_is_said_without_its_traceback(workers: int) -> None:
    broken = source(corrupt=tuple(range(SIZE)))
    with pytest.raises(DataError, match=r"^8 samples in a row") as error:
        next(load(broken, micro_batches(0, 4, 0, 1, 1), 0, workers))
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("rest", [b'{"step": 2, "lo', b"5\n", b"[]\n", b"\xff\xfe\0\n", b"{}\n"])
def test_metrics_are_read_up_to_where_they_are_damaged(tmp_path: Path, rest: bytes) -> None:
    at = tmp_path / "metrics.jsonl"
    at.write_bytes(b'{"step": 1}\n' + rest + b'\n{"step": 3}\n')
    assert read_metrics(at) == [{"step": 1}]
