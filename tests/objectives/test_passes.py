"""Several losses on one reading: exact over slices, over two ranks, and compiled."""

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sensorium.objectives import masked_regions, masked_words, matching
from sensorium.objectives.answering import Answering
from sensorium.objectives.masked_regions import Classes, Feature, MaskedRegions
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass, opened
from sensorium.objectives.transport import Transport
from sensorium.train.backward import Scale, backward
from sensorium.train.parallel import Place
from sensorium.train.step import Step
from sensorium.types import Detected, ImageText, Scored
from tests.models.drawn import uniform
from tests.models.test_battery import program
from tests.objectives.align_net import align_fuse, pairs
from tests.objectives.posed import WORDS, case, gradients, part, same_gradients, uniter
from tests.objectives.test_aligned import objective as aligned
from tests.objectives.test_aligned import posed


def everything() -> OnePass:
    """All parts in one pass: what an ablation without conditional masking asks, and more."""
    return OnePass(
        Matching(matching.UNITER),
        MaskedWords(WORDS, masked_words.UNITER._replace(share=0.3)),
        MaskedRegions(masked_regions.UNITER, Feature(), Classes("regions")),
        Transport(),
        Answering(),
    )


def net_that_answers() -> nn.Module:
    net = uniter()
    net.heads["qa"] = nn.Linear(64, 4)
    with torch.no_grad():
        net.heads["qa"].weight.copy_(uniform("qa", (4, 64)) / 8)
        net.heads["qa"].bias.zero_()
    return net.double()


def questions(net: nn.Module, objective: OnePass) -> list:
    """The batch in two slices, posed slice by slice."""
    batch = case(answers=4)
    slices = [part(batch, [0, 1, 2]), part(batch, [3, 4, 5])]
    return [
        objective.pose(net, one, torch.Generator().manual_seed(i)) for i, one in enumerate(slices)
    ]


def test_slices_give_the_sums_and_the_gradient_of_the_whole() -> None:
    net, objective = net_that_answers(), everything()
    cut = questions(net, objective)
    found, grads = gradients(net, objective, cut)
    net.zero_grad()
    sums = [objective.mark(objective.encode(net, q), q) for q in cut]
    counts = [objective.count(q) for q in cut]
    means = {n: (sums[0][n] + sums[1][n]) / (counts[0][n] + counts[1][n]) for n in sums[0]}
    torch.stack(list(means.values())).sum().backward()
    assert found == pytest.approx({n: v.item() for n, v in means.items()}, rel=1e-10)
    assert set(found) == {"itm", "mlm", "mrfr", "mrc", "wra", "qa"}
    same_gradients(grads, {n: p.grad for n, p in net.named_parameters() if p.grad is not None})


def test_what_is_not_one_picture_and_one_text_is_refused() -> None:
    batch = case(answers=4)
    assert batch.said is not None and batch.score is not None
    assert opened(Detected(batch.of, batch.said)).said is batch.said
    assert opened(Scored(batch.of, batch.score)).score is batch.score
    with pytest.raises(ValueError, match="not ImageText"):
        opened(ImageText(torch.zeros(6, 3, 2, 2), batch.of.text))
    with pytest.raises(ValueError, match="at least one part"):
        OnePass()
    question = OnePass(Matching(matching.UNITER)).pose(uniter(), batch, torch.Generator())
    with pytest.raises(ValueError, match="does not read pictures and texts together"):
        OnePass(Matching(matching.UNITER)).encode(nn.Linear(1, 1), question)


@pytest.mark.compiled
def test_compiled_blocks_say_the_same() -> None:
    done = program([str(Path(__file__).with_name("compiled.py")), "eager"])
    assert done.returncode == 0, done.stderr.decode()[-3000:]


def rank_main(rank: int, folder: str) -> None:
    """Each rank asks its own half; the gradients are those of both on one process."""
    torch.set_num_threads(1)
    one, objective = net_that_answers(), everything()
    both = questions(one, objective)
    wanted, grads = gradients(one, objective, both)
    two, made = align_fuse(), aligned(losses=("itc",))
    whole, far = gradients(two, made, [posed(made, two, pairs(6))])
    made.after_step(two)
    queue, two, made = made.queue, align_fuse(), aligned(losses=("itc",))
    patience = timedelta(seconds=60)
    dist.init_process_group(
        "gloo", f"file://{folder}/store", timeout=patience, rank=rank, world_size=2
    )
    try:
        found = spread(one, objective, both[rank], rank)
        assert found == pytest.approx(wanted, rel=1e-9)
        same_gradients({n: p.grad for n, p in one.named_parameters() if p.grad is not None}, grads)
        found = spread(two, made, posed(made, two, pairs(3, 3 * rank)), rank)
        assert found == pytest.approx(whole, rel=1e-9)
        same_gradients({n: p.grad for n, p in two.named_parameters() if p.grad is not None}, far)
        made.after_step(two)
        for name in ("image", "text"):
            torch.testing.assert_close(made.queue.keys(name), queue.keys(name))
    finally:
        dist.destroy_process_group()


def spread(net: nn.Module, objective, question, rank: int) -> dict[str, float]:
    """The means and (in the net) the gradient of a question that two ranks share."""
    net.zero_grad()
    step = Step(net, {"asked": objective})
    root = DistributedDataParallel(step, find_unused_parameters=True)
    counts = objective.count(question)
    numbers = torch.tensor([float(n) for n in counts.values()])
    dist.all_reduce(numbers)
    factors = {name: 1 / max(n, 1) for name, n in zip(counts, numbers.tolist(), strict=True)}
    place = Place(rank, 2, torch.device("cpu"))
    sums = backward(root, step, [{"asked": question}], Scale({"asked": factors}), place, nothing)
    values = torch.stack([v.double() for v in sums["asked"].values()])
    dist.all_reduce(values)
    return {n: v * factors[n] for n, v in zip(counts, values.tolist(), strict=True)}


def nothing(piece: int):
    return torch.enable_grad()


@pytest.mark.ranks
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        mp.spawn(rank_main, (folder,), nprocs=2)
