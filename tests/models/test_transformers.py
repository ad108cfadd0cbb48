"""The same weights in transformers' own CLIP and ViT give our numbers, in both directions.

Its classes run beside ours, from a picture's bytes and a text's letters to vectors.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import sensorium
from sensorium.data.ragged import lay
from sensorium.media import openai_clip, transform
from sensorium.models.clip import TINY
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import layout
from sensorium.models.vit import Size, vit
from sensorium.verbs.exchange import export_model, import_model, pictures
from tests.models.drawn import drift, state, uniform

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
LIMIT = 1e-5
TEXTS = ["a photo of a cat", "Two dogs, 3 cats & a naïve café", "x"]


@pytest.fixture(autouse=True)
def quiet():
    """Neither progress bars nor advice on standard error."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def draw(net: nn.Module) -> nn.Module:
    """The net with drawn weights."""
    shapes = {key: t.shape for key, t in net.state_dict().items()}
    net.load_state_dict(state(shapes))
    return net.eval()


def clip(act: str, eps: float, heads: int) -> nn.Module:
    tower = dict(hidden_size=128, intermediate_size=512, num_hidden_layers=2, hidden_act=act)
    tower |= dict(layer_norm_eps=eps, projection_dim=16)
    text = tower | dict(num_attention_heads=2, vocab_size=49408, max_position_embeddings=77)
    image = tower | dict(num_attention_heads=heads, image_size=64, patch_size=16)
    config = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=16)
    return draw(transformers.CLIPModel(config))


@pytest.mark.parametrize(
    ("act", "eps", "heads"),
    [("quick_gelu", 1e-5, 2), ("gelu", 1e-5, 2), ("gelu_pytorch_tanh", 1e-3, 4)],
)
@torch.no_grad()
def test_a_clip_folder_of_transformers_gives_the_same_here(
    act: str, eps: float, heads: int, tmp_path: Path
) -> None:
    theirs = clip(act, eps, heads)
    theirs.save_pretrained(tmp_path)
    net = sensorium.load(tmp_path, "hf-clip").net
    picture = uniform("picture", (2, 3, 64, 64))
    ids = [[49406, 320, 1125, 49407], [49406, 5, 49407]]
    padded = torch.tensor([ids[0], [*ids[1], 49407]])
    seen = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    said = theirs(input_ids=padded, attention_mask=seen, pixel_values=picture)
    found = net.embed_image(picture), net.embed_text(lay(ids))  # type: ignore[operator]
    drifts = {
        "image": drift(said.image_embeds, found[0]),
        "text": drift(said.text_embeds, found[1]),
        "logits": drift(
            said.logits_per_image, net.get_parameter("log_scale").exp() * found[0] @ found[1].T
        ),
        **states(theirs, net, picture),
    }
    print(act, {name: f"{value:.1e}" for name, value in drifts.items()})
    assert max(drifts.values()) <= LIMIT, drifts


def states(theirs: nn.Module, net: nn.Module, picture: torch.Tensor) -> dict[str, float]:
    """Drifts of what enters and leaves every block of the image tower."""
    hidden = theirs.vision_model(picture, output_hidden_states=True).hidden_states
    tower = net.get_submodule("image")
    ours = tower.stack.states(tower.embed(picture))
    return {f"image.{i}": drift(a, b) for i, (a, b) in enumerate(zip(hidden, ours, strict=True))}


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
@torch.no_grad()
def test_our_clip_folder_opens_in_transformers_with_its_processor(act: str, tmp_path: Path) -> None:
    """From bytes and letters to logits: decoding, resize, crop, tokenizer and towers."""
    declaration = Declaration(TINY.function, TINY.args | {"act": act})
    checkpoint(declaration, tmp_path / "ours")
    report = export_model(tmp_path / "ours", "hf-clip", tmp_path / "hf")
    assert set(report["differences"].values()) == {0.0}
    assert report["kept"] == {"transform": True, "tokenizer": True, "labels": True}
    theirs = transformers.CLIPModel.from_pretrained(tmp_path / "hf").eval()
    words = transformers.CLIPTokenizer.from_pretrained(tmp_path / "hf")
    eyes = transformers.CLIPImageProcessorPil.from_pretrained(tmp_path / "hf")
    model = sensorium.load(tmp_path / "ours")
    images = photos([(128, 96), (96, 128), (200, 66), (64, 64), (50, 60)])
    seen = eyes([Image.open(io.BytesIO(image)) for image in images], return_tensors="pt")
    read = words(TEXTS, padding=True, return_tensors="pt")
    said = theirs(**read, **seen)
    assert model.tokenizer is not None
    ours = model.tokenizer.encode_batch(TEXTS)
    assert [row[: len(ids)].tolist() for row, ids in zip(read.input_ids, ours, strict=True)] == ours
    pixels = torch.stack([model.transform(image) for image in images])
    drifts = {
        "pixels": drift(seen.pixel_values, pixels),
        "image": drift(said.image_embeds, torch.from_numpy(model.embed(images=images))),
        "text": drift(said.text_embeds, torch.from_numpy(model.embed(texts=TEXTS))),
        "probabilities": drift(
            said.logits_per_image.softmax(-1),
            torch.from_numpy(model.classify(images, TEXTS, templates=["{}"])),
        ),
    }
    print(act, {name: f"{value:.1e}" for name, value in drifts.items()})
    assert max(drifts.values()) <= LIMIT, drifts


