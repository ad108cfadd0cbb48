"""Linear probe: how far a model's frozen picture features carry a linear classifier.

Multinomial logistic regression by L-BFGS, its one strength of regularisation chosen on pictures cut
from the *training* list, then fitted again on the whole list. Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision" (2021), appendix A.3.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.tasks.records import Embedder, Progress, TaskError, embed_images, write
from sensorium.tasks.retrieval import Found
from sensorium.tasks.scores import Scores, score
from sensorium.tasks.zero_shot import class_records, listing, merge
from sensorium.types import Labelled

SHARE = 5  # one in so many training pictures of a class chooses the strength
DECADES = range(-3, 4)  # strengths tried first: 10^-3 .. 10^3; wider when the best is at an end
WIDEST = 6


class Linear(NamedTuple):
    """A fitted classifier: logits are x @ weight.T + bias."""

    weight: Float[Tensor, "v e"]
    bias: Float[Tensor, " v"]
    gradient: float  # largest slope left: how well it converged


def linear_probe(
    model: Embedder,
    train: Sequence[Labelled],
    test: Sequence[Labelled],
    labels: Sequence[str],
    *,
    standardise: bool = True,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Fits a linear classifier on the training pictures' features and scores it on the test's.

    Args:
        model: embeds pictures; never trained.
        train: what is fitted on; a fixed fifth of each class (by hash of the ids) chooses C.
        test: what is scored, touched once.
        labels: the names of the classes.
        standardise: features are brought to mean 0 and deviation 1, measured on `train`.
        path: where the records file of the test set is written; None: nowhere.
        about: more facts for its header; give `split` and `model` (a fingerprint).
        progress: called with (pictures embedded so far, all pictures of both sets).

    Returns:
        {"accuracy": {"top1", "top5", "mean_per_class"}, "per_class": {label: its top1}},
        as `zero_shot` defines them.

    Raises:
        TaskError: an empty set, a label out of range, repeated labels, no class with two training
            pictures, an embedding that is NaN or no unit vector.
    """
    merge(labels, "refuse")
    targets, order, data = listing(train, labels)
    test_targets, test_order, test_data = listing(test, labels)
    total = len(order) + len(test_order)

    def train_done(done: int, _: int) -> None:
        if progress is not None:
            progress(done, total)

    def test_done(done: int, _: int) -> None:
        if progress is not None:
            progress(len(order) + done, total)

    seen = embed_images(model, lambda i: train[order[i]].image, len(order), train_done)
    unseen = embed_images(model, lambda i: test[test_order[i]].image, len(test_order), test_done)
    x, x_test = torch.from_numpy(seen).double(), torch.from_numpy(unseen).double()
    if standardise:
        centre, spread = x.mean(0), x.std(0, correction=0)
        spread[spread < 1e-8] = 1.0  # a constant feature stays out of the way
        x, x_test = (x - centre) / spread, (x_test - centre) / spread
    y = torch.tensor(targets)
    held = held_out([train[place].id for place in order], targets)
    c, tried = choose(x, y, len(labels), torch.from_numpy(held))
    fitted = fit(x, y, len(labels), c)
    logits = (x_test @ fitted.weight.T + fitted.bias).numpy()
    facts = {
        "data": test_data,
        "split": None,
        "model": None,
        "train": {"data": data, "pictures": len(order), "held_out_to_choose": int(held.sum())},
        "standardise": standardise,
        "C": c,
        "tried": [[strength, accuracy] for strength, accuracy in sorted(tried.items())],
        "gradient": fitted.gradient,
        "test_pictures_in_train": _shared(train, test),
    }
    ids = [test[place].id for place in test_order]
    found = by_logits(logits, test_targets)
    kept = class_records(
        "linear-probe", labels, ids, test_targets, found, facts | dict(about or {})
    )
    if path is not None:
        write(path, kept)
    return score(kept)


