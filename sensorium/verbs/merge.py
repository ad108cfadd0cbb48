"""Additions to a model's weights (LoRA) worked into them, and proved to change nothing."""

import os
from typing import Any

import torch
from torch import Tensor

from sensorium.models.declaration import declared
from sensorium.models.scored import IDS, scored, writes
from sensorium.nn.lowrank import LowRank, merged
from sensorium.verbs.exchange import MANIFEST_OF_SAVE, save_model
from sensorium.verbs.load import assemble, load_folder
from sensorium.verbs.model import Model
from sensorium.verbs.shown import drawn, shows
from sensorium.verbs.speech.probe import heard, listens, sounds
from sensorium.weights.errors import WeightsError

LIMIT = 1e-5  # max |difference| / max |output| in float32


def merge_model(folder: str | os.PathLike[str], to: str | os.PathLike[str]) -> dict[str, Any]:
    """Writes a checkpoint without additions that does what the one in `folder` does.

    Returns:
        Where it is, how many maps had an addition, and the largest difference over the largest
        output between the two.

    Raises:
        WeightsError: there are no additions, or what came out gives other outputs (then nothing is
            written).
    """
    model = load_folder(folder)
    count = sum(isinstance(m, LowRank) for m in model.net.modules())
    made = without_additions(model)
    difference = apart(model, made)
    if not difference <= LIMIT:
        raise WeightsError(f"{folder}: merged, outputs differ by {difference:.1e} ({LIMIT:.0e})")
    at = save_model(made, to)
    load_folder(at)
    return {"folder": str(at), "maps": count, "difference": difference}


def without_additions(model: Model) -> Model:
    """The same model with every addition worked into its weight.

    WeightsError: it has none.
    """
    spec = model.manifest["model"]
    if not any(isinstance(m, LowRank) for m in model.net.modules()):
        raise WeightsError(f"model {spec['function']} has no additions to merge")
    kept = {k: v for k, v in model.manifest.items() if k not in MANIFEST_OF_SAVE}
    plain = declared(spec["args"]["of"]).spec()
    table = model.words.data() if model.words is not None else None
    tensors = {name: tensor.detach().clone() for name, tensor in merged(model.net).items()}
    return assemble(tensors, kept | {"model": plain}, model.folder, table)


def apart(model: Model, other: Model) -> float:
    """The largest difference over the largest output, of drawn pictures or sounds and fixed ids."""
    a, b = outputs(model), outputs(other)
    top = float(a.abs().max())
    return float((a - b).abs().max()) / max(top, 1e-30)


@torch.inference_mode()
def outputs(model: Model) -> Tensor:
    """What a model says of drawn pictures, of drawn sounds, or of fixed ids."""
    if shows(model.net):
        return drawn(model.net).double()
    if listens(model.net):
        return torch.cat([heard(model.net, one)["scores"] for one in sounds()]).double()
    if writes(model.net):
        return scored(model.net, IDS).double()
    raise WeightsError("only models that say texts are merged")