def photos(sizes: list[tuple[int, int]]) -> list[bytes]:
    """Drawn pictures of these sizes as JPEG files."""
    made = []
    for width, height in sizes:
        y, x = np.mgrid[0:height, 0:width]
        waves = [np.sin(x / a + y / b) * 127 + 128 for a, b in ((5, 11), (17, 7), (3, 29))]
        buffer = io.BytesIO()
        Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(buffer, "JPEG")
        made.append(buffer.getvalue())
    return made


def test_their_crop_is_a_pixel_from_the_originals_where_the_overlap_is_odd() -> None:
    """A known difference: they round half a pixel down, the original's torchvision to even."""
    (image,) = photos([(131, 96)])  # resized to 87 x 64: 23 columns are cut off, 12 of them left
    eyes = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    )
    theirs = eyes(Image.open(io.BytesIO(image)), return_tensors="pt").pixel_values[0]
    ours = transform(openai_clip(64))(image)
    assert torch.allclose(theirs[..., 1:], ours[..., :-1], atol=1e-6)
    assert drift(theirs, ours) > 0.1


def checkpoint(declaration: Declaration, folder: Path) -> None:
    """A checkpoint of drawn weights."""
    name = "openai-clip" if declaration.function is TINY.function else "timm-vit"
    with torch.device("meta"):
        shapes = {key: t.shape for key, t in declaration.build().state_dict().items()}
    names = layout("open-clip" if name == "openai-clip" else name)
    theirs = names.keymap(declaration).save(state(shapes))
    folder.parent.mkdir(exist_ok=True)
    path = folder.with_suffix(".safetensors")
    save_file(theirs, path)
    if name == "timm-vit":
        import_model(path, name, folder, heads=declaration.args["size"].heads)
    else:
        import_model(path, "open-clip", folder, act=declaration.args["act"])


def vit_config(labels: int, **given) -> object:
    size = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)
    size |= dict(image_size=32, patch_size=8, num_labels=labels)
    return transformers.ViTConfig(**(size | given))


@pytest.mark.parametrize("eps", [1e-12, 1e-6])
@pytest.mark.parametrize("act", ["gelu", "gelu_pytorch_tanh"])
@torch.no_grad()
def test_a_vit_classifier_of_transformers_gives_the_same_here(
    act: str, eps: float, tmp_path: Path
) -> None:
    theirs = draw(
        transformers.ViTForImageClassification(vit_config(5, hidden_act=act, layer_norm_eps=eps))
    )
    theirs.save_pretrained(tmp_path)  # in the names of transformers 4
    model = sensorium.load(tmp_path, "hf-vit")
    assert model.manifest["labels"] == [f"LABEL_{i}" for i in range(5)]
    picture = uniform("picture", (2, 3, 32, 32))
    said = theirs(picture, output_hidden_states=True)
    tower = model.net.get_submodule("tower")
    ours = tower.stack.states(tower.embed(picture))
    drifts = {
        f"state.{i}": drift(a, b)
        for i, (a, b) in enumerate(zip(said.hidden_states, ours, strict=True))
    }
    drifts["logits"] = drift(said.logits, model.net(picture))
    print(act, eps, {name: f"{value:.1e}" for name, value in drifts.items()})
    assert max(drifts.values()) <= LIMIT, drifts
    save_file(theirs.state_dict(), tmp_path / "memory.safetensors")  # in the names of 5
    other = sensorium.load(tmp_path / "memory.safetensors", "hf-vit-5").net
    assert torch.equal(other(picture), model.net(picture))


@torch.no_grad()
def test_a_bare_vit_of_transformers_gives_its_pooled_features(tmp_path: Path) -> None:
    theirs = draw(transformers.ViTModel(vit_config(0, pooler_output_size=24)))
    theirs.save_pretrained(tmp_path)
    net = sensorium.load(tmp_path, "hf-vit").net
    picture = uniform("picture", (2, 3, 32, 32))
    assert drift(theirs(picture).pooler_output, net(picture)) <= LIMIT


@torch.no_grad()
def test_our_vit_folder_opens_in_transformers_with_its_processor(tmp_path: Path) -> None:
    declaration = Declaration(vit, dict(size=Size(32, 8, 64, 2, 2, 128), classes=5, eps=1e-12))
    theirs = draw(transformers.ViTForImageClassification(vit_config(5)))
    theirs.save_pretrained(tmp_path / "first")
    import_model(tmp_path / "first", "hf-vit", tmp_path / "ours")
    assert sensorium.load(tmp_path / "ours").manifest["model"] == declaration.spec()
    export_model(tmp_path / "ours", "hf-vit", tmp_path / "hf")
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path / "hf").eval()
    eyes = transformers.ViTImageProcessorPil.from_pretrained(tmp_path / "hf")
    seen = eyes(
        [Image.open(io.BytesIO(image)).convert("RGB") for image in pictures()], return_tensors="pt"
    )
    shares = sensorium.load(tmp_path / "ours").classify(pictures())
    assert drift(again(**seen).logits.softmax(-1), torch.from_numpy(shares)) <= LIMIT
    assert np.allclose(theirs(**seen).logits.softmax(-1), shares, atol=1e-6)