def held_out(ids: Sequence[str], targets: Sequence[int]) -> Bool[np.ndarray, " n"]:
    """A fifth of each class's pictures (of two or more, at least one), by the hash of their ids."""
    held = np.zeros(len(ids), dtype=bool)
    of_class: dict[int, list[int]] = {}
    for place, target in enumerate(targets):
        of_class.setdefault(target, []).append(place)
    for places in of_class.values():
        places.sort(key=lambda at: hashlib.sha256(ids[at].encode("utf-8", "replace")).digest())
        count = max(1, len(places) // SHARE) if len(places) > 1 else 0
        held[places[:count]] = True
    if not held.any():
        raise TaskError(
            "no class has two training pictures, so none can be spared to choose the"
            " regularisation; a linear probe needs more pictures a class"
        )
    return held


def choose(
    x: Float[Tensor, "n e"], y: Int[Tensor, " n"], classes: int, held: Bool[Tensor, " n"]
) -> tuple[float, dict[float, float]]:
    """The C that is most accurate on the held-out rows, fitted on the others; and all tried.

    Decades first, one more as long as the best is at an end, then half and quarter decades around
    the best. Equal accuracies are told apart by the held-out log-loss. Each fit starts from the one
    before and stops at a slope of 1e-5, which is looser than that of the final fit.
    """
    tried: dict[float, tuple[float, float]] = {}
    state: Linear | None = None

    def attempt(power: float) -> None:
        nonlocal state
        if power in tried:
            return
        state = fit(x[~held], y[~held], classes, 10.0**power, state, tolerance=1e-5)
        logits = x[held] @ state.weight.T + state.bias
        right = float((logits.argmax(1) == y[held]).double().mean())
        tried[power] = (right, -float(torch.nn.functional.cross_entropy(logits, y[held])))

    def best() -> float:
        return max(tried, key=lambda power: (*tried[power], -power))

    for power in DECADES:
        attempt(float(power))
    while best() in (min(tried), max(tried)) and abs(best()) < WIDEST:
        attempt(best() + (1.0 if best() == max(tried) else -1.0))
    for step in (0.5, 0.25):
        middle = best()
        attempt(middle - step)
        attempt(middle + step)
    return 10.0 ** best(), {10.0**power: right for power, (right, _) in tried.items()}


def fit(
    x: Float[Tensor, "n e"],
    y: Int[Tensor, " n"],
    classes: int,
    c: float,
    start: Linear | None = None,
    tolerance: float = 1e-7,
) -> Linear:
    """The minimum of C * sum of log-losses + |weight|^2 / 2, the bias not penalised.

    That is scikit-learn's `LogisticRegression(C=c)` for three classes or more. With two classes
    that library fits one weight vector where this fits two opposite ones: its C is twice this one.
    """
    n = len(x)
    weight = torch.zeros(classes, x.shape[1], dtype=x.dtype)
    bias = torch.zeros(classes, dtype=x.dtype)
    if start is not None:
        weight, bias = start.weight.clone(), start.bias.clone()
    weight.requires_grad_()
    bias.requires_grad_()
    solver = torch.optim.LBFGS(
        [weight, bias],
        max_iter=2000,
        max_eval=4000,
        history_size=20,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        solver.zero_grad()
        logits = x @ weight.T + bias
        value = torch.nn.functional.cross_entropy(logits, y) + weight.square().sum() / (2 * c * n)
        value.backward()
        return value

    solver.step(loss)
    if not torch.isfinite(loss()):
        raise TaskError(f"the linear probe diverged at C={c}: the features are too large")
    assert weight.grad is not None and bias.grad is not None
    slope = max(float(weight.grad.abs().max()), float(bias.grad.abs().max()))
    return Linear(weight.detach(), bias.detach(), slope)


def by_logits(logits: Float[np.ndarray, "n v"], targets: Sequence[int]) -> list[Found]:
    """Ranks of the right classes by logit; a tie counts against the model."""
    found = []
    for row, target in zip(logits, targets, strict=True):
        level = int((row == row[target]).sum()) - 1
        order = np.argsort(-row, kind="stable")[:5]
        top = [(int(place), float(row[place])) for place in order]
        wrong = int((row > row[target]).sum()) + level
        found.append(Found(1 + wrong, level, 1, float(row[target]), top))
    return found


def _shared(train: Sequence[Labelled], test: Sequence[Labelled]) -> int:
    """Test pictures whose very bytes are in the training set."""
    seen = {hashlib.sha256(train[place].image).digest() for place in range(len(train))}
    return sum(hashlib.sha256(test[place].image).digest() in seen for place in range(len(test)))
