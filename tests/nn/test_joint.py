"""Two sequences as one, and one that reads another, against loops that go sample by sample."""

import torch

from sensorium.nn.activation import activation
from sensorium.nn.attention import CrossAttention, SelfAttention
from sensorium.nn.block import Block, Post, Pre, Stack, cross_layer, layer_norm, post_layer
from sensorium.nn.joint import apart, end_to_end, join
from sensorium.nn.pair import PairBlock, PairStack
from sensorium.nn.sight import Across, Even, PerText, View, sight
from sensorium.types import Ragged, Tokens
from tests.nn.together import one_by_one, tokens

D, LIMIT = 8, 1e-6
CASES = [([3, 1, 4], [2, 0, 5]), ([2, 2], [3, 3]), ([1], [0]), ([1, 1, 2], [0, 0, 0]), ([4], [7])]


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).detach().abs().max()) if a.numel() else 0.0


def test_joined_and_taken_apart_again() -> None:
    for n, r in CASES:
        a, z = tokens("a", n, D), tokens("z", r, D)
        both, seam = join(a, z)
        for one, x, y in zip(one_by_one(both), one_by_one(a), one_by_one(z), strict=True):
            assert torch.equal(one, torch.cat([x, y]))
        first, second = apart(both.x, seam)
        assert torch.equal(first.x, a.x) and torch.equal(second.x, z.x)
        assert isinstance(both.at, Ragged)
        real = sum(n) + sum(r)
        assert both.at.rows.flatten()[both.at.back[:real]].tolist() == list(range(real))


def test_a_stack_over_the_joint_is_the_stack_over_each_sample() -> None:
    stack = Stack([post_layer(D, 2, activation("gelu"), 1e-12) for _ in range(2)])
    for n, r in CASES:
        both, _ = join(tokens("a", n, D), tokens("z", r, D))
        got = one_by_one(stack(both))
        for one, x in zip(got, one_by_one(both), strict=True):
            assert off(one, stack(Tokens(x[None])).x[0]) <= LIMIT


def test_equal_lengths_take_the_way_without_masks_and_give_the_same() -> None:
    layer = post_layer(D, 2, activation("gelu"), 1e-12)
    even = tokens("even", [3, 3], D)
    assert isinstance(even.at, Ragged) and isinstance(sight(even.at), Even)
    assert isinstance(sight(tokens("odd", [3, 2], D).at), PerText)
    place = torch.arange(3)[None, :] < even.at.lengths[:, None]
    slow = View(see=PerText(even.at, place[:, None, None, :]))
    assert off(layer(even.x, View(see=sight(even.at))), layer(even.x, slow)) <= LIMIT


def test_reading_a_memory_of_any_layout_is_reading_it_sample_by_sample() -> None:
    stack = Stack([cross_layer(D, 2, activation("gelu"), 1e-12, memory_width=6) for _ in range(2)])
    for n, r in CASES:
        asks, told = tokens("a", n, D), tokens("z", r, 6)
        got = one_by_one(stack(asks, memory=told))
        for one, x, y in zip(got, one_by_one(asks), one_by_one(told), strict=True):
            if len(y):
                assert off(one, stack(Tokens(x[None]), memory=Tokens(y[None])).x[0]) <= LIMIT
            else:  # nothing to read: as if the branch were not there
                alone = x[None]
                for block in stack.blocks:
                    alone = block.mlp(block.attn(alone, View()), View())
                assert off(one, alone[0]) <= LIMIT
    dense = Tokens(torch.randn(3, 5, 6))
    got = one_by_one(stack(tokens("a", [3, 1, 4], D), memory=dense))
    for one, x, y in zip(got, one_by_one(tokens("a", [3, 1, 4], D)), dense.x, strict=True):
        assert off(one, stack(Tokens(x[None]), memory=Tokens(y[None])).x[0]) <= LIMIT
    rows = Tokens(torch.randn(2, 3, D))
    for many in ([4, 0], [0, 0], [2, 5]):
        told = tokens("z", many, 6)
        got = stack(rows, memory=told).x
        laid = stack(end_to_end(rows), memory=told).x.view_as(got)
        assert off(got, laid) <= LIMIT


