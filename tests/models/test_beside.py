"""Configuration files beside published weights: what they say counts, whatever stands in them."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from sensorium.data.tokenizers import ClipBPE
from sensorium.media import openai_clip, square_vit, timm_vit, transform
from sensorium.models.clip import TINY, TINY_RESNET
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import layout
from sensorium.models.published import Said, Shapes
from sensorium.models.vit import Size, vit
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

VIT = Declaration(vit, dict(size=Size(32, 8, 64, 2, 2, 128), classes=7, act="gelu", eps=1e-6))
CASES = {
    "open-clip": (TINY, openai_clip(64)),
    "open-clip-text": (TINY_RESNET, openai_clip(64)),
    "hf-clip": (TINY, openai_clip(64)),
    "timm-vit": (VIT, timm_vit(32)),
    "hf-vit": (VIT, square_vit(32)),
}
ODD = (None, 0, -1, 1, "x", "", [], {}, [1], True, float("inf"), float("nan"), 10**30, 0.5)


def written(name: str) -> tuple[Declaration, Shapes, dict[str, Any]]:
    """A model, its names and shapes in a layout, and the configuration files of an export."""
    declaration, spec = CASES[name]
    declaration = Declaration(declaration.function, declaration.spec()["args"] | declaration.args)
    with torch.device("meta"):
        ours = declaration.build().state_dict()
    keymap: KeyMap = layout(name).keymap(declaration)
    manifest = {"transform": spec, "tokenizer": ClipBPE().spec() if "clip" in name else None}
    files = layout(name).files(declaration, manifest)
    parsed = {key: json.loads(data) for key, data in files.items() if key.endswith("config.json")}
    parsed.pop("tokenizer_config.json", None)
    return declaration, {k: tuple(t.shape) for k, t in keymap.save(ours).items()}, parsed


@pytest.mark.parametrize("name", CASES)
def test_an_exports_configuration_says_all_that_an_import_must_know(name: str) -> None:
    declaration, shapes, beside = written(name)
    found = layout(name).understand(shapes, Said(beside=beside))
    assert found.declaration.spec() == declaration.spec()
    assert found.transform == CASES[name][1]
    assert not found.notes


@pytest.mark.parametrize("name", CASES)
def test_any_value_anywhere_is_understood_or_refused_in_words(name: str) -> None:
    _, shapes, beside = written(name)
    refused = 0
    for file, path in [(f, p) for f, settings in beside.items() for p in places(settings)]:
        for odd in ODD:
            changed = copy.deepcopy(beside)
            at = changed[file]
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = odd
            try:
                transform(layout(name).understand(shapes, Said(beside=changed)).transform)
            except WeightsError as wrong:
                refused += 1
                assert len(str(wrong)) > 20
    assert refused > 50


def places(settings: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value."""
    inner = settings.items() if isinstance(settings, dict) else enumerate(settings)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


@pytest.mark.parametrize("name", [*CASES, "openai-clip", "google-vit", "big-vision-vit-stacked"])
@pytest.mark.parametrize("odd", [(), (0,), (1,), (0, 0), (3, 1, 1, 1), (0, 3, 0, 0), (1, 1, 1)])
def test_any_shape_is_understood_or_refused_in_words(name: str, odd: tuple[int, ...]) -> None:
    declaration = VIT if name.endswith(("vit", "stacked")) else TINY
    if name in CASES:
        declaration = CASES[name][0]
    with torch.device("meta"):
        ours = declaration.build().state_dict()
    shapes = {k: tuple(t.shape) for k, t in layout(name).keymap(declaration).save(ours).items()}
    fixed = name == "openai-clip" or name in ("google-vit", "big-vision-vit-stacked")
    said = Said() if fixed else Said(act="gelu", eps=None if "clip" in name else 1e-6)
    said = said._replace(heads=2 if name in ("timm-vit", "hf-vit") else None)
    layout(name).understand(shapes, said)
    for key in shapes:
        try:
            layout(name).understand(shapes | {key: odd}, said)
        except WeightsError as wrong:
            assert len(str(wrong)) > 20


@pytest.mark.parametrize(
    ("name", "file", "path", "value", "words"),
    [
        ("hf-clip", "config.json", ("vision_config", "image_size"), 224, "belongs to another file"),
        ("hf-clip", "config.json", ("model_type",), "siglip", "model_type 'siglip'"),
        ("hf-clip", "preprocessor_config.json", ("resample",), 2, "resample=2"),
        ("hf-clip", "preprocessor_config.json", ("crop_size",), 32, "crops 32"),
        ("open-clip", "open_clip_config.json", ("model_cfg", "text_cfg", "heads"), 2, "64 wide"),
        ("hf-vit", "config.json", ("qkv_bias",), False, "qkv_bias=False"),
        ("hf-vit", "config.json", ("hidden_act",), "swish", "hidden_act 'swish'"),
        ("timm-vit", "config.json", ("global_pool",), "avg", "global_pool='avg'"),
    ],
)
def test_a_setting_that_is_not_the_weights_is_refused_by_name(
    name: str, file: str, path: tuple[str, ...], value: object, words: str
) -> None:
    _, shapes, beside = written(name)
    at = beside[file]
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(WeightsError, match=words):
        layout(name).understand(shapes, Said(beside=beside))


def test_heads_that_no_shape_shows_are_not_guessed_for_large_towers() -> None:
    huge = TINY.args["image"]._replace(width=1280, heads=16)
    declaration = Declaration(TINY.function, TINY.args | {"image": huge})
    with torch.device("meta"):
        ours = declaration.build().state_dict()
    for name in ("open-clip", "hf-clip"):
        theirs = layout(name).keymap(declaration).save(ours)
        shapes = {key: tuple(t.shape) for key, t in theirs.items()}
        with pytest.raises(WeightsError, match="say heads="):
            layout(name).understand(shapes, Said(act="gelu"))
        found = layout(name).understand(shapes, Said(act="gelu", heads=16))
        assert found.declaration.args["image"] == huge


def test_a_pooler_beside_a_classifier_is_refused() -> None:
    _, shapes, beside = written("hf-vit")
    with pytest.raises(WeightsError, match="pooler"):
        layout("hf-vit").understand(
            shapes | {"vit.pooler.dense.weight": (64, 64)}, Said(beside=beside)
        )
