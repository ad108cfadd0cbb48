"""Generation: whatever is done for speed, every text is what it would be alone and from scratch."""

import itertools
import math
from collections import Counter

import pytest
import torch

from sensorium.forms.decoder import Decoder
from sensorium.models import gpt2, gpt_neo, gptj, llama, mpt, opt
from sensorium.models.declaration import Declaration
from sensorium.nn.generate.beam import beam
from sensorium.nn.generate.choices import among, likely, losses
from sensorium.nn.generate.loop import Step, read, speak
from sensorium.nn.generate.pick import Dice, cut, penalised
from sensorium.nn.generate.speaks import How, Request, laid
from sensorium.nn.generate.speculate import Speculation, distribution
from tests.models.drawn import state

ALL = [llama.TINY, llama.TINY_TIED, gpt2.TINY, opt.TINY, opt.TINY_AFTER, mpt.TINY, mpt.TINY_NORMS]
ALL += [gpt_neo.TINY, gptj.TINY]
PROMPTS = [[5, 3, 8, 1, 9], [2], [7, 7, 4], [5, 3, 8, 1, 9, 11, 30, 2]]
END = frozenset({3, 17, 40, 41, 42})


def net_of(declaration: Declaration) -> Decoder:
    """In float64, so that equal means equal."""
    net = declaration.build()
    net.load_state_dict(state({name: t.shape for name, t in net.state_dict().items()}))
    assert isinstance(net, Decoder)
    return net.double().eval()


@pytest.fixture(scope="module")
def net() -> Decoder:
    return net_of(llama.TINY)


def name(declaration: Declaration) -> str:
    return declaration.function.__name__


def said(net: Decoder, requests: list[Request]) -> list[list[Step]]:
    """The steps of each row."""
    out: list[list[Step]] = [[] for _ in requests]
    for step in speak(net, requests):
        out[step.row].append(step)
    return out


def tokens(net: Decoder, requests: list[Request]) -> list[list[int]]:
    return [[step.token for step in steps] for steps in said(net, requests)]


@pytest.mark.parametrize("declaration", ALL, ids=name)
@torch.no_grad()
def test_a_text_read_in_pieces_is_the_text_read_whole(declaration: Declaration) -> None:
    net = net_of(declaration)
    texts = [[(7 * i + 3 * j) % 90 for j in range(n)] for i, n in enumerate((12, 5, 9))]
    cpu = torch.device("cpu")
    whole = net(laid(texts, cpu)).split([12, 5, 9])
    cache = net.blank(3, 16)
    cuts = [(0, 4), (4, 5), (5, 12)]
    for first, last in cuts:
        live = [i for i in range(3) if len(texts[i]) > first]
        cache = cache if len(live) == 3 else cache.take(live)
        pieces = [texts[i][first:last] for i in live]
        got = net.extend_all(laid(pieces, cpu), cache).split([len(p) for p in pieces])
        for i, rows in zip(live, got, strict=True):
            assert torch.allclose(rows, whole[i][first : first + len(rows)], atol=1e-12)
        if len(live) < 3:
            break


@pytest.mark.parametrize("declaration", ALL, ids=name)
def test_a_batch_says_what_its_members_say(declaration: Declaration) -> None:
    net = net_of(declaration)
    hows = [How(9), How(5, temperature=0.9, seed=1), How(7, temperature=1.3, top_p=0.9, seed=2)]
    hows += [How(9, temperature=0.8, top_k=7, min_p=0.05, repetition=1.3, seed=3)]
    requests = [Request(ids, how, END) for ids, how in zip(PROMPTS, hows, strict=True)]
    together = said(net, requests)
    for one, steps in zip(requests, together, strict=True):
        (alone,) = said(net, [one])
        assert [s.token for s in alone] == [s.token for s in steps]
        assert [s.end for s in alone] == [s.end for s in steps]
        assert [s.logprob for s in alone] == pytest.approx([s.logprob for s in steps], abs=1e-9)


