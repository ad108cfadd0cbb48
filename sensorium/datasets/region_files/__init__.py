"""Files of region features as people have them on disk: read, checked, written.

`open_regions` gives a data set of `Seen`; see `docs/regions.md` for which file fits which system.
"""

from sensorium.datasets.region_files.open import KINDS, open_regions
from sensorium.datasets.region_files.record import Needs, Seen, check

__all__ = ["KINDS", "Needs", "Seen", "check", "open_regions"]
