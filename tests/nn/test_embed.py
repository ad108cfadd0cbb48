"""From pictures and ids to tokens, and from planes to vectors."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sensorium.data.ragged import lay
from sensorium.nn.block import layer_norm
from sensorium.nn.embed import PatchEmbed, Patches, TextEmbed
from sensorium.nn.pool import First, Last, Mean
from sensorium.nn.resnet import AttentionPool, Bottleneck, ModifiedResNet
from sensorium.types import Grid, Ragged, Tokens


@pytest.mark.parametrize("bias", [True, False])
def test_patches_are_a_convolution(bias: bool) -> None:
    patches = Patches(7, 4, bias=bias)
    image = torch.randn(2, 3, 8, 12)
    plane = F.conv2d(image, patches.weight, patches.bias, stride=4)
    assert torch.allclose(patches(image), plane.flatten(2).transpose(1, 2), atol=1e-5)
    with pytest.raises(ValueError, match="8 x 10"):
        patches(torch.zeros(1, 3, 8, 10))


def test_the_class_token_stands_in_front_and_positions_are_added() -> None:
    embed = PatchEmbed(8, 4, 6, bias=True, norm=layer_norm(6, 1e-6))
    nn.init.normal_(embed.cls)
    image = torch.randn(2, 3, 8, 8)
    tokens = embed(image)
    row = torch.cat([embed.cls.expand(2, 1, 6), embed.patches(image)], dim=1)
    assert tokens.at is None and torch.allclose(tokens.x, embed.norm(row + embed.pos))
    with pytest.raises(ValueError, match="reads 8 x 8 pixels, not 12 x 12"):
        embed(torch.zeros(1, 3, 12, 12))


def test_words_and_positions_are_looked_up_token_by_token() -> None:
    embed = TextEmbed(vocab=11, length=4, width=6, causal=True)
    texts = [[1, 2, 3], [4], [10, 9, 8, 7]]
    tokens = embed(lay(texts))
    wanted = [embed.word.weight[w] + embed.pos[i] for text in texts for i, w in enumerate(text)]
    assert torch.equal(tokens.x, torch.stack(wanted)[None])
    assert isinstance(tokens.at, Ragged) and tokens.at.causal
    with pytest.raises(ValueError, match="5 tokens is longer than the tower's 4"):
        embed(lay([[1] * 5]))


def test_pools_take_the_token_they_say() -> None:
    x, same = torch.randn(2, 5, 6), nn.Identity()
    assert torch.equal(First(same, same)(Tokens(x)), x[:, 0])
    assert torch.allclose(Mean(same, same)(Tokens(x)), x.mean(1))
    ids = lay([[1, 2, 3], [4], [5]], round_tokens=4, round_length=4)
    row = torch.randn(1, len(ids.ids), 6)
    at = Ragged(ids.rows, ids.back, ids.lengths, True)
    assert torch.equal(Last(same, same)(Tokens(row, at)), row[0, [2, 3, 4]])
    with pytest.raises(ValueError, match="laid end to end"):
        Last(same, same)(Tokens(x))


@pytest.mark.parametrize("side", [64, 96])
def test_the_modified_resnet_ends_at_a_32nd_of_the_side(side: int) -> None:
    trunk = ModifiedResNet((1, 2, 1, 1), 8)
    grid = trunk(torch.randn(2, 3, side, side))
    assert grid.x.shape == (2, 256, side // 32, side // 32)
    assert [len(stage) for stage in trunk.stages] == [1, 2, 1, 1]


@pytest.mark.parametrize(("stride", "c_in"), [(1, 16), (1, 8), (2, 16)])
def test_a_bottleneck_pools_where_it_strides(stride: int, c_in: int) -> None:
    block = Bottleneck(c_in, 4, stride)
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            assert module.stride == (1, 1)
    assert block(torch.randn(2, c_in, 8, 8)).shape == (2, 16, 8 // stride, 8 // stride)
    assert isinstance(block.shortcut, nn.Identity) == (stride == 1 and c_in == 16)


def test_attention_pooling_by_torchs_own_attention() -> None:
    """One query, the mean of all cells, over the mean and all cells (CLIP, section 2.4)."""
    pool = AttentionPool(3, 8, 2, 5).double()
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    cells = x.flatten(2).permute(2, 0, 1)
    row = torch.cat([cells.mean(0, keepdim=True), cells]) + pool.pos[:, None]
    wanted, _ = F.multi_head_attention_forward(
        row[:1],
        row,
        row,
        embed_dim_to_check=8,
        num_heads=2,
        q_proj_weight=pool.q.weight,
        k_proj_weight=pool.k.weight,
        v_proj_weight=pool.v.weight,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q.bias, pool.k.bias, pool.v.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=pool.out.weight,
        out_proj_bias=pool.out.bias,
        use_separate_proj_weight=True,
        need_weights=False,
    )
    assert torch.allclose(pool(Grid(x)), wanted[0], atol=1e-12)
    with pytest.raises(ValueError, match="9 cells was given 2 x 2"):
        pool(Grid(torch.zeros(1, 8, 2, 2, dtype=torch.float64)))
