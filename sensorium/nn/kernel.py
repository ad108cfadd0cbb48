"""One token a row through a LLaMA on a processor, as one call of C++ over weights of few bits.

Reading the weights is what a token costs. The source (products.cpp, step.cpp) is compiled once by
Inductor's cache of compiled code (which picks the flags of this machine); where no compiler works,
`kernel` gives None and everything runs through torch. Sums are in float32 whatever the weights are.
"""

import ctypes
from functools import lru_cache
from pathlib import Path

from torch._inductor.codecache import CppCodeCache

SOURCES = ("products.cpp", "step.cpp")


@lru_cache(maxsize=1)
def kernel() -> ctypes.CDLL | None:
    """The compiled source; None where it cannot be compiled here. Compiling takes some seconds."""
    source = "".join((Path(__file__).parent / name).read_text() for name in SOURCES)
    try:
        made = CppCodeCache.load(source)
    except (RuntimeError, OSError, ImportError):  # no compiler, or one that does not work
        return None
    return made
