"""ViLT's and ALBEF's published layouts: understood, loaded, and written again."""

import json
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from sensorium.media import albef as albef_spec
from sensorium.media import vilt as vilt_spec
from sensorium.models.albef import SIZES as ALBEF_SIZES
from sensorium.models.albef import albef
from sensorium.models.albef_layouts import FILES
from sensorium.models.bert import BertSize
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import candidates, layout
from sensorium.models.published import Said
from sensorium.models.vilt import SIZES as VILT_SIZES
from sensorium.models.vilt import vilt
from sensorium.models.vit import Size
from sensorium.weights.errors import WeightsError
from tests.models.drawn import state

TEXT = BertSize(40, 12, 2, 64, 2, 1, 96)  # heads of 64, as all published ones
SMALL = dict(text=TEXT, pixels=12, patch=4, answers=5)
IMAGE = Size(12, 4, 64, 2, 1, 96)
DEEP = TEXT._replace(layers=12)
CASES: list[tuple[str, Declaration]] = []
for heads in (("mlm", "itm"), ("vqa",), ("nlvr",), ("itm", "rank")):
    CASES.append(("vilt", Declaration(vilt, SMALL | dict(heads=heads))))
for heads in (("mlm",), ("vqa",), ("nlvr",), ("rank",)):
    answers = 5 if heads == ("vqa",) else 3129
    made = dict(heads=heads, eps=(1e-12, 1e-12), most=None, answers=answers)
    CASES.append(("hf-vilt", Declaration(vilt, SMALL | made)))
for heads in FILES:
    embed = 8 if heads in (("mlm", "itm"), ("itm",), ("ta",)) else None
    args: dict[str, Any] = dict(text=DEEP, image=IMAGE, embed=embed, heads=heads)
    CASES += [(name, Declaration(albef, args)) for name in ("albef", "lavis-albef")]
COPY = Declaration(albef, dict(text=DEEP, image=IMAGE, embed=8, heads=("mlm",)))
CASES.append(("albef-momentum", COPY))


def drawn(declaration: Declaration) -> dict[str, Tensor]:
    """Weights by formula."""
    with torch.device("meta"):
        return state({name: t.shape for name, t in declaration.build().state_dict().items()})


@pytest.mark.parametrize(("name", "declaration"), CASES)
def test_a_file_is_understood_loaded_and_written_again(name: str, declaration: Declaration) -> None:
    own, weights = layout(name), drawn(declaration)
    theirs = own.keymap(declaration).save(weights)
    assert own in candidates(theirs)
    said = Said(act="gelu", eps=1e-12) if name.startswith("hf") else Said()
    found = own.understand({key: tuple(t.shape) for key, t in theirs.items()}, said)
    wanted = {key: t.shape for key, t in weights.items()}
    with torch.device("meta"):
        assert wanted == {k: t.shape for k, t in found.declaration.build().state_dict().items()}
    back = own.keymap(found.declaration).load(theirs, wanted)
    assert all(torch.equal(weights[key], tensor) for key, tensor in back.items())
    again = own.keymap(found.declaration).save(back)
    assert again.keys() == theirs.keys()
    assert all(torch.equal(theirs[key], tensor) for key, tensor in again.items())
    spec = vilt_spec(12, 4) if "vilt" in name else albef_spec(12)
    assert found.transform == spec and found.notes
    assert own.files(found.declaration, {"transform": spec}).keys() == (
        {"config.json", "preprocessor_config.json"} if name == "hf-vilt" else set()
    )


def test_a_file_with_copy_and_queues_gives_the_model_or_the_copy() -> None:
    whole = Declaration(albef, COPY.args | dict(heads=("mlm", "itm")))
    copy = {k: -t for k, t in drawn(COPY).items()} | {"temperature": torch.tensor([0.5])}
    model = drawn(whole) | {"temperature": torch.tensor([0.5])}
    file = layout("albef").keymap(whole).save(model)
    file |= layout("albef-momentum").keymap(COPY).save(copy)
    file |= {"image_queue": torch.ones(8, 4), "queue_ptr": torch.zeros(1)}
    shapes = {key: tuple(t.shape) for key, t in file.items()}
    for name, wanted in (("albef", model), ("albef-momentum", copy)):
        found = layout(name).understand(shapes, Said())
        keys = layout(name).keymap(found.declaration)
        got = keys.load(file, {k: t.shape for k, t in wanted.items()})
        assert all(torch.equal(wanted[key], tensor) for key, tensor in got.items())
        assert any("left out" in note for note in found.notes)


