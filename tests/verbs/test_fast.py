"""The fast paths of inference beside their slow, obvious twins."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sensorium.data.ragged import lay
from sensorium.data.tokenizers import ClipBPE
from sensorium.forms.dual import Dual
from sensorium.media import transform
from sensorium.media.specs import openai_clip
from sensorium.models import whisper
from sensorium.models.clip import TINY, TextSize, ViTSize, clip_vit
from sensorium.nn.activation import ACTIVATIONS, QuickGELU, activation
from sensorium.nn.block import MLP, Block, Pre, Stack, layer_norm, post_layer, pre_layer
from sensorium.nn.sight import FirstOnly, LastOnly, View, soft
from sensorium.types import Ids, Ragged, Tokens
from sensorium.verbs.fast import Packed, prepared, stamp, supported
from sensorium.verbs.load import cast
from sensorium.verbs.model import Model

LIMITS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
TEXTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [12, 13]]


def clip(act: str = "quick_gelu") -> Dual:
    image, text = ViTSize(32, 8, 128, 3, 2), TextSize(64, 16, 64, 3, 1)
    return clip_vit(image, text, embed=32, act=act).eval()


def pictures(n: int) -> Tensor:
    return torch.randn(n, 3, 32, 32)


def far(got: Tensor, wanted: Tensor) -> float:
    """The largest distance of two vectors over the length of the second."""
    got, wanted = got.double(), wanted.double()
    return float(((got - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max())


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
@torch.inference_mode()
def test_the_twin_says_what_the_net_says(act: str, dtype: torch.dtype) -> None:
    net = clip(act).to(dtype)
    twin, x, ids = prepared(net), pictures(3).to(dtype), lay(TEXTS)
    assert far(twin.embed_image(x), net.embed_image(x)) < LIMITS[dtype]  # type: ignore[operator]
    assert far(twin.embed_text(ids), net.embed_text(ids)) < LIMITS[dtype]  # type: ignore[operator]


@torch.inference_mode()
def test_the_twin_in_bfloat16_is_as_near_to_float32_as_the_net_is() -> None:
    """1.702 is multiplied into rounded weights, which are rounded again."""
    net, x = clip(), pictures(16)
    wanted = net.embed_image(x)
    half = clip().to(torch.bfloat16)
    half.load_state_dict(net.state_dict())
    plain = far(half.embed_image(x.bfloat16()), wanted)
    assert far(prepared(half).embed_image(x.bfloat16()), wanted) < 1.5 * plain  # type: ignore[operator]


def test_the_twin_leaves_the_net_as_it_was_and_shares_what_it_does_not_lay_out() -> None:
    net = clip()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    twin = prepared(net)
    assert all(p.requires_grad for p in net.parameters())
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    word = "text.embed.word.weight"
    assert twin.get_parameter(word).data_ptr() == net.get_parameter(word).data_ptr()


def test_a_stamp_tells_every_change() -> None:
    net = clip()
    first = stamp(net)
    assert stamp(net) == first
    with torch.no_grad():
        net.log_scale.add_(1)
    second = stamp(net)
    assert second != first
    net.to(torch.bfloat16)
    assert stamp(net) != second


@pytest.mark.parametrize("dtype", LIMITS)
@torch.inference_mode()
def test_a_listener_scores_through_its_twin_what_it_scores(dtype: torch.dtype) -> None:
    """Texts read piece by piece; the twin's head is a packed copy of the word vectors."""
    net = whisper.TINY.build().to(dtype).eval()
    for name, weight in net.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight)  # so that those that keys have none of are told apart
    twin, x = prepared(net), torch.randn(2, 80, 40).to(dtype)
    assert isinstance(twin.decoder.head, Packed) and net.decoder.head is None  # type: ignore
    word = "decoder.embed.word.weight"
    assert twin.get_parameter(word).data_ptr() == net.get_parameter(word).data_ptr()
    for texts in ([[1, 2, 3], [4]], [[5], [6]]):
        if len(texts[0]) > 1:
            caches = [one.listen(one.encode(x), 8) for one in (net, twin)]  # type: ignore[operator]
            assert all(t.is_contiguous() for kept in caches[1].cross for t in kept)
        pairs = zip((net, twin), caches, strict=True)
        wanted, got = (one.extend(lay(texts), cache) for one, cache in pairs)  # type: ignore
        assert far(got, wanted) < LIMITS[dtype]


def test_other_precisions_are_refused() -> None:
    net = clip().double()
    assert not supported(net)
    with pytest.raises(ValueError, match="can be prepared"):
        prepared(net)


# --- a model prepares itself in bfloat16, or when it is asked to ---------------------------------


def model() -> Model:
    image = transform(openai_clip(64))
    return Model(TINY.build(), image, ClipBPE(), {"name": "tiny"})


