"""The linear probe finds scikit-learn's optimum, and chooses its strength without the test set."""

import numpy as np
import pytest
import torch

from sensorium.tasks.linear_probe import by_logits, choose, fit, held_out, linear_probe
from sensorium.tasks.records import TaskError, read
from sensorium.tasks.scores import score
from sensorium.types import Labelled


def clouds(n: int, classes: int, width: int, spread: float, seed: int):
    """Points around one centre a class (the centres are the same for every seed)."""
    g = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    labels = g.integers(0, classes, n)
    return centres[labels] + spread * g.normal(size=(n, width)), labels


@pytest.fixture
def sets(table):
    vectors, both = {}, []
    for seed, n in ((1, 150), (2, 200)):
        x, y = clouds(n, 4, 10, 1.2, seed)
        names = [f"{seed}/{i}".encode() for i in range(n)]
        vectors |= dict(zip(names, x / np.linalg.norm(x, axis=1, keepdims=True), strict=True))
        pairs = zip(names, y, strict=True)
        both.append([Labelled(name, int(label), name.decode()) for name, label in pairs])
    return table(vectors), *both


LABELS = ["n", "e", "s", "w"]


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_optimum_is_scikit_learns(c, classes):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = clouds(300, classes, 12, 2.0, seed=0)
    ours = fit(torch.tensor(x), torch.tensor(y), classes, c)
    # of two classes that library keeps one vector, of half the penalty
    theirs = linear_model.LogisticRegression(
        C=c if classes > 2 else 2 * c, tol=1e-10, max_iter=10_000
    ).fit(x, y)
    weight, bias = ours.weight.numpy(), ours.bias.numpy()
    if classes == 2:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    bias, their_bias = bias - bias.mean() * (classes > 2), theirs.intercept_
    their_bias = their_bias - their_bias.mean() * (classes > 2)  # free up to a constant
    size = np.abs(theirs.coef_).max()
    assert np.abs(weight - theirs.coef_).max() < 1e-3 * size
    assert np.abs(bias - their_bias).max() < 1e-3 * size
    fresh, truth = clouds(1000, classes, 12, 2.0, seed=3)
    told = (torch.tensor(fresh) @ ours.weight.T + ours.bias).argmax(1).numpy()
    assert (told == truth).mean() == theirs.score(fresh, truth)
    assert ours.gradient < 1e-5


def test_a_warm_start_ends_at_the_same_optimum():
    x, y = (torch.tensor(a) for a in clouds(200, 3, 6, 1.5, seed=0))
    cold, warm = fit(x, y, 3, 1.0), fit(x, y, 3, 1.0, fit(x, y, 3, 0.01))
    assert (cold.weight - warm.weight).abs().max() < 1e-5


def test_a_fifth_of_each_class_is_held_out_by_its_id_alone():
    ids, targets = [f"im{i}" for i in range(103)], [0] * 50 + [1] * 50 + [2, 3, 3]
    held = held_out(ids, targets)
    counts = np.bincount(np.array(targets)[held], minlength=4)
    assert counts.tolist() == [10, 10, 0, 1]
    shuffle = np.random.default_rng(0).permutation(103)
    again = held_out([ids[i] for i in shuffle], [targets[i] for i in shuffle])
    assert (again == held[shuffle]).all()
    with pytest.raises(TaskError, match="two training pictures"):
        held_out(["a", "b"], [0, 1])


def test_the_strength_chosen_is_the_best_tried_and_no_end():
    x, y = (torch.tensor(a) for a in clouds(150, 3, 60, 6.0, seed=0))
    held = torch.arange(150) % 3 == 0
    c, tried = choose(x, y, 3, held)
    assert tried[c] == max(tried.values())
    assert len(tried) >= 11
    for strength, accuracy in tried.items():
        one = fit(x[~held], y[~held], 3, strength)
        right = (x[held] @ one.weight.T + one.bias).argmax(1) == y[held]
        assert abs(accuracy - float(right.double().mean())) < 1.5 / 50  # the sweep stops early


@pytest.mark.parametrize("standardise", [True, False])
def test_the_probe_against_scikit_learn_from_pictures_to_score(sets, tmp_path, standardise):
    linear_model = pytest.importorskip("sklearn.linear_model")
    model, train, test = sets
    found = linear_probe(model, train, test, LABELS, standardise=standardise, path=tmp_path / "r")
    header = read(tmp_path / "r").header
    x, x_test = (
        model.embed(images=[s.image for s in part]).astype(np.float64) for part in (train, test)
    )
    if standardise:
        x, x_test = (x - x.mean(0)) / x.std(0), (x_test - x.mean(0)) / x.std(0)
    theirs = linear_model.LogisticRegression(C=header["C"], tol=1e-8, max_iter=10_000)
    theirs.fit(x, [s.label for s in train])
    accuracy = found["accuracy"]["top1"]
    assert accuracy.value == theirs.score(x_test, [s.label for s in test])
    assert 0.6 < accuracy.low < accuracy.value < accuracy.high < 1
    assert accuracy.n == 200
    assert score(tmp_path / "r") == found
    assert header["train"]["pictures"] == 150 and header["test_pictures_in_train"] == 0


def test_order_and_batch_change_nothing(sets, tmp_path, monkeypatch):
    model, train, test = sets
    linear_probe(model, train, test, LABELS, path=tmp_path / "a")
    model.batch = 2
    monkeypatch.setattr("sensorium.tasks.records.READ", 13)
    linear_probe(model, train[::-1], test[::-1], LABELS, path=tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_test_set_has_no_say_in_what_is_fitted(sets, tmp_path):
    model, train, test = sets
    linear_probe(model, train, test, LABELS, path=tmp_path / "a")
    linear_probe(model, train, test[:5], LABELS, path=tmp_path / "b")
    a, b = read(tmp_path / "a"), read(tmp_path / "b")
    assert (a.header["C"], a.header["tried"]) == (b.header["C"], b.header["tried"])
    assert all(row in a.rows for row in b.rows)


def test_test_pictures_in_the_training_set_are_counted(sets, tmp_path):
    model, train, test = sets
    leaked = [*test, *(s._replace(id=f"again {s.id}") for s in train[:3])]
    linear_probe(model, train, leaked, LABELS, path=tmp_path / "r")
    assert read(tmp_path / "r").header["test_pictures_in_train"] == 3


def test_a_constant_feature_and_a_class_without_pictures_do_no_harm(table):
    vectors = {f"{i}".encode(): np.array([0.6, 0.8 * (-1) ** i, 0.0]) for i in range(40)}
    samples = [Labelled(image, i % 2, f"{i}") for i, image in enumerate(vectors)]
    found = linear_probe(table(vectors), samples[:20], samples[20:], ["a", "b", "never"])
    assert found["accuracy"]["top1"].value == 1.0
    assert found["per_class"].keys() == {"a", "b"}


def test_ranks_by_logit_count_ties_against_the_model():
    found = by_logits(np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]]), [2, 1])
    assert [(one.rank, one.ties) for one in found] == [(2, 0), (3, 2)]


def test_what_cannot_be_asked_is_refused(sets):
    model, train, test = sets
    for wrong, why in (
        (lambda: linear_probe(model, [], test, LABELS), "empty"),
        (lambda: linear_probe(model, train, [], LABELS), "empty"),
        (lambda: linear_probe(model, train, test, LABELS[:2]), "of 2 classes"),
        (lambda: linear_probe(model, train, test, ["n", "n", "s", "w"]), "both named 'n'"),
    ):
        with pytest.raises(TaskError, match=why):
            wrong()
