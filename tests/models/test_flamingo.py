"""Flamingo's parts: who looks at which picture, what is kept, and what new layers change."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.forms.gated import Gated
from sensorium.models.declaration import Declaration, declared
from sensorium.models.flamingo import SIZES, TINY, TINY_CLIPS, TINY_LLAMA, TINY_NEOX
from sensorium.nn.gate import Gate, LookAt
from sensorium.nn.generate.beam import beam
from sensorium.nn.generate.choices import likely
from sensorium.nn.generate.loop import Start, speak
from sensorium.nn.generate.speaks import How, Request, Speaks
from sensorium.nn.nfnet import NFNet
from sensorium.nn.pictured import Pictures
from sensorium.nn.runs import runs
from sensorium.nn.turn import turn
from tests.models.drawn import uniform
from tests.models.nets import filled, posed

ALL = {"mpt": TINY, "neox": TINY_NEOX, "llama": TINY_LLAMA, "clips": TINY_CLIPS}


def made(declaration: Declaration = TINY) -> Any:
    net = filled(declaration).eval()
    assert isinstance(net, Gated) and isinstance(net, Speaks)
    return net


def pictures(net: Gated, texts: list[list[int]]) -> Pictures:
    place = [i for i, id in enumerate(id for one in texts for id in one) if id == net.mark]
    side = (3, net.pixels, net.pixels)
    return Pictures(uniform("flamingo", (len(place), *side)), torch.tensor(place, dtype=torch.long))


def slow(net: Gated, part: LookAt, x: Tensor, text: list[int], states: Tensor) -> Tensor:
    """One text's words by a dense mask of words by pictures; those that see none get zeros."""
    h = part.heads.count
    time = torch.tensor(text).eq(net.mark).cumsum(0)  # the number of the latest picture, or 0
    q = part.q(x).unflatten(1, (h, -1))
    k, v = part.kv(states.flatten(0, 1)).unflatten(1, (2, h, -1)).unbind(1)
    owner = torch.arange(1, len(states) + 1).repeat_interleave(states.shape[1])
    score = torch.einsum("nhw,khw->hnk", q, k) * q.shape[2] ** -0.5
    score = score.masked_fill(time[:, None] != owner[None], -1e30)
    out = torch.einsum("hnk,khw->nhw", score.softmax(-1) * (time > 0)[:, None], v)
    return part.out(out.flatten(1))


@torch.no_grad()
def test_a_word_looks_at_the_latest_picture_and_no_other() -> None:
    """Runs against a dense mask, text by text."""
    net = made()
    m = net.mark
    texts = [[3, m, 5, 6, m, 7], [4, 5], [m, m, 8], [9, 9, m]]
    text, source = lay(texts), pictures(net, texts)
    seen = net.seen(source, text)
    part = next(p for p in net.modules() if isinstance(p, LookAt))
    x = uniform("words", (1, len(text.ids), part.q.in_features))
    given = turn(text, None, None, None, x)._replace(media=seen)
    found, at, used = part(x, given)[0], 0, 0
    for one in texts:
        count = one.count(m)
        got = slow(net, part, x[0, at : at + len(one)], one, seen.x[used : used + count])
        assert torch.allclose(found[at : at + len(one)], got, atol=1e-6)
        at, used = at + len(one), used + count
    assert (found[0] == 0).all() and (found[6:8] == 0).all()  # nothing before them to look at


def test_runs_are_the_words_from_a_picture_to_the_next() -> None:
    text = lay([[1, 0, 1, 1], [1], [0, 0, 1]])
    found = runs(text, torch.tensor([1, 5, 6]))
    assert found.which.tolist() == [3 + 0, 0, 3 + 1, 1, 2]
    assert found.rows.tolist() == [[0, 0, 0], [1, 2, 3], [4, 4, 4], [5, 5, 5], [6, 7, 7]]
    assert [found.rows.flatten()[i].item() for i in found.back] == list(range(8))


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_closed_gates_change_nothing_and_open_ones_do(name: str) -> None:
    net = made(ALL[name])
    batch = posed(ALL[name], net, 6).batch
    opened = net(batch.source, batch.text)
    for part in net.modules():
        if isinstance(part, Gate):
            part.gate.zero_()
    closed = net(batch.source, batch.text)
    plain = declared(ALL[name].args["lm"]).build().eval()
    own = {k: v for k, v in net.decoder.state_dict().items() if ".look." not in k}
    plain.load_state_dict({k: v for k, v in own.items() if ".think." not in k})
    assert torch.equal(closed, plain(batch.text))
    assert not torch.allclose(opened, closed, atol=1e-2)
    fresh = [p.gate for p in ALL[name].build().modules() if isinstance(p, Gate)]
    assert fresh and not torch.cat(fresh).any()


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_reading_piece_by_piece_gives_the_same(name: str) -> None:
    """Prompts with pictures, then words alone, then another picture, then words; two rows."""
    net = made(ALL[name])
    m = net.mark
    parts = [[[3, m, 5], [4]], [[6, 7], [m, 9, 2]], [[m, 8, m], [5]], [[1], [2]]]
    whole = [[i for part in parts for i in part[row]] for row in range(2)]
    everything = pictures(net, whole)
    wanted = net(everything, lay(whole))
    cache, used, read = net.blank(2, 16), [0, 3], [0, 0]
    starts = [0, len(whole[0])]
    for part in parts:
        text = lay(part)
        mine = [i for row in range(2) for i in range(used[row], used[row] + part[row].count(m))]
        flat = torch.tensor([i for one in part for i in one])
        source = Pictures(everything.image[mine], (flat == m).nonzero()[:, 0])
        scores = net.begin(source, text, cache) if mine else net.extend(text, cache)
        for row in range(2):
            used[row] += part[row].count(m)
            read[row] += len(part[row])
            assert torch.allclose(scores[row], wanted[starts[row] + read[row] - 1], atol=1e-4)
        again = cache.take([1, 0, 0])
        assert again.lengths == [cache.lengths[1], cache.lengths[0], cache.lengths[0]]