@torch.no_grad()
def test_greedy_is_the_best_token_of_a_pass_without_a_cache(net: Decoder) -> None:
    for ids, found in zip(PROMPTS, tokens(net, [Request(p, How(8)) for p in PROMPTS]), strict=True):
        text = list(ids)
        for _ in range(8):
            text.append(int(net(laid([text], torch.device("cpu")))[-1].argmax()))
        assert text[len(ids) :] == found


def test_equal_prompts_are_read_once_and_a_beginning_can_be_kept(net: Decoder) -> None:
    how = How(6, temperature=1.0)
    requests = [Request(PROMPTS[0], how._replace(seed=s)) for s in range(5)]
    alone = [tokens(net, [one])[0] for one in requests]
    assert tokens(net, requests) == alone and len(set(map(tuple, alone))) > 1
    long = Request(PROMPTS[3], How(6))
    start = read(net, [Request(PROMPTS[0], How(20))])
    start.cache.rewind([5])
    again = read(net, [long], start.cache)
    assert [s.token for s in speak(net, [long], again)] == tokens(net, [long])[0]


def test_draws_have_the_chances_they_should(net: Decoder) -> None:
    scores = torch.tensor([2.0, 1.0, 0.5, -1.0, -3.0])
    how = How(temperature=0.7, top_p=0.95)
    chances = cut(scores, how).softmax(0)
    dice = Dice(0)
    drawn = Counter(dice.draw(chances) for _ in range(20_000))
    for token, chance in enumerate(chances.tolist()):
        assert abs(drawn[token] / 20_000 - chance) < 4 * math.sqrt(chance / 20_000) + 1e-9


def test_cuts_are_those_of_transformers() -> None:
    hf = pytest.importorskip("transformers.generation.logits_process")
    for seed in range(20):
        scores = torch.randn(50, generator=torch.Generator().manual_seed(seed))
        ids = torch.tensor([[1, 1, 7, 20]])
        how = How(temperature=0.6, top_k=12, top_p=0.8, min_p=0.08, repetition=1.4)
        theirs = hf.RepetitionPenaltyLogitsProcessor(1.4)(ids, scores[None].clone())
        theirs = hf.TemperatureLogitsWarper(0.6)(ids, theirs)
        theirs = hf.TopKLogitsWarper(12)(ids, theirs)
        theirs = hf.TopPLogitsWarper(0.8)(ids, theirs)
        theirs = hf.MinPLogitsWarper(0.08)(ids, theirs)[0]
        ours = cut(penalised(scores, [1, 1, 7, 20], 1.4), how)
        assert torch.equal(ours.isinf(), theirs.isinf())
        assert torch.allclose(ours[~ours.isinf()], theirs[~theirs.isinf()])


def test_beams_of_a_batch_are_those_of_its_members(net: Decoder) -> None:
    requests = [Request(ids, How(7), END) for ids in PROMPTS]
    for penalty in (0.0, 1.0, -1.0):
        together = beam(net, requests, 3, penalty)
        for one, found in zip(requests, together, strict=True):
            (alone,) = beam(net, [one], 3, penalty)
            assert [f.ids for f in alone] == [f.ids for f in found]
            assert [f.score for f in alone] == pytest.approx([f.score for f in found], abs=1e-9)


def test_a_beam_that_keeps_everything_finds_the_best_text(net: Decoder) -> None:
    prompt, end = [5, 3], 9
    small = [2, 4, 9]  # the only tokens allowed

    def rule(scores: torch.Tensor, text: object) -> torch.Tensor:
        out = torch.full_like(scores, float("-inf"))
        out[small] = scores[small]
        return out

    found = beam(net, [Request(prompt, How(3), frozenset({end}))], 27, 0.0, rules=[rule])[0]
    every = [list(t) for n in (1, 2, 3) for t in itertools.product(small, repeat=n)]
    whole = [t for t in every if end not in t[:-1] and (t[-1] == end or len(t) == 3)]
    best = max(whole, key=lambda t: likely(net, prompt, [t])[0].total)
    assert list(found[0].ids) == best
    assert found[0].logprob == pytest.approx(likely(net, prompt, [best])[0].total, abs=1e-9)


