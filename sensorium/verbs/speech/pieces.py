"""A recording cut at its quietest moments into pieces of at most a window, each by itself.

The pieces of one recording can then be transcribed together, where windows of the paper's way
through it wait for each other. A piece does not see the text before it.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.verbs.speech.track import Track

SMOOTH = 31  # frames over which quiet is measured
EARLIEST = 0.5  # of a window: no piece but the last is shorter


class Part:
    """Some frames of a recording, as a recording; what counts as silence is decided by the whole.

    Attributes:
        start: its first frame in the recording.
    """

    def __init__(self, track: Track, start: int, frames: int):
        self.track, self.start, self.frames, self.size = track, start, frames, track.size

    def window(self, start: int, count: int) -> Float[Tensor, "m f"]:
        """As `Track.window`."""
        return self.track.window(self.start + start, count)


def pieces(track: Track) -> Iterator[Part]:
    """The parts of a recording, one after the other; worked out as they are asked for."""
    at = 0
    while track.frames - at > track.size:
        first = int(EARLIEST * track.size)
        level = track.log(at, track.size).mean(dim=0)
        count = first + quietest(level[first:])
        yield Part(track, at, count)
        at += count
    if track.frames > at:
        yield Part(track, at, track.frames - at)


def quietest(level: Float[Tensor, " n"]) -> int:
    """The middle of the quietest stretch; the first of those that are as quiet."""
    width = min(SMOOTH, len(level) - 1 + len(level) % 2)
    half = width // 2
    wide = F.pad(level[None, None], (half, half), mode="replicate")
    smooth = F.avg_pool1d(wide, width, 1)[0, 0]
    return int(torch.argmin(smooth))
