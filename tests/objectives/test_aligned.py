"""ALBEF's losses: beside its own code, beside loops, over slices, and with their state resumed."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from sensorium.data.ragged import lay, unlay
from sensorium.forms.align_fuse import AlignFuse
from sensorium.objectives.aligned import Aligned, Posed, matching
from sensorium.objectives.masked_words import Vocabulary
from sensorium.objectives.momentum import Keys, Queue, Slow, Vectors, contrast
from sensorium.objectives.passes import Case
from sensorium.types import Joint
from tests.models.drawn import uniform
from tests.objectives.align_net import EMBED, VOCAB, align_fuse, pairs
from tests.objectives.posed import gradients, same_gradients

GOLDEN = Path(__file__).parents[2] / "golden" / "fusion-objectives.safetensors"
WORDS = Vocabulary(mask=4, never=(0, 2), first=0, last=VOCAB)


def objective(steps: int = 3, **more) -> Aligned:
    """With a teacher that is not the net, as after some steps."""
    teacher = align_fuse()
    del teacher.heads["itm"]
    made = Aligned(teacher, Queue(10, EMBED, seed=1), WORDS, Slow(0.9, 0.4, ramp=4), **more)
    made.get_buffer("steps").fill_(steps)
    with torch.no_grad():
        for name, p in teacher.named_parameters():
            p += 0.05 * uniform(f"slow {name}", p.shape)
    return made.double()


def posed(made: Aligned, net: AlignFuse, batch: Joint, seed: int = 0) -> Posed:
    return made.pose(net, batch, torch.Generator().manual_seed(seed))


def test_the_contrast_is_that_of_albefs_own_code_and_so_are_its_gradients() -> None:
    golden = load_file(GOLDEN)
    raw = {name: uniform(name, (4, 6)) for name in ("image", "text", "image m", "text m")}
    image, text = raw["image"].requires_grad_(), raw["text"].requires_grad_()
    temperature = torch.tensor([0.11], requires_grad=True)
    unit = [F.normalize(x, dim=1) for x in (image, text, raw["image m"], raw["text m"])]
    queued = [F.normalize(uniform(f"{x} queue", (12, 6)), dim=1) for x in ("image", "text")]
    own = torch.arange(4)
    known = Keys(torch.cat([unit[2], queued[0]]), torch.cat([unit[3], queued[1]]), own, 4)
    loss = contrast(Vectors(*unit), known, temperature, 0.4) / 4
    loss.backward()
    torch.testing.assert_close(loss, golden["albef.contrast"])
    assert image.grad is not None and text.grad is not None and temperature.grad is not None
    torch.testing.assert_close(image.grad, golden["albef.image"], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(text.grad, golden["albef.text"], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(temperature.grad[0], golden["albef.temperature"], rtol=1e-4, atol=0)
    queue = Queue(12, 6)
    queue.keys("image").copy_(queued[0])
    queue.keys("text").copy_(queued[1])
    queue.get_buffer("place").fill_(8)
    queue.push(unit[2], unit[3])
    torch.testing.assert_close(queue.keys("image").T, golden["albef.image queue"])
    torch.testing.assert_close(queue.keys("text").T, golden["albef.text queue"])


def test_matching_marks_the_three_pairs_of_a_row_as_albefs_own_code() -> None:
    golden = load_file(GOLDEN)
    fused = golden["albef.texts"] * golden["albef.pictures"]  # as the stand-in for a net fuses
    logits = fused @ uniform("itm", (2, 6)).T
    right, wrong_picture, wrong_text = logits.split(4)
    match = torch.stack([right, wrong_picture, wrong_text], dim=1)
    loss = matching(match, torch.ones(4, dtype=torch.bool)) / 12
    torch.testing.assert_close(loss, golden["albef.match"])


def test_soft_targets_of_a_worked_example() -> None:
    """Similarities of the teacher 0.6, 0.1, 0.3, of the net 0.5, 0.2, 0.1."""
    angles = torch.tensor([0.6, 0.1, 0.3]), torch.tensor([0.5, 0.2, 0.1])
    answers = torch.eye(3)
    said = Vectors(*[x[None] for x in (angles[1], angles[1], angles[0], angles[0])])
    known = Keys(answers, answers, torch.tensor([0]), 3)
    found = contrast(said, known, torch.tensor([0.07]), 0.4)
    assert float(found) == pytest.approx(0.0493, abs=1e-4)


def test_all_three_losses_are_those_of_loops_over_pairs() -> None:
    net, made = align_fuse(), objective()
    question = posed(made, net, pairs(4))
    with torch.no_grad():
        answers = made.encode(net, question)
        found = made.mark(answers, question)
        teacher, soft = made.teacher, 0.4 * 3 / 4
        texts, hidden = unlay(question.of.text), unlay(question.hidden)
        pictures = question.of.image[:, None]
        v, w, v_m, w_m = (
            [one.embed_image(p)[0] for p in pictures] if side == "image" else
            [one.embed_text(lay([t]))[0] for t in texts]
            for one, side in ((net, "image"), (net, "text"), (teacher, "image"), (teacher, "text"))
        )  # fmt: skip
        queue = made.queue
        total = 0.0
        for asks, slow, fresh, old in (
            (v, v_m, w_m, queue.keys("text")),
            (w, w_m, v_m, queue.keys("image")),
        ):
            every = [*fresh, *old]
            for i in range(4):
                near = torch.stack([asks[i] @ k for k in every]) / net.temperature
                opinion = (torch.stack([slow[i] @ k for k in every]) / net.temperature).softmax(0)
                target = soft * opinion
                target[i] += 1 - soft
                total -= float((target * near.log_softmax(0)).sum()) / 2
        assert float(found["itc"]) == pytest.approx(total, rel=1e-9)
        picture, other = made.wrong(
            Vectors(answers.image, answers.text, answers.image_key, answers.text_key),
            net.temperature,
            question,
        )
        total = 0.0
        for i in range(4):
            j, k = int(picture[i]), int(other[i])
            assert j != i and k != i
            for a, z, label in ((i, i, 1), (i, j, 0), (k, i, 0)):
                said = net.fuse(Joint(pictures[z], lay([texts[a]])))
                total -= float(net.heads["itm"](said.pooled)[0].log_softmax(0)[label])
        assert float(found["itm"]) == pytest.approx(total, rel=1e-9)
        total, ends = 0.0, question.of.text.lengths.cumsum(0).tolist()
        for place, label in zip(*(x.tolist() for x in question.asked), strict=True):
            i = next(i for i, end in enumerate(ends) if place < end)
            at = place - ends[i] + len(texts[i])
            both = Joint(pictures[i], lay([hidden[i]]))
            logs = net.heads["mlm"](net.fuse(both).text.x[0, at]).log_softmax(0)
            opinion = teacher.heads["mlm"](teacher.fuse(both).text.x[0, at]).softmax(0)
            total -= (1 - soft) * float(logs[label]) + soft * float((opinion * logs).sum())
        assert found["mlm"].item() == pytest.approx(total, rel=1e-9)
    assert made.count(question) == {"itc": 4, "itm": 12, "mlm": len(question.asked.place)}


def test_wrong_pairs_are_drawn_by_similarity_and_never_with_an_equal_text() -> None:
    net, made = align_fuse(), objective()
    batch = pairs(4)
    texts = unlay(batch.text)
    texts[2] = texts[0]
    batch = batch._replace(text=lay(texts))
    question = posed(made, net, batch)
    with torch.no_grad():
        a = made.encode(net, question)
    said = Vectors(a.image, a.text, a.image_key, a.text_key)
    seen = torch.zeros(2, 4, 4, dtype=torch.float64)
    for seed in range(400):
        draw = torch.rand(4, 2, generator=torch.Generator().manual_seed(seed))
        for side, chosen in enumerate(
            made.wrong(said, torch.tensor([0.2]), question._replace(draw=draw))
        ):
            seen[side, torch.arange(4), chosen] += 1 / 400
    may = ~torch.eye(4, dtype=torch.bool)
    may[0, 2] = may[2, 0] = False
    for side, (asks, answers) in enumerate(((a.text, a.image_key), (a.image, a.text_key))):
        wanted = (asks @ answers.T / 0.2).softmax(1) * may
        wanted /= wanted.sum(1, keepdim=True)
        assert (seen[side] - wanted).abs().max() < 0.08
        assert not seen[side][~may].any()


def test_where_all_texts_are_equal_only_right_pairs_are_asked() -> None:
    net, made = align_fuse(), objective()
    batch = pairs(3)._replace(text=lay([[2, 9, 3]] * 3))
    question = posed(made, net, batch)
    answers = made.encode(net, question)
    assert made.count(question)["itm"] == 3
    logs = answers.match[:, 0].log_softmax(1)
    torch.testing.assert_close(made.mark(answers, question)["itm"], -logs[:, 1].sum())


def test_slices_give_the_contrast_and_the_gradient_of_the_whole() -> None:
    """Wrong pairs come from a slice: the whole is then all slices marked in one graph."""
    net = align_fuse()
    made = objective(losses=("itc",))
    whole, wanted = gradients(net, made, [posed(made, net, pairs(6))])
    cut = [posed(made, net, pairs(2, first)) for first in (0, 2, 4)]
    found, grads = gradients(net, made, cut)
    assert found == pytest.approx(whole, rel=1e-9)
    same_gradients(grads, wanted)
    made = objective()
    cut = [posed(made, net, pairs(3, first), seed=first) for first in (0, 3)]
    found, grads = gradients(net, made, cut)
    net.zero_grad()
    answers = [made.encode(net, question) for question in cut]
    joined = type(answers[0])(*[torch.cat(f) for f in zip(*[a[:6] for a in answers], strict=True)],
                              net.temperature)  # fmt: skip
    sums = made.mark(joined, cut)
    counts = [made.count(question) for question in cut]
    total = {name: value / sum(c[name] for c in counts) for name, value in sums.items()}
    torch.stack(list(total.values())).sum().backward()
    assert found == pytest.approx({n: v.item() for n, v in total.items()}, rel=1e-9)
    wanted = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    same_gradients(grads, wanted)


def test_after_a_step_the_teacher_follows_the_queue_moves_and_both_are_saved() -> None:
    net, made = align_fuse(), objective(steps=0)
    question = posed(made, net, pairs(4))
    for name, p in made.teacher.named_parameters():
        assert torch.equal(p, net.get_parameter(name))  # it starts as the net
    answers = made.encode(net, question)
    made.mark(answers, question)
    with torch.no_grad():
        before = {n: p.clone() for n, p in made.teacher.named_parameters()}
        for p in net.parameters():
            p += 0.1
    net.temperature.data.fill_(7.0)
    made.after_step(net)
    assert net.temperature.item() == 0.5
    for name, p in made.teacher.named_parameters():
        torch.testing.assert_close(p, 0.9 * before[name] + 0.1 * net.get_parameter(name))
    assert int(made.queue.get_buffer("place")) == 4 and made.share() == pytest.approx(0.1)
    torch.testing.assert_close(made.queue.keys("text")[:4], answers.text_key)
    again = objective(steps=7)
    again.load_state_dict(made.state_dict())
    assert again.share() == made.share()
    question = posed(again, net, pairs(4, first=3), seed=5)
    one, two = (m.mark(m.encode(net, question), question) for m in (made, again))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_queue_runs_in_a_ring() -> None:
    queue = Queue(5, 2)
    for start in (0, 3, 6):
        x = torch.arange(start, start + 3.0)[:, None].expand(3, 2)
        queue.push(x, -x)
    assert queue.keys("image")[:, 0].tolist() == [5.0, 6.0, 7.0, 8.0, 4.0]
    assert torch.equal(queue.keys("text"), -queue.keys("image"))
    with pytest.raises(ValueError, match="a queue of 5 cannot hold a batch of 6"):
        queue.push(torch.zeros(6, 2), torch.zeros(6, 2))
    assert math.isclose(float(Queue(3, 4).keys("text").norm(dim=1).mean()), 1, rel_tol=1e-6)


def test_all_texts_of_a_picture_are_right_in_batch_and_queue() -> None:
    """As ALBEF is fine-tuned on retrieval, beside its own lines as loops."""
    net, teacher = align_fuse(), align_fuse()
    del teacher.heads["itm"]
    queue = Queue(6, EMBED, seed=1, named=True)
    queue.get_buffer("number")[:3] = torch.tensor([7, 5, 9])
    made = Aligned(teacher, queue, WORDS, Slow(0.9, 0.4, ramp=4), ("itc", "itm")).double()
    made.get_buffer("steps").fill_(3)
    number = torch.tensor([5, 7, 5, 2])
    question = made.pose(net, Case(pairs(4), picture=number), torch.Generator().manual_seed(0))
    assert question.may.tolist() == (number[:, None] != number[None, :]).tolist()
    with torch.no_grad():
        answers = made.encode(net, question)
        found = made.mark(answers, question)
    total, every = 0.0, [*number.tolist(), 7, 5, 9, -100, -100, -100]
    for asks, slow, fresh, old in (
        (answers.image, answers.image_key, answers.text_key, queue.keys("text")),
        (answers.text, answers.text_key, answers.image_key, queue.keys("image")),
    ):
        keys = torch.cat([fresh, old.double()])
        for i in range(4):
            near = keys @ asks[i] / net.temperature
            opinion = (keys @ slow[i] / net.temperature).softmax(0)
            same = torch.tensor([float(one == number[i]) for one in every], dtype=torch.float64)
            target = 0.3 * opinion + 0.7 * same / same.sum()
            total -= float((target * near.log_softmax(0)).sum().detach()) / 2
    assert float(found["itc"]) == pytest.approx(total, rel=1e-9)
    made.after_step(net)
    assert queue.get_buffer("number").tolist() == [5, 7, 5, 2, -100, -100]
    with pytest.raises(ValueError, match="numbers of all its pictures, or of none"):
        queue.push(answers.image, answers.text)