def test_choices_are_scored_as_if_each_were_read_alone(net: Decoder) -> None:
    options = [[4, 8, 2], [4], [9, 9, 9, 1], [4, 8]]
    together = likely(net, PROMPTS[0], options)
    for option, one in zip(options, together, strict=True):
        loss = losses(net, [[*PROMPTS[0], *option]])[0][-len(option) :]
        assert one.logprobs == pytest.approx([-x for x in loss], abs=1e-9)
        assert one.mean == pytest.approx(one.total / len(option))


def test_a_text_that_must_be_among_options_is_one(net: Decoder) -> None:
    options, end = [[4, 8, 2], [4, 8], [9, 1]], 3
    for seed in range(8):
        one = Request(PROMPTS[2], How(6, temperature=2.0, seed=seed), frozenset({end}))
        rule = among(PROMPTS[2], options, end)
        ids = [step.token for step in speak(net, [one], rules=[rule])]
        assert ids[-1] == end and ids[:-1] in options
    best = beam(net, [one._replace(how=How(6))], 4, 0.0, rules=[rule])[0]
    totals = {o[-1]: likely(net, PROMPTS[2], [[*o, end]])[0].total for o in options}
    assert best[0].ids[:-1] in [tuple(o) for o in options] and totals


@pytest.mark.parametrize("ahead", [1, 3, 8])
def test_a_draft_changes_nothing_of_a_greedy_text(net: Decoder, ahead: int) -> None:
    for draft in (net_of(llama.TINY_TIED), net):
        for prompt in PROMPTS:
            one = Request(prompt, How(11), END)
            helped = Speculation(net, draft, ahead)
            assert [s.token for s in helped.speak(one)] == tokens(net, [one])[0]
            if draft is net:
                assert helped.counts.accepted == helped.counts.drafted


def test_a_draft_leaves_the_distribution_as_it_is(net: Decoder) -> None:
    """Two tokens of a model of few words: all chances against 3,000 texts."""
    how, prompt = How(2, temperature=1.5, top_k=4), [5, 3]
    helped = Speculation(net, net_of(llama.TINY_TIED), 3)
    count = 3000
    seen = Counter(
        tuple(s.token for s in helped.speak(Request(prompt, how._replace(seed=seed))))
        for seed in range(count)
    )
    cpu = torch.device("cpu")
    with torch.no_grad():
        first = distribution(net(laid([prompt], cpu))[-1], prompt, how, ())
        for a in first.nonzero().flatten().tolist():
            text = [*prompt, a]
            second = distribution(net(laid([text], cpu))[-1], text, how, ())
            for b in second.nonzero().flatten().tolist():
                chance = float(first[a] * second[b])
                off = abs(seen.pop((a, b), 0) / count - chance)
                assert off < 4.5 * math.sqrt(chance / count) + 1e-9
    assert not seen


def test_what_cannot_be_is_refused(net: Decoder) -> None:
    bad = [
        (Request([], How()), "empty"),
        (Request([1], How(0)), "max_tokens"),
        (Request([1] * 60, How(9)), "context"),
        (Request([1000], How(1)), "vocabulary"),
        (Request([1], How(temperature=-1)), "temperature"),
        (Request([1], How(top_p=0)), "top_p"),
        (Request([1], How(repetition=0)), "repetition"),
    ]
    for request, word in bad:
        with pytest.raises(ValueError, match=word):
            next(speak(net, [request]))
    with pytest.raises(ValueError, match="empty"):
        next(speak(net, []))
    with pytest.raises(ValueError, match="temperature"):
        beam(net, [Request([1], How(5, temperature=1.0))], 2)
    cache = net.blank(1, 4)
    with pytest.raises(ValueError, match="room for 4"):
        net.extend(laid([[1, 2, 3, 4, 5]], torch.device("cpu")), cache)
    with pytest.raises(ValueError, match="go back"):
        cache.rewind([3])