def test_what_sees_nothing_keeps_its_state_and_clean_gradients() -> None:
    for branch in (Post, Pre):
        block = Block(cross=branch(CrossAttention(D, 2), layer_norm(D, 1e-12)))
        asks, told = tokens("a", [2, 3], D), tokens("z", [0, 4], D)
        x, y = asks.x.requires_grad_(), told.x.requires_grad_()
        out = Stack([block])(Tokens(x, asks.at), memory=Tokens(y, told.at)).x
        assert torch.equal(out[0, :2], x[0, :2]) and not torch.equal(out[0, 2:], x[0, 2:])
        out.square().sum().backward()
        grads = (x.grad, y.grad, *[p.grad for p in block.parameters()])
        assert all(g is not None and g.isfinite().all() for g in grads)
        assert torch.equal(x.grad[0, :2], 2 * x[0, :2])  # type: ignore[index]


def test_pair_blocks_read_each_other_as_they_came_in() -> None:
    act = activation("gelu")

    def look(width: int, other: int) -> Block:
        f = CrossAttention(width, 2, memory_width=other, inner=12)
        return Block(cross=Post(f, layer_norm(width, 1e-12)))

    first = PairBlock(to_text=look(D, 6), to_image=look(6, D), image=post_layer(6, 2, act, 1e-12))
    stack = PairStack([PairBlock(text=post_layer(D, 2, act, 1e-12)), first])
    text, image = tokens("a", [3, 1], D), tokens("z", [2, 4], 6)
    got = [one_by_one(x) for x in stack(text, image)]
    for i, (x, y) in enumerate(zip(one_by_one(text), one_by_one(image), strict=True)):
        x, y = x[None], y[None]
        x = stack.blocks[0].text(x, View())
        to_text, to_image = first.to_text, first.to_image
        assert to_text is not None and to_image is not None and first.image is not None
        a, b = to_text(x, View(memory=y)), to_image(y, View(memory=x))
        assert off(got[0][i], a[0]) <= LIMIT
        assert off(got[1][i], first.image(b, View())[0]) <= LIMIT


def test_one_part_for_both_directions_has_one_set_of_weights() -> None:
    both = Block(cross=Post(CrossAttention(D, 2), layer_norm(D, 1e-12)))
    pair = PairBlock(both=both)
    assert all(name.startswith("both.") for name in pair.state_dict())
    text, image = tokens("a", [3, 1], D), tokens("z", [2, 4], D)
    x, y = pair(text, image)
    there, back = Stack([both])(text, memory=image), Stack([both])(image, memory=text)
    assert off(x.x, there.x) == 0 and off(y.x, back.x) == 0


def test_dropout_draws_in_training_alone() -> None:
    for layer in (post_layer, cross_layer):
        net = Stack([layer(D, 2, activation("gelu"), 1e-12, drop=0.5)])
        plain = Stack([layer(D, 2, activation("gelu"), 1e-12)])
        plain.load_state_dict(net.state_dict())
        x, memory = tokens("a", [3, 5], D), tokens("z", [2, 4], D)
        told = memory if layer is cross_layer else None
        assert torch.equal(net.eval()(x, told).x, plain(x, told).x)
        torch.manual_seed(1)
        once = net.train()(x, told).x
        assert not torch.equal(once, net(x, told).x)
        torch.manual_seed(1)
        assert torch.equal(once, net(x, told).x)


def test_dropped_shares_of_attention_keep_their_mean() -> None:
    attention = SelfAttention(D, 1, drop=0.3)
    x, plain = tokens("a", [6], D), SelfAttention(D, 1)
    plain.load_state_dict(attention.state_dict())
    for dtype in (torch.float32, torch.bfloat16):
        attention, plain = attention.to(dtype), plain.to(dtype)
        y = x.x.to(dtype)
        mean = torch.stack([attention(y, View()) for _ in range(3000)]).float().mean(0)
        assert off(mean, plain(y, View()).float()) <= 0.05
    assert isinstance(View(see_memory=Across(None, None, None)).see_memory, Across)
