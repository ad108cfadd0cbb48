"""OpenFlamingo beside its authors' code: the same weights, the same numbers; and its files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sensorium
from scripts.golden_flamingo import LLAMA, MARK, MPT, NEOX, PATCHES, TEXTS, WIDTH
from sensorium.data.ragged import lay
from sensorium.forms.gated import Gated
from sensorium.media.specs import openai_clip
from sensorium.models.declaration import declared
from sensorium.models.flamingo import TINY, TINY_CLIPS, TINY_LLAMA, TINY_NEOX, Gates, Look
from sensorium.models.flamingo_parts import completed
from sensorium.models.layouts import layout
from sensorium.models.llava import Tower
from sensorium.models.published import Said
from sensorium.nn.pictured import Pictures
from sensorium.verbs.open import published
from sensorium.weights.errors import WeightsError
from tests.models.drawn import drift, state, uniform
from tests.models.nets import filled

GOLDEN = Path(__file__).parents[2] / "golden" / "flamingo.safetensors"
CONFIGS: dict[str, dict[str, Any]] = {"mpt": MPT, "gpt_neox": NEOX, "llama": LLAMA}
LIMIT = 1e-5


class Given(nn.Module):
    """In the tower's place: the states themselves, put in as pictures of one channel."""

    def forward(self, image: Float[Tensor, "p 1 n e"]) -> Float[Tensor, "p n e"]:
        return image[:, 0]


def tower() -> dict[str, Tensor]:
    """A tower in open_clip's names, with the norm and the map that are never run."""
    t, w = "visual.transformer.resblocks.0", WIDTH
    shapes = {"visual.class_embedding": (w,), "visual.positional_embedding": (5, w)}
    shapes |= {"visual.conv1.weight": (w, 3, 8, 8), "visual.proj": (w, 16)}
    for norm in (
        "ln_pre",
        "ln_post",
        "transformer.resblocks.0.ln_1",
        "transformer.resblocks.0.ln_2",
    ):
        shapes |= {f"visual.{norm}.{x}": (w,) for x in ("weight", "bias")}
    shapes |= {f"{t}.attn.in_proj_weight": (3 * w, w), f"{t}.attn.in_proj_bias": (3 * w,)}
    for name, n, m in (("attn.out_proj", w, w), ("mlp.c_fc", 4 * w, w), ("mlp.c_proj", w, 4 * w)):
        shapes |= {f"{t}.{name}.weight": (n, m), f"{t}.{name}.bias": (n,)}
    return state(shapes)