@torch.no_grad()
def test_beams_greedy_and_choices_look_at_the_picture_that_was_read_once() -> None:
    net = made()
    m = net.mark
    prompt = [3, m, 5, 6]
    source, text = pictures(net, [prompt]), lay([prompt])
    request = Request(prompt, How(max_tokens=4))

    def start() -> Start:
        cache = net.blank(1, 16)
        return Start(cache, net.begin(source, text, cache))

    said = [step.token for step in speak(net, [request], start())]
    ids = list(prompt)
    for token in said:
        best = int(net(source, lay([ids]))[-1].argmax())
        assert best == token
        ids.append(token)
    (found,) = beam(net, [request], 3, 0.0, start())
    for one in found:
        logits = net(source, lay([[*prompt, *one.ids]])).log_softmax(1)
        total = sum(float(logits[3 + i, id]) for i, id in enumerate(one.ids))
        assert one.logprob == pytest.approx(total, abs=1e-4)
    blind = likely(net, prompt, [[4, 5]])[0].total  # texts alone: the mark is a word
    assert abs(blind - float(net(source, lay([prompt])).log_softmax(1)[-1, 4])) > 1e-3


@torch.no_grad()
def test_pictures_and_marks_must_agree() -> None:
    net = made()
    m = net.mark
    source = pictures(net, [[3, m, 5, m]])
    with pytest.raises(ValueError, match="2 pictures, and 1 marks"):
        net(source, lay([[3, m, 5, 6]]))
    with pytest.raises(ValueError, match="0 pictures, and 1 marks"):
        net(Pictures(source.image[:0], source.place[:0]), lay([[3, m]]))
    with pytest.raises(ValueError, match="in their order"):
        net(source._replace(place=source.place.flip(0)), lay([[3, m, 5, m]]))
    with pytest.raises(ValueError, match="no id of"):
        TINY._replace(args=TINY.args | dict(mark=96)).build()
    gates = TINY.args["gates"]._replace(first=2)
    with pytest.raises(ValueError, match="the language model has 2"):
        TINY._replace(args=TINY.args | dict(gates=gates)).build()
    lm = TINY.args["lm"] | dict(function="vit.vit")
    with pytest.raises(ValueError, match=r"vit|arguments|argument"):
        TINY._replace(args=TINY.args | dict(lm=lm)).build()


@torch.no_grad()
def test_clips_have_times_that_are_drawn_out_beyond_those_learnt() -> None:
    torch.manual_seed(0)
    net: Any = TINY_CLIPS.build().eval()
    part = net.resampler
    assert torch.equal(part.times(2), part.time[:2])
    five = part.times(5)
    assert torch.allclose(five[::2], part.time) and torch.allclose(five[1], part.time[:2].mean(0))
    clip = uniform("clip", (1, 3, 3, 32, 32)) * torch.tensor([0.1, 1, 9]).view(1, 3, 1, 1, 1)
    assert not torch.allclose(net.look(clip), net.look(clip.flip(1)), atol=1e-4)
    assert torch.equal(net.look(clip[:, 0]), net.look(clip[:, :1]))


def test_sizes_are_those_of_the_code_and_of_the_papers() -> None:
    """Counts of OpenFlamingo's parts, read in its code; of NFNet-F0 and F6 with their heads."""
    with torch.device("meta"):
        for name, count, layers in (
            ("open-3B", 36_708_354, 24),
            ("open-4B", 56_109_058, 16),
            ("open-9B", 139_476_994, 8),
            ("80B", None, 12),
        ):
            net = SIZES[name].build()
            assert isinstance(net, Gated)
            gated = [b for b in net.decoder.stack.blocks if "look" in dict(b.named_children())]
            new = sum(p.numel() for k, p in gated[0].named_parameters() if k[0] in "lt")
            assert len(gated) == layers and count in (None, new)
            if count is not None:
                assert sum(p.numel() for p in net.resampler.parameters()) == 63_019_008
        head = 1536 * 3072 + 2 * 3072 + 3072 * 1000 + 1000
        for times, count in ((1, 71_489_284), (7, 438_359_116)):
            tower = NFNet((times, 2 * times, 6 * times, 3 * times), (256, 512, 1536, 1536))
            assert sum(p.numel() for p in tower.parameters()) + head == count
