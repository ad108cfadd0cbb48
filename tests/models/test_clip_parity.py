"""CLIP gives the numbers of the original code, from weights in every published layout.

golden/clip-*.safetensors hold what github.com/openai/CLIP's own classes said of weights drawn by
formula (scripts/golden_clip.py made them); the file's metadata list the original names and shapes.
"""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sensorium
from sensorium.data.ragged import lay
from sensorium.models.clip import SIZES
from sensorium.models.layouts import LAYOUTS, candidates, layout
from sensorium.models.published import Said
from sensorium.types import Ids
from sensorium.verbs.open import published
from sensorium.weights.errors import WeightsError
from tests.models.drawn import drift, names_and_shapes, state, uniform

GOLDEN = Path(__file__).parents[2] / "golden"
TOWERS = ("clip-vit", "clip-resnet")
LIMIT = 1e-5
CLIP_LAYOUTS = [name for name in LAYOUTS if name.endswith("clip") or name == "open-clip-text"]


def shapes(tower: str) -> dict[str, list[int]]:
    """The original's names and shapes."""
    with safe_open(GOLDEN / f"{tower}.safetensors", "pt") as file:
        return json.loads(file.metadata()["shapes"])


@pytest.fixture(params=TOWERS)
def tower(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def theirs(tower: str) -> dict[str, Tensor]:
    return state(shapes(tower))


@pytest.fixture
def net(tower: str, theirs: dict[str, Tensor], tmp_path: Path) -> nn.Module:
    save_file(theirs, tmp_path / "clip.safetensors")
    return sensorium.load(tmp_path / "clip.safetensors", "openai-clip").net


def texts(golden: dict[str, Tensor]) -> Ids:
    """The golden texts, without what the original pads them with."""
    rows = [row[: int(row.argmax()) + 1].tolist() for row in golden["ids"]]
    return lay(rows)


@torch.no_grad()
def states(net: nn.Module, golden: dict[str, Tensor]) -> dict[str, Tensor]:
    """Everything a golden file holds, from our net; texts' states row by row, padding left out."""
    picture, ids = uniform("picture", (2, 3, 64, 64)), texts(golden)
    found: dict[str, Tensor] = {}
    image, text = net.get_submodule("image"), net.get_submodule("text")
    if "image.pooled" in golden:
        seen = image.stack.states(image.embed(picture))
        found |= {f"image.{i}": x for i, x in enumerate(seen)}
        found["image.pooled"] = image.pool.norm(seen[-1][:, 0])
    else:
        trunk = image.trunk
        x = torch.relu(trunk.bn1(trunk.conv1(picture)))
        x = torch.relu(trunk.bn2(trunk.conv2(x)))
        x = torch.nn.functional.avg_pool2d(torch.relu(trunk.bn3(trunk.conv3(x))), 2)
        found["image.0"] = x
        for i, stage in enumerate(trunk.stages):
            x = found[f"image.{i + 1}"] = stage(x)
    read = text.stack.states(text.embed(ids))
    found |= {f"text.{i}": x[0] for i, x in enumerate(read)}
    found["text.normed"] = text.pool.norm(read[-1])[0]
    found["image"], found["text"] = image(picture), text(ids)
    said = net.embed_image(picture) @ net.embed_text(ids).T  # type: ignore[operator]
    found["logits"] = net.get_parameter("log_scale").exp() * said
    return found


def test_every_state_and_output_is_the_originals(net: nn.Module, tower: str) -> None:
    golden = load_file(GOLDEN / f"{tower}.safetensors")
    found = states(net, golden)
    real = [row[: int(row.argmax()) + 1].shape[0] for row in golden["ids"]]
    drifts = {}
    for name, want in golden.items():
        if name == "ids":
            continue
        if name.startswith("text."):
            want = torch.cat([row[:n] for row, n in zip(want, real, strict=True)])
        drifts[name] = drift(want, found[name])
    print(tower, {name: f"{value:.1e}" for name, value in drifts.items()})
    assert max(drifts.values()) <= LIMIT, drifts


def test_the_wrong_activation_is_far_from_the_original(
    tower: str, theirs: dict[str, Tensor], tmp_path: Path
) -> None:
    """The reason why it must be said: nothing but the numbers would show it."""
    save_file(theirs, tmp_path / "clip.safetensors")
    net = sensorium.load(tmp_path / "clip.safetensors", "open-clip", act="gelu").net
    golden = load_file(GOLDEN / f"{tower}.safetensors")
    assert drift(golden["text"], states(net, golden)["text"]) > 1e-3


def test_open_clips_own_classes_give_the_same_with_the_other_gelu(
    tower: str, theirs: dict[str, Tensor], tmp_path: Path
) -> None:
    """golden/open-clip-*.safetensors are from github.com/mlfoundations/open_clip's model.py."""
    save_file(theirs, tmp_path / "clip.safetensors")
    net = sensorium.load(tmp_path / "clip.safetensors", "open-clip", act="gelu").net
    path = GOLDEN / f"open-{tower}.safetensors"
    found = states(net, load_file(GOLDEN / f"{tower}.safetensors"))
    drifts = {name: drift(want, found[name]) for name, want in load_file(path).items()}
    print("open", tower, {name: f"{value:.1e}" for name, value in drifts.items()})
    assert max(drifts.values()) <= LIMIT, drifts
    with safe_open(path, "pt") as file:
        named = json.loads(file.metadata()["custom text names"])
    ours = layout("open-clip-text").keymap(clip_declaration(tower)).save(net.state_dict())
    assert {key: list(t.shape) for key, t in ours.items()} == named


@pytest.mark.parametrize("name", CLIP_LAYOUTS)
def test_every_layout_gives_the_same_model_and_goes_back_bit_for_bit(
    name: str, tower: str, net: nn.Module, tmp_path: Path
) -> None:
    if name == "hf-clip" and tower == "clip-resnet":
        pytest.skip("Hugging Face's layout holds ViT models only")
    declaration = clip_declaration(tower)
    keymap = layout(name).keymap(declaration)
    out = keymap.save(net.state_dict())
    save_file(out, tmp_path / "out.safetensors")
    again = published(tmp_path / "out.safetensors", name, Said(act="quick_gelu"))
    assert again.tensors.keys() == net.state_dict().keys()
    for key, tensor in net.state_dict().items():
        assert torch.equal(again.tensors[key], tensor), key
    back = keymap.save(again.tensors)
    assert back.keys() == out.keys()
    assert all(
        torch.equal(back[key], out[key]) and back[key].dtype == out[key].dtype for key in out
    )
    assert again.manifest["model"] == declaration.spec()
    assert name in [one.name for one in candidates(out)]


def test_importing_and_exporting_the_originals_file_changes_nothing(
    tower: str, theirs: dict[str, Tensor], tmp_path: Path
) -> None:
    sizes = {"input_resolution": 64, "context_length": 20, "vocab_size": 512}
    archive = theirs | {key: torch.tensor(size) for key, size in sizes.items()}
    save_file(archive, tmp_path / "clip.safetensors")
    found = published(tmp_path / "clip.safetensors", "openai-clip", Said())
    assert found.report["dropped"] == sorted(sizes)
    back = layout("openai-clip").keymap(clip_declaration(tower)).save(found.tensors)
    assert back.keys() == archive.keys()
    assert all(torch.equal(back[key], archive[key]) for key in archive)


def test_a_size_written_in_the_file_that_is_not_the_weights_is_refused(
    theirs: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(theirs | {"input_resolution": torch.tensor(224)}, tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match="input_resolution"):
        published(tmp_path / "clip.safetensors", "openai-clip", Said())


def test_half_precision_is_read_as_float32(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    half = {k: t.half() if t.ndim >= 2 else t for k, t in theirs.items()}
    save_file(half, tmp_path / "clip.safetensors")
    found = published(tmp_path / "clip.safetensors", "openai-clip", Said())
    assert {t.dtype for t in found.tensors.values() if t.is_floating_point()} == {torch.float32}
    assert any("float16" in note for note in found.report["notes"])


def test_position_ids_of_older_hugging_face_files_are_left_out(
    net: nn.Module, tower: str, tmp_path: Path
) -> None:
    if tower == "clip-resnet":
        pytest.skip("Hugging Face's layout holds ViT models only")
    out = layout("hf-clip").keymap(clip_declaration(tower)).save(net.state_dict())
    ids = {"text_model.embeddings.position_ids": torch.arange(20)[None]}
    ids |= {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    save_file(out | ids, tmp_path / "model.safetensors")
    found = published(tmp_path / "model.safetensors", "hf-clip", Said(act="quick_gelu"))
    assert found.report["dropped"] == sorted(ids)


@pytest.mark.parametrize("harm", ["missing", "extra", "shape", "nan"])
def test_a_harmed_file_is_refused_by_name(
    harm: str, theirs: dict[str, Tensor], tmp_path: Path
) -> None:
    key = "transformer.resblocks.1.mlp.c_fc.bias"
    if harm == "missing":
        del theirs[key]
    elif harm == "extra":
        key = "transformer.resblocks.1.mlp.surplus"
        theirs[key] = torch.ones(3)
    elif harm == "shape":
        theirs[key] = theirs[key][:-1].clone()
        key = "text.stack.blocks.1.mlp.f.up.bias (511,) in the file"
    else:
        theirs[key][0] = float("nan")
    save_file(theirs, tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match=re.escape(key)):
        sensorium.load(tmp_path / "clip.safetensors", "openai-clip")


def test_what_no_tensor_shows_must_be_said(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(theirs, tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match=r"openai-clip.*\n.*open-clip"):
        sensorium.load(tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match=r'act="quick_gelu".*act="gelu"'):
        sensorium.load(tmp_path / "clip.safetensors", "open-clip")
    with pytest.raises(WeightsError, match="openai-clip means 'quick_gelu'"):
        sensorium.load(tmp_path / "clip.safetensors", "openai-clip", act="gelu")
    with pytest.raises(WeightsError, match="known:\n"):
        sensorium.load(tmp_path / "clip.safetensors", "clip")
    with pytest.raises(WeightsError, match="its names do not fit hf-clip, but:\n  openai-clip"):
        sensorium.load(tmp_path / "clip.safetensors", "hf-clip", act="gelu")


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes_have_the_originals_names_and_are_read_back_from_them(size: str) -> None:
    declaration = SIZES[size]
    with torch.device("meta"):
        ours = declaration.build().state_dict()
    names = layout("open-clip").keymap(declaration).save(ours)
    shapes = {key: tuple(t.shape) for key, t in names.items()}
    assert {
        "tensors": len(shapes),
        "parameters": declaration.parameters(),
        "sha256 of names and shapes": names_and_shapes(shapes),
    } == json.loads((GOLDEN / "clip-sizes.json").read_text())[size]
    for name in ("openai-clip", "open-clip"):
        said = Said(act="quick_gelu")
        assert layout(name).understand(shapes, said).declaration.spec() == declaration.spec()


def clip_declaration(tower: str):
    """The golden model's declaration, from its shapes."""
    read = {key: tuple(shape) for key, shape in shapes(tower).items()}
    return layout("openai-clip").understand(read, Said()).declaration


def test_drawn_weights_are_the_same_everywhere() -> None:
    want = [[-0.3398592472076416, 0.06279885768890381, -0.9663195610046387]]
    assert uniform("picture", (1, 3)).tolist() == want
