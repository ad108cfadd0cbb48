"""What an untrusted picture may cost at most, and the one error the media door raises."""

from typing import NamedTuple


class MediaError(ValueError):
    """A picture was refused. The text names the file, the reason and what to do; nothing else."""


class Budget(NamedTuple):
    """Upper bounds that hold before anything is decoded.

    The memory needed to decode one picture is at most about 16 bytes a pixel (a WebP animation:
    two canvases, the frame and the result) beside the bytes themselves.
    """

    bytes: int = 64 * 2**20  # of the undecoded file
    pixels: int = 64_000_000  # width x height, before and after a resize
    side: int = 65_535  # the longer side, in pixels
    scans: int = 100  # of a progressive JPEG: each one costs a pass over all pixels


BUDGET = Budget()