def test_embedding_goes_through_the_twin_and_says_the_same(rng: np.random.Generator) -> None:
    images = [rng.integers(0, 256, (70, 80, 3), dtype=np.uint8) for _ in range(3)]
    texts = ["a cat", "two dogs on a sofa", "x"]
    plain = model()
    wanted = plain.embed(images=images), plain.embed(texts=texts)
    assert plain.prepare()
    for got, want in zip(
        (plain.embed(images=images), plain.embed(texts=texts)), wanted, strict=True
    ):
        assert far(torch.from_numpy(got), torch.from_numpy(want)) < 1e-5
    half = cast(plain, "bf16", "cpu")
    for got, want in zip((half.embed(images=images), half.embed(texts=texts)), wanted, strict=True):
        assert far(torch.from_numpy(got), torch.from_numpy(want)) < 2e-2


def test_a_prepared_model_follows_its_weights() -> None:
    one = model()
    one.prepare()
    before = one.embed(texts=["a cat"])
    with torch.no_grad():
        one.net.get_parameter("text.pool.proj.weight").mul_(-1)
    assert np.allclose(one.embed(texts=["a cat"]), -before, atol=1e-6)


# --- a tower works out no more of its last layer than is read of it ------------------------------


def both_ways(tower: nn.Module, x: Tensor | Ids) -> None:
    quick, slow = tower(x), tower.pool(tower.features(x))  # type: ignore[operator]
    assert torch.allclose(quick, slow, atol=1e-12)
    weights = list(tower.parameters())
    one = torch.autograd.grad(quick.square().sum(), weights)
    other = torch.autograd.grad(slow.square().sum(), weights)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(one, other, strict=True))


def test_towers_and_their_gradients_are_those_of_the_whole_last_layer() -> None:
    net = clip().double()
    both_ways(net.image, pictures(3).double())
    both_ways(net.text, lay(TEXTS))
    both_ways(net.text, lay(TEXTS, round_tokens=16, round_length=8))


@pytest.mark.parametrize("layer", [pre_layer, post_layer])
def test_a_narrowed_layer_gives_the_wanted_states(layer) -> None:
    block = layer(8, 2, activation("gelu"), 1e-5).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    assert torch.allclose(block(x, View(only=FirstOnly())), block(x, View())[:, :1], atol=1e-12)
    mlps = Block(a=Pre(MLP(8, 16, nn.ReLU()), layer_norm(8, 1e-5))).double()
    assert torch.allclose(mlps(x, View(only=FirstOnly())), mlps(x, View())[:, :1], atol=1e-12)


def test_texts_that_see_both_ways_are_narrowed_alike() -> None:
    ids = lay(TEXTS)
    at = Ragged(ids.rows, ids.back, ids.lengths, causal=False)
    stack = Stack([pre_layer(8, 2, activation("gelu"), 1e-5)], layer_norm(8, 1e-5)).double()
    tokens = Tokens(torch.randn(1, len(ids.ids), 8, dtype=torch.float64), at)
    narrow, whole = stack(tokens, only=LastOnly(at)), stack(tokens)
    assert torch.allclose(narrow.x, whole.x[:, ids.rows[:, -1]], atol=1e-12)
    assert isinstance(narrow.at, Ragged) and narrow.at.lengths.tolist() == [1] * len(TEXTS)


# --- kernels -------------------------------------------------------------------------------------


def test_the_slope_of_quick_gelu_is_that_of_its_formula() -> None:
    act, x = QuickGELU(), torch.randn(40, dtype=torch.float64, requires_grad=True)
    formula = x * torch.sigmoid(1.702 * x)
    assert torch.equal(act(x), formula)
    wanted = torch.autograd.grad(formula.sum(), x)[0]
    assert torch.allclose(torch.autograd.grad(act(x).sum(), x)[0], wanted, atol=1e-12)
    assert torch.autograd.gradgradcheck(act, x)


@pytest.mark.parametrize("case", ["all", "causal", "padded", "blind"])
def test_attention_by_plain_products_is_attention(case: str) -> None:
    """In bfloat16 on a processor; the twin is torch's kernel in float64."""
    q, k, v = (torch.randn(2, 3, 6, 8, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    mask[1, :, :, 4:] = False
    if case == "blind":
        mask[0, :, 2] = False
    seen = mask if case in ("padded", "blind") else None
    wide = [x.detach().double().requires_grad_() for x in (q, k, v)]
    got = soft(q, k, v, seen, causal=case == "causal")
    wanted = scaled_dot_product_attention(*wide, attn_mask=seen, is_causal=case == "causal")
    assert torch.allclose(got.double(), wanted, atol=2e-2)
    if case == "blind":
        assert not got[0, :, 2].any()
    one = torch.autograd.grad(got.square().sum(), (q, k, v))
    other = torch.autograd.grad(wanted.square().sum(), wide)
    assert all(torch.allclose(a.double(), b, atol=1e-1) for a, b in zip(one, other, strict=True))