def own(kind: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What was trained, as it is published, and the language model in its own names."""
    with safe_open(GOLDEN, "pt") as file:
        every = state(json.loads(file.metadata()["shapes"])[kind])
    trained, lm = {}, {}
    for key, tensor in every.items():
        words = any(part in key for part in ("wte", "embed_in", "embed_out", "embed_tokens"))
        if "lang_encoder" in key and "gated_cross_attn_layer" not in key and not words:
            lm[key.removeprefix("lang_encoder.").replace("decoder_layer.", "")] = tensor
        else:
            trained[f"module.{key}"] = tensor
    return trained, lm


def write(tensors: dict[str, Tensor], folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir()
    made = {k: t.clone().contiguous() for k, t in tensors.items()}
    save_file(made, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@torch.no_grad()
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_authors_code_gives_the_same(kind: str, tmp_path: Path) -> None:
    """golden/flamingo.safetensors is from github.com/mlfoundations/open_flamingo."""
    trained, lm = own(kind)
    config = {**CONFIGS[kind], "model_type": kind, "media_token_id": MARK}
    config |= {"rms_norm_eps": 1e-6} if kind == "llama" else {}
    at = write(completed(trained, lm, tower()), tmp_path / "whole", config)
    model = sensorium.load(at, "openflamingo")
    net = model.net
    assert isinstance(net, Gated) and model.manifest["transform"] == openai_clip(16)
    net.image = Given()
    text = lay(TEXTS)
    states = uniform("flamingo", (6, PATCHES, WIDTH))[:, None]
    off = drift(
        load_file(GOLDEN)[kind], net(Pictures(states, (text.ids == MARK).nonzero()[:, 0]), text)
    )
    print(f"openflamingo over {kind} {off:.1e}")
    assert off <= LIMIT
    found = published(at, "openflamingo", Said())
    declaration = declared(found.manifest["model"])
    back = layout("openflamingo").keymap(declaration).save(found.tensors)
    whole = completed(trained, lm, tower())
    assert whole.keys() - back.keys() == {
        *(f"vision_encoder.{x}" for x in ("ln_post.weight", "ln_post.bias", "proj")),
    }
    extra = back.keys() - whole.keys()
    assert extra <= {"lang_encoder.lm_head.weight"}
    assert all(torch.equal(back[key], whole[key]) for key in back.keys() - extra)


def fitting(declaration):
    """The declaration with heads as OpenFlamingo's are."""
    look = declaration.args["look"]._replace(heads=8, head=64)
    gates = declaration.args["gates"]._replace(heads=8, head=64)
    image = declaration.args["image"]._replace(heads=1)
    return declaration._replace(args=declaration.args | dict(look=look, gates=gates, image=image))


@pytest.mark.parametrize("tiny", [TINY, TINY_NEOX, TINY_LLAMA], ids=["mosaic", "neox", "llama"])
def test_an_export_is_opened_again_as_the_same_model(tiny, tmp_path: Path) -> None:
    declaration = fitting(tiny)
    net = filled(declaration)
    chosen, manifest = layout("openflamingo"), {"transform": openai_clip(24)}
    config = json.loads(chosen.files(declaration, manifest)["config.json"])
    at = write(chosen.keymap(declaration).save(net.state_dict()), tmp_path / "it", config)
    found = published(at, "openflamingo", Said())
    assert found.manifest["model"] == declaration.spec()
    assert all(torch.equal(found.tensors[k], t) for k, t in net.state_dict().items())


def test_what_is_missing_or_unknown_is_said(tmp_path: Path) -> None:
    trained, lm = own("gpt_neox")
    plain = {k.removeprefix("module."): t for k, t in trained.items()}
    config = {**NEOX, "model_type": "gpt_neox", "media_token_id": MARK}
    with pytest.raises(WeightsError, match="--lm and --tower"):
        published(write(plain, tmp_path / "alone", config), "openflamingo", Said())
    whole = completed(trained, lm, tower())
    for name, change, says in (
        ("mark", {"media_token_id": None}, "media_token_id"),
        ("parallel", {"use_parallel_residual": True}, "use_parallel_residual"),
        ("kind", {"model_type": "opt"}, "model_type 'opt'"),
    ):
        with pytest.raises(WeightsError, match=says):
            published(write(whole, tmp_path / name, config | change), "openflamingo", Said())
    unsaid = {k: v for k, v in config.items() if k != "media_token_id"}
    with pytest.raises(WeightsError, match="is <image> is not known"):
        published(write(whole, tmp_path / "unsaid", unsaid), "openflamingo", Said())
    with pytest.raises(WeightsError, match="no layers named"):
        completed(trained, {"x": torch.zeros(1)}, tower())
    with pytest.raises(WeightsError, match=r"visual\.conv1"):
        completed(trained, lm, {})
    for tiny, says in ((TINY, "other heads"), (TINY_CLIPS, "over CLIP's tower")):
        with pytest.raises(WeightsError, match=says):
            layout("openflamingo").files(tiny, {"transform": openai_clip(24)})


def test_the_golden_nets_are_of_reduced_width_alone() -> None:
    """Heads, queries and interval are as the code has them."""
    trained, lm = own("gpt_neox")
    assert trained["module.perceiver.latents"].shape == (64, WIDTH)
    config = {**NEOX, "model_type": "gpt_neox", "media_token_id": MARK}
    shapes = {k: tuple(t.shape) for k, t in completed(trained, lm, tower()).items()}
    args = layout("openflamingo").understand(shapes, Said(beside={"config.json": config}))
    found = args.declaration.args
    assert found["look"] == Look(6, 64, 8, 64, 0) and found["gates"] == Gates(1, 2, 8, 64)
    assert found["image"] == Tower(16, 8, WIDTH, 1, 1, "quick_gelu", 1e-5)
