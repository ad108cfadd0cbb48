"""Multimodal foundation models: build, train, check, evaluate and serve them from shared parts."""

from typing import TYPE_CHECKING, Any

from sensorium.version import VERSION as __version__

if TYPE_CHECKING:
    from sensorium.verbs.open import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Imports `load` on first use: importing the package must not import torch."""
    if name == "load":
        from sensorium.verbs.open import load

        return load
    raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
