"""What all tests share."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # machines are slow now and then
settings.load_profile("patient")
torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what was not asked for: slow tests, and tests of data that is not there."""
    chosen = config.getoption("markexpr")
    out = []
    if "slow" not in chosen:
        out.append("slow")
    if "SENSORIUM_DATA" not in os.environ:
        out.append("data")
    dropped = [item for item in items if any(item.get_closest_marker(mark) for mark in out)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


@pytest.fixture
def catalogue() -> Path:
    """The folder of openly licensed data sets."""
    return Path(os.environ["SENSORIUM_DATA"])


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Torch's global generator, the same at the start of every test."""
    torch.manual_seed(0)
