"""Probes: raw inputs and the numbers they must give."""

import json
import math
from pathlib import Path

import pytest
import torch

from sensorium.weights import probes
from sensorium.weights.errors import WeightsError
from sensorium.weights.probes import Probe, compare, verify
from sensorium.weights.writing import write

JPEG = bytes(range(256))


def some_probes() -> list[Probe]:
    values = {
        "patches": torch.randn(2, 3),
        "block.0": torch.randn(2).double(),
        "out": torch.ones(3),
    }
    limits = {"float32": 1e-5, "bfloat16": 2e-2}
    return [
        Probe("embed_image", {"image": JPEG, "empty": b""}, values, "original code", limits),
        Probe(
            "embed_text", {"a": "ein Hund", "b": "狗 🐕", "c": ""}, {"ids": torch.arange(4)}, "own"
        ),
    ]


def test_probes_come_back(tmp_path: Path):
    probes.write(tmp_path / "probes.safetensors", some_probes())
    for got, want in zip(probes.read(tmp_path / "probes.safetensors"), some_probes(), strict=True):
        assert got._replace(values={}) == want._replace(values={})
        assert list(got.values) == list(want.values)  # the order says where drift begins
        assert all(got.values[name].shape == want.values[name].shape for name in want.values)


def test_a_run_is_verified_value_by_value():
    given = some_probes()
    exact = {probe.verb: probe.values for probe in given}
    assert all(drift.ok for drift in verify(given, lambda probe: exact[probe.verb]))

    def drifting(probe: Probe):
        return {name: value * 1.01 for name, value in probe.values.items()}

    first = verify(given[:1], drifting)[0]
    assert (first.name, first.ok, first.tolerance) == ("embed_image: patches", False, 1e-5)
    assert first.drift == pytest.approx(0.01, rel=1e-3)
    assert all(drift.ok for drift in verify(given[:1], drifting, "bfloat16"))
    with pytest.raises(WeightsError, match="no tolerance for float16; it has: float32, bfloat16"):
        verify(given, drifting, "float16")
    with pytest.raises(WeightsError, match="probe embed_image: values not given back: patches"):
        verify(given, lambda probe: {})


def one(reference: torch.Tensor, got: torch.Tensor, tolerance: float = 1e-3) -> probes.Drift:
    return compare({"x": reference}, {"x": got}, tolerance)[0]


def test_drift_is_the_largest_difference_over_the_largest_value():
    reference = torch.tensor([1.0, -8.0, 2.0])
    drift = one(reference, torch.tensor([1.4, -8.0, 2.0]))
    assert drift.drift == pytest.approx(0.05) and not drift.ok
    assert one(reference, reference.bfloat16()).ok
    assert one(torch.zeros(2), torch.zeros(2)).drift == 0
    assert one(torch.zeros(2), torch.tensor([0.0, 1e-9])).drift == math.inf
    assert one(torch.zeros(0), torch.zeros(0)).ok


def test_not_a_number_never_passes():
    nan, low = torch.tensor([1.0, math.nan]), torch.tensor([1.0, -math.inf])
    assert one(torch.ones(2), nan).drift == math.inf
    assert one(low, -low).drift == math.inf
    assert one(low, low).ok  # a mask of minus infinity, as in the reference
    assert one(nan, low).drift == math.inf


def test_integers_must_be_equal():
    ids = torch.tensor([49406, 320, 49407])
    assert one(ids, ids.int(), 1.0).ok
    assert not one(ids, ids + 1, 1.0).ok
    assert not one(ids, ids.float(), 1.0).ok


def test_another_shape_is_an_error_not_a_drift():
    with pytest.raises(WeightsError, match=r"x has shape \(3,\), the reference \(2,\)"):
        one(torch.ones(2), torch.ones(3))


def test_probes_that_prove_nothing_are_not_written(tmp_path: Path):
    with pytest.raises(WeightsError, match="has no values"):
        probes.write(tmp_path / "p", [Probe("embed", {"a": "b"}, {}, "own")])


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({"version": "2", "probes": []}, "probes of version '2'"),
        ({"version": "1"}, "do not fit"),
        ({"version": "1", "probes": [{"verb": "x"}]}, "do not fit"),
        ({"version": "1", "probes": [1]}, "do not fit"),
    ],
)
def test_damaged_probe_files(tmp_path: Path, about: object, text: str):
    write(tmp_path / "p", {"w": torch.ones(1)}, {probes.KEY: json.dumps(about)})
    with pytest.raises(WeightsError, match=text):
        probes.read(tmp_path / "p")
    write(tmp_path / "q", {"w": torch.ones(1)}, {})
    with pytest.raises(WeightsError, match="holds no probes"):
        probes.read(tmp_path / "q")
