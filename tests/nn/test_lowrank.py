"""Additions of low rank: nothing at first, what the formula says later, and nothing when merged."""

from pathlib import Path

import pytest
import torch
from torch import nn

from sensorium.media import transform
from sensorium.media.specs import padded_clip
from sensorium.models.declaration import Declaration, declared
from sensorium.models.llava import TINY
from sensorium.models.lora import lora
from sensorium.nn.lowrank import LowRank, merged, widen
from sensorium.verbs.exchange import save_model
from sensorium.verbs.load import load_folder
from sensorium.verbs.merge import apart, merge_model
from sensorium.verbs.model import Model
from sensorium.weights.errors import WeightsError
from tests.models.nets import filled, posed

WIDE = Declaration(lora, dict(of=TINY.spec(), rank=3, alpha=6.0))


def test_an_addition_is_what_the_paper_says() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(5, 7).double()
    made = LowRank(plain, 2, 8.0)
    x = torch.randn(3, 5, dtype=torch.float64)
    assert torch.equal(made(x), plain(x))
    with torch.no_grad():
        made.up.normal_()
    slow = [plain.weight @ row + 4.0 * (made.up @ (made.down @ row)) + plain.bias for row in x]
    assert torch.allclose(made(x), torch.stack(slow), atol=1e-12)
    assert torch.allclose(x @ made.merged().T + plain.bias, made(x), atol=1e-12)


def test_names_stay_and_the_state_merges_to_the_plain_one() -> None:
    net, plain = filled(WIDE), TINY.build()
    names = {n for n, m in net.named_modules() if isinstance(m, LowRank)}
    assert len(names) == 8 and all(n.startswith("decoder.stack.blocks.") for n in names)
    state = merged(net)
    assert state.keys() == plain.state_dict().keys()
    plain.load_state_dict(state)
    batch = posed(TINY, plain).batch
    with torch.no_grad():
        a, b = net(batch.source, batch.text), plain(batch.source, batch.text)
    assert float((a - b).abs().max()) <= 1e-5 * float(a.abs().max())
    declared(WIDE.spec())
    with pytest.raises(ValueError, match="no linear map"):
        widen(plain, ("decoder.", "nothing"), 2, 2.0)


def test_a_checkpoint_with_additions_is_merged_and_proved(tmp_path: Path) -> None:
    spec = padded_clip(24)
    manifest = {"name": "wide", "model": WIDE.spec(), "transform": spec, "tokenizer": None}
    manifest |= {"data": "none", "licence": "none"}
    save_model(Model(filled(WIDE), transform(spec), None, manifest), tmp_path / "wide")
    found = merge_model(tmp_path / "wide", tmp_path / "plain")
    assert found["maps"] == 8 and found["difference"] <= 1e-5
    plain = load_folder(tmp_path / "plain")
    assert plain.manifest["model"] == TINY.spec()
    assert apart(load_folder(tmp_path / "wide"), plain) <= 1e-5
    with pytest.raises(WeightsError, match="no additions"):
        merge_model(tmp_path / "plain", tmp_path / "again")
