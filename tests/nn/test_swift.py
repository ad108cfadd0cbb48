"""The kernel says what torch says, and weights of few bits are what their bits stand for."""

import pytest
import torch

from sensorium.forms.decoder import Decoder
from sensorium.models import gpt2, llama, mpt
from sensorium.nn.generate.loop import speak
from sensorium.nn.generate.speaks import How, Request, laid
from sensorium.nn.lowbit import LowBit, lowered
from sensorium.nn.swift import Swift, swift
from tests.models.drawn import state, uniform

WIDE = llama.TINY._replace(
    args=llama.TINY.args | dict(size=llama.Size(64, 2, 4, 2, 16, 96), vocab=99)
)
TEXTS = [[1, 2, 3, 4, 5, 6, 7], [9, 8], [5]]
CPU = torch.device("cpu")


def net_of(tied: bool, dtype: torch.dtype) -> Decoder:
    net = WIDE._replace(args=WIDE.args | dict(tied=tied)).build()
    net.load_state_dict(state({name: t.shape for name, t in net.state_dict().items()}))
    assert isinstance(net, Decoder)
    return net.to(dtype).eval()


def quick(net: torch.nn.Module) -> Swift:
    made = swift(net)
    if made is None:
        pytest.skip("no compiler works here")
    return made


@pytest.mark.compiled
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_the_kernel_is_torch(tied: bool, bits: int | None, dtype: torch.dtype) -> None:
    net = net_of(tied, dtype)
    slow = net if bits is None else lowered(net, bits).net
    assert isinstance(slow, Decoder)
    fast = quick(slow)
    caches = slow.blank(3, 16), fast.blank(3, 16)
    slow.extend(laid(TEXTS, CPU), caches[0])
    fast.extend(laid(TEXTS, CPU), caches[1])
    for step in range(5):
        if step == 3:
            caches = caches[0].take([2, 0]), caches[1].take([2, 0])
        text = laid([[3 + step], [40], [5]][: len(caches[0].lengths)], CPU)
        wanted, found = slow.extend(text, caches[0]), fast.extend(text, caches[1])
        off = float((wanted.float() - found).abs().max() / wanted.float().abs().max())
        assert off <= (1e-5 if dtype == torch.float32 else 3e-2), off
    assert caches[0].lengths == caches[1].lengths


@pytest.mark.compiled
@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("rows", [2, 7, 8, 9, 16, 17])
@torch.inference_mode()
def test_a_batch_of_any_size_is_torch(rows: int, bits: int | None) -> None:
    net = net_of(True, torch.float32)
    slow = net if bits is None else lowered(net, bits).net
    assert isinstance(slow, Decoder)
    fast = quick(slow)
    caches = slow.blank(rows, 8), fast.blank(rows, 8)
    first = laid([[1 + i % 30, 2] for i in range(rows)], CPU)
    slow.extend(first, caches[0])
    fast.extend(first, caches[1])
    text = laid([[3 + i % 30] for i in range(rows)], CPU)
    wanted, found = slow.extend(text, caches[0]), fast.extend(text, caches[1])
    assert float((wanted - found).abs().max() / wanted.abs().max()) <= 1e-5


@pytest.mark.compiled
def test_quick_texts_are_the_slow_ones_and_end_with_the_room() -> None:
    net = net_of(True, torch.float32)
    requests = [
        Request(ids, How(9, temperature=t)) for ids, t in zip(TEXTS, (0, 0.8, 1), strict=True)
    ]
    fast = quick(net)
    slow_steps, fast_steps = list(speak(net, requests)), list(speak(fast, requests))
    assert [s.token for s in slow_steps] == [s.token for s in fast_steps]
    cache = fast.blank(1, 3)
    with torch.inference_mode():
        fast.extend(laid([[1, 2, 3]], CPU), cache)
        with pytest.raises(ValueError, match="room for 3"):
            fast.extend(laid([[4]], CPU), cache)


def test_other_shapes_are_left_to_torch() -> None:
    assert swift(gpt2.TINY.build()) is None and swift(mpt.TINY.build()) is None


@pytest.mark.parametrize(("bits", "limit"), [(8, 0.5 / 127), (4, 0.5 / 15)])
def test_a_weight_is_rounded_to_the_nearest(bits: int, limit: float) -> None:
    weight = uniform("weight", (12, 64))
    made = LowBit(weight, None, bits)
    full = made.full(torch.float32)
    reach = weight.abs().amax(1, keepdim=True) if bits == 8 else 2 * torch.ones(12, 1)
    assert bool(((full - weight).abs() <= limit * reach + 1e-6).all())
    x = uniform("x", (3, 64))
    assert torch.allclose(made(x), x @ full.T, atol=1e-5)
    with pytest.raises(ValueError, match="bits"):
        LowBit(weight, None, 3)


def test_a_model_of_few_bits_says_what_it_lost() -> None:
    net = net_of(True, torch.bfloat16)
    eight, four = lowered(net, 8), lowered(net, 4)
    assert max(eight.errors.values()) < 0.01 < max(four.errors.values()) < 0.15
    assert set(eight.errors) == set(four.errors) and len(eight.errors) == 8
    with pytest.raises(ValueError, match="language models"):
        lowered(torch.nn.Linear(3, 3), 8)
