"""LLaVA beside transformers and beside its authors' code: the same weights, the same numbers."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import sensorium
from sensorium.data.ragged import lay
from sensorium.forms.prefix import Prefix, alone
from sensorium.media import transform
from sensorium.media.specs import padded_clip
from sensorium.models.declaration import declared
from sensorium.models.layouts import layout
from sensorium.models.llava import SIZES, TINY, TINY_LINEAR
from sensorium.models.published import Said
from sensorium.nn.pictured import Pictures
from sensorium.objectives.next_token import NextToken
from sensorium.verbs.open import published
from sensorium.weights.errors import WeightsError
from tests.models.drawn import drift, state, uniform
from tests.models.nets import filled, posed

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
LIMIT = 1e-5
GOLDEN = Path(__file__).parents[2] / "golden" / "llava.safetensors"
HOLE, PATCHES = 90, 4
SIGHT = dict(hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=1)
SIGHT |= dict(image_size=28, patch_size=14, projection_dim=16)
WORDS: dict[str, Any] = dict(vocab_size=96, hidden_size=32, intermediate_size=48)
WORDS |= dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
WORDS |= dict(max_position_embeddings=64)
TEXTS = [[3, 7, -1, 5, 9, 2], [4, 8, 1], [-1, 6, -1, 11, 12], [5, 6, 7, 8, -1]]  # -1: a picture


def texts() -> list[list[int]]:
    """The texts with as many holes as a picture has tokens."""
    return [[j for i in one for j in ([HOLE] * PATCHES if i < 0 else [i])] for one in TEXTS]


def shown() -> Pictures:
    """Four pictures, and where their tokens stand."""
    flat = torch.tensor([i for one in texts() for i in one])
    return Pictures(uniform("llava", (4, 3, 28, 28)), (flat == HOLE).nonzero()[:, 0])


@pytest.fixture(scope="module")
def theirs() -> Any:
    """A model of transformers with drawn weights, none of them zero."""
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**SIGHT),
        text_config=transformers.LlamaConfig(**WORDS),
        image_token_index=HOLE,
    )
    config._attn_implementation = "eager"
    net = transformers.LlavaForConditionalGeneration(config)
    drawn = state({name: p.shape for name, p in net.named_parameters()})
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(drawn[name])
    return net.eval()


def logits(net: Any) -> Tensor:
    """Theirs, text by text."""
    image, out, used = uniform("llava", (4, 3, 28, 28)), [], 0
    for one, ids in zip(TEXTS, texts(), strict=True):
        count = one.count(-1)
        seen = image[used : used + count] if count else None
        used += count
        out.append(net(input_ids=torch.tensor([ids]), pixel_values=seen).logits[0])
    return torch.cat(out)


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """Neither progress bars nor advice on standard error."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@torch.no_grad()
def test_a_folder_of_transformers_gives_the_same_here(theirs: Any, tmp_path: Path) -> None:
    """In its own names and in those of the published files, and back."""
    theirs.save_pretrained(tmp_path / "hf5")
    found = published(tmp_path / "hf5", "hf5-llava", Said())
    ours = sensorium.load(tmp_path / "hf5", "hf5-llava").net
    assert isinstance(ours, Prefix)
    off = drift(logits(theirs), ours(shown(), lay(texts())))
    print(f"hf5-llava {off:.1e}")
    assert off <= LIMIT
    declaration = declared(found.manifest["model"])
    for name in ("hf-llava", "hf5-llava"):
        at = tmp_path / f"{name} again"
        at.mkdir()
        for file, data in layout(name).files(declaration, found.manifest).items():
            (at / file).write_bytes(data)
        back = layout(name).keymap(declaration).save(ours.state_dict())
        write(back, at / "model.safetensors")
        again, told = transformers.LlavaForConditionalGeneration.from_pretrained(
            at, output_loading_info=True
        )
        assert not told["unexpected_keys"]
        assert all("post_layernorm" in key for key in told["missing_keys"])
        again.config.image_token_index = again.model.config.image_token_index = HOLE
        again.config.image_token_id = again.model.config.image_token_id = HOLE
        assert drift(logits(theirs), logits(again.eval())) <= LIMIT
        same = sensorium.load(at, name).net.state_dict()
        assert all(torch.equal(t, same[key]) for key, t in ours.state_dict().items())


def write(tensors: dict[str, Tensor], at: Path) -> None:
    """Writes a file of weights."""
    save_file({k: t.clone().contiguous() for k, t in tensors.items()}, at, {"format": "pt"})


@pytest.mark.parametrize("declaration", [TINY, TINY_LINEAR], ids=["mlp", "linear"])
def test_layouts_are_read_back_bit_for_bit(declaration, tmp_path: Path) -> None:
    """An export is opened again as the same model; a tower of which nothing is unread stays."""
    net = filled(declaration).eval()
    tower = declaration.args["image"]._replace(width=64, heads=1)
    declaration = declaration._replace(args=declaration.args | dict(image=tower))
    net = filled(declaration)
    manifest = {"transform": padded_clip(24), "tokenizer": None}
    for name in ("hf-llava", "hf5-llava", "llava"):
        chosen = layout(name)
        if declaration.args["bridge"] == "linear" and name != "llava":
            with pytest.raises(WeightsError, match="two layers"):
                chosen.keymap(declaration)
            continue
        at = tmp_path / name
        at.mkdir()
        for file, data in chosen.files(declaration, manifest).items():
            (at / file).write_bytes(data)
        write(chosen.keymap(declaration).save(net.state_dict()), at / "model.safetensors")
        found = published(at, name, Said())
        assert found.manifest["transform"] == manifest["transform"]
        assert found.manifest["model"] == declaration.spec()
        assert all(torch.equal(found.tensors[k], t) for k, t in net.state_dict().items())
        config = json.loads((at / "config.json").read_text())
        odd = {"vision_feature_layer": -3} if name != "llava" else {"mm_vision_select_layer": -3}
        (at / "config.json").write_text(json.dumps(config | odd))
        with pytest.raises(WeightsError, match="or the one before it"):
            published(at, name, Said())