@pytest.mark.parametrize("head", ["vqa", "nlvr"])
def test_a_configuration_goes_out_is_opened_by_transformers_and_read_again(head: str) -> None:
    declaration = next(d for n, d in CASES if n == "hf-vilt" and head in d.args["heads"])
    labels = ["a", "b", "c", "d", "e"] if head == "vqa" else None
    files = layout("hf-vilt").files(declaration, {"transform": vilt_spec(12, 4), "labels": labels})
    beside = {name: json.loads(data) for name, data in files.items()}
    config = beside["config.json"]
    theirs = getattr(transformers, config["architectures"][0])(transformers.ViltConfig(**config))
    weights = layout("hf-vilt").keymap(declaration).save(drawn(declaration))
    lacking = theirs.load_state_dict(weights, strict=False)
    assert not lacking.missing_keys
    assert all("position_ids" in key for key in lacking.unexpected_keys)
    shapes = {key: tuple(t.shape) for key, t in weights.items()}
    found = layout("hf-vilt").understand(shapes, Said(beside=beside))
    assert found.declaration.spec() == declaration.spec()
    assert found.labels == (tuple(labels) if labels else None)
    for name, key, value, why in (
        ("config.json", "num_attention_heads", 5, "heads cannot share"),
        ("config.json", "max_image_length", 0, "max_image_length is 0"),
        ("config.json", "image_size", 16, "image_size is 16"),
        ("preprocessor_config.json", "size_divisor", 8, "size_divisor=8"),
        ("preprocessor_config.json", "size", 400, "resizes to 400"),
    ):
        changed = beside | {name: beside[name] | {key: value}}
        with pytest.raises(WeightsError, match=why):
            layout("hf-vilt").understand(shapes, Said(beside=changed))


def test_what_a_layout_cannot_hold_is_refused() -> None:
    two = Declaration(vilt, SMALL | dict(heads=("mlm", "itm")))
    with pytest.raises(WeightsError, match="no class of transformers"):
        layout("hf-vilt").files(two, {"transform": vilt_spec(12, 4)})
    with pytest.raises(WeightsError, match="1e-06"):
        one = Declaration(vilt, SMALL | dict(heads=("vqa",)))
        layout("hf-vilt").files(one, {"transform": vilt_spec(12, 4)})
    with pytest.raises(WeightsError, match="its transform is not ALBEF's"):
        layout("albef").files(COPY, {"transform": vilt_spec(12, 4)})
    with pytest.raises(WeightsError, match="no file has the heads"):
        args = COPY.args | dict(heads=("vqa", "itm"))
        layout("albef").keymap(Declaration(albef, args))


COUNTS = {  # tensors of a published file, queues aside
    "base": 844 - 3,
    "base-retrieval": 831 - 4,
    "base-vqa": 1154,
    "base-entail": 824,
    "base-nlvr2": 1136,
    "base-assign": 571,
}


@pytest.mark.parametrize("size", COUNTS)
def test_the_published_sizes_have_the_published_number_of_tensors(size: str) -> None:
    declaration = ALBEF_SIZES[size]
    with torch.device("meta"):
        weights = declaration.build().state_dict()
    names = set(layout("albef").keymap(declaration).save(weights))
    if size != "base-assign":  # which was trained without a copy
        kept = tuple(
            name for name in declaration.args.get("heads", ("mlm", "itm")) if name != "itm"
        )
        copy = Declaration(albef, declaration.args | dict(heads=kept))
        own = {k: t for k, t in weights.items() if not k.startswith("heads.itm")}
        names |= set(layout("albef-momentum").keymap(copy).save(own))
    assert len(names) == COUNTS[size]


def test_vilts_pretrained_file_has_166_tensors() -> None:
    declaration = VILT_SIZES["B/32"]
    with torch.device("meta"):
        weights = declaration.build().state_dict()
    file = layout("vilt").keymap(declaration).save(weights)
    assert len([key for key in file if not key.endswith("position_ids")]) == 166
    assert tuple(file["transformer.pos_embed"].shape) == (1, 145, 768)
