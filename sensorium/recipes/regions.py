"""`sensorium regions`: a folder of pictures and a detector become a file of region features."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensorium.data.errors import DataError
from sensorium.datasets.files import PICTURES, found_below, read
from sensorium.datasets.region_files.record import Seen, by_id
from sensorium.datasets.region_files.write import writing
from sensorium.models.detector_regions import Choice, detector
from sensorium.verbs.detect import look
from sensorium.verbs.model import Model

Say = Callable[[int, int], None]
NAMED = 12  # characters of the weights' sum in a detector's name


def extract(
    model: Model, folder: str | Path, out: str | Path, form: str, choice: Choice, say: Say
) -> dict[str, Any]:
    """Writes the regions of all pictures below a folder, each under its path without ending.

    Run again after a kill, or with more pictures in the folder, it goes on.

    Args:
        form: "lxmert" or "butd" (one tab-separated file), "npz" or "uniter" (a folder).
        say: progress, (pictures done, all pictures).

    Returns:
        The file, the detector's name, how many pictures and regions are new, and those pictures
        that could not be read.

    Raises:
        ValueError: no detector, no pictures, or a file that was begun with other settings.
    """
    detector(model.net)
    if not (0 <= choice.least <= choice.most and 0 <= choice.conf <= 1 and 0 < choice.nms <= 1):
        raise ValueError(
            f"--min {choice.least} --max {choice.most} --conf {choice.conf}: the least number must "
            "not be over the most, and a probability lies between 0 and 1"
        )
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: no such folder of pictures")
    files = found_below(folder, PICTURES)
    if not files:
        raise DataError(f"{folder}: holds no pictures ({', '.join(PICTURES)})")
    ids = [name.rpartition(".")[0] for name in files]
    by_id(ids, f"{folder} (endings left out)")
    name = called(model)
    unreadable, new, regions = [], 0, 0
    with writing(out, form, name, choice._asdict()) as file:
        for done, (one, path) in enumerate(zip(ids, files, strict=True)):
            if one not in file.held:
                try:
                    found = look(model, read(str(folder), path), choice, name=path)
                except (ValueError, OSError) as wrong:
                    unreadable.append(str(wrong))
                else:
                    file.add(Seen(one, detector=name, **found._asdict()))
                    new, regions = new + 1, regions + len(found.boxes)
            say(done + 1, len(files))
    found = {"file": str(out), "detector": name, "pictures": len(files), "new": new}
    return found | {"new regions": regions, "unreadable": unreadable}


def called(model: Model) -> str:
    """The name that a detector's files carry: its own, and the start of its weights' sum."""
    own = model.manifest.get("name") or "detector"
    return f"{own}@{model.fingerprint()[:NAMED]}"