def test_a_file_without_its_tower_says_so(tmp_path: Path) -> None:
    net = filled(TINY)
    out = layout("llava").keymap(TINY).save(net.state_dict())
    write({k: t for k, t in out.items() if "vision" not in k}, tmp_path / "model.safetensors")
    config = {"model_type": "llava", "mm_vision_tower": "openai/clip-vit-large-patch14-336"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="holds no image tower"):
        published(tmp_path, "llava", Said())


@torch.no_grad()
def test_sizes_are_the_published_ones_but_for_what_is_never_run() -> None:
    """Counted beside transformers' own, without making a number of either."""
    for name, words in (("1.5-7B", 4096), ("1.5-13B", 5120)):
        size = SIZES[name].args["text"]
        text = transformers.LlamaConfig(
            vocab_size=32000,
            hidden_size=words,
            intermediate_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
        )
        sight = transformers.CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=336,
            patch_size=14,
        )
        with torch.device("meta"):
            net = transformers.LlavaForConditionalGeneration(
                transformers.LlavaConfig(vision_config=sight, text_config=text)
            )
        unread = ("layers.23.", "post_layernorm")
        kept = sum(
            p.numel()
            for key, p in net.named_parameters()
            if not ("vision" in key and any(part in key for part in unread))
        )
        assert SIZES[name].parameters() == kept


def test_pictures_are_read_wherever_they_stand() -> None:
    """One by one is all together; texts alone are the decoder's; a wrong count is refused."""
    net = filled(TINY).eval()
    assert isinstance(net, Prefix)
    batch = posed(TINY, net, 6).batch
    with torch.no_grad():
        whole = net(batch.source, batch.text)
        words = lay([[3, 4, 5], [6]])
        assert torch.equal(
            net(alone(words)._replace(image=batch.source.image[:0]), words), net.decoder(words)
        )
        cache = net.blank(6, 64)
        x = net.words(batch.source, batch.text)
        last = net.begin(x, batch.text, cache)
        assert float((last - whole[batch.text.lengths.cumsum(0) - 1]).abs().max()) <= 1e-5
        with pytest.raises(ValueError, match="places for them"):
            net(batch.source._replace(place=batch.source.place[1:]), batch.text)


def test_the_square_ground_is_that_of_the_authors() -> None:
    """Expand to a square of the mean colour, then CLIP's processor, in Pillow's own calls."""
    g = np.random.default_rng(0)
    look = transform(padded_clip(28))
    for width, height in ((61, 40), (40, 61), (33, 33), (200, 7)):
        image = Image.fromarray(g.integers(0, 256, (height, width, 3), dtype=np.uint8))
        side = max(width, height)
        ground = Image.new("RGB", (side, side), (122, 116, 104))
        ground.paste(image, ((side - width) // 2, (side - height) // 2))
        small = np.asarray(ground.resize((28, 28), Image.Resampling.BICUBIC))
        assert np.abs(look.pixels(image).astype(int) - small.astype(int)).max() == 0


@torch.no_grad()
@pytest.mark.parametrize("kind", ["linear", "mlp2x_gelu"])
def test_the_authors_code_gives_the_same(kind: str, tmp_path: Path) -> None:
    """golden/llava.safetensors is from github.com/haotian-liu/LLaVA."""
    with safe_open(GOLDEN, "pt") as file:
        shapes = json.loads(file.metadata()["shapes"])[kind]
    write(state(shapes), tmp_path / "model.safetensors")
    config = WORDS | {"model_type": "llava_llama", "mm_projector_type": kind}
    config |= {"mm_vision_tower": "openai/clip-vit-large-patch14", "mm_vision_select_layer": -2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = sensorium.load(tmp_path, "llava")
    off = drift(load_file(GOLDEN)[kind], model.net(shown(), lay(texts())))
    print(kind, f"{off:.1e}")
    assert off <= LIMIT
    declaration = declared(model.manifest["model"])
    back = layout("llava").keymap(declaration).save(model.net.state_dict())
    unread = {
        key for key in shapes if ("layers.2." in key and "vision" in key) or "post_lay" in key
    }
    assert back.keys() == shapes.keys() - unread
    assert all(torch.equal(back[key], state(shapes)[key]) for key in back)


def test_only_what_is_learnt_is_scored_and_the_loss_is_the_same() -> None:
    """Against the logits of every token, marked by the plain formula."""
    net = filled(TINY).double()
    batch = posed(TINY, net, 6).batch
    batch = batch._replace(learnt=batch.learnt & (torch.arange(len(batch.learnt)) % 3 == 0))
    objective = NextToken()
    loss = objective.mark(objective.encode(net, batch), batch)["next"]
    grads = torch.autograd.grad(loss, list(net.parameters()))
    slow = torch.zeros((), dtype=torch.float64)
    start, logits = 0, net(batch.source, batch.text).log_softmax(1)
    for n in batch.text.lengths.tolist():
        for t in range(start + 1, start + n):
            if batch.learnt[t]:
                slow = slow - logits[t - 1, batch.text.ids[t]]
        start += n
    assert abs(float(loss / slow) - 1) <= 1e-12
    for a, b in zip(grads, torch.autograd.grad(slow, list(net.parameters())), strict=True):
        assert torch.allclose(a, b, atol=1e-10)
