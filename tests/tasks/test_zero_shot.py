"""Zero-shot classification: prompts are averaged as said, and nothing is guessed."""

import numpy as np
import pytest

from sensorium.tasks.records import TaskError, read
from sensorium.tasks.scores import score
from sensorium.tasks.zero_shot import class_vectors, confusion, zero_shot
from sensorium.types import Labelled

LABELS = ["cat", "dog", "yak {rare}", "owl", "bee", "ant", "elk"]
TEMPLATES = ["a photo of a {}.", "art of the {}", "{}"]


@pytest.fixture
def zoo(table):
    """A model of seven animals, and ninety pictures of unequal classes."""
    g, vectors, samples = np.random.default_rng(0), {}, []
    centres = g.normal(size=(7, 12))
    for label, centre in zip(LABELS, centres, strict=True):
        for template in TEMPLATES:
            vectors[template.replace("{}", label)] = centre + 0.5 * g.normal(size=12)
    for i in range(90):
        label = int(g.integers(0, 7) * g.random())
        vectors[f"{i}".encode()] = centres[label] + 1.5 * g.normal(size=12)
        samples.append(Labelled(f"{i}".encode(), label, f"id{i * 7 % 90:02}"))
    return table({k: v / np.linalg.norm(v) for k, v in vectors.items()}), samples


def by_hand(model, samples) -> np.ndarray:
    """Cosines of every picture with every class, a prompt at a time."""
    classes = []
    for label in LABELS:
        total = np.zeros(12)
        for template in TEMPLATES:
            total += model.vectors[template.replace("{}", label)]
        classes.append(total / np.linalg.norm(total))
    return np.array([[model.vectors[s.image] @ c for c in classes] for s in samples])


def test_accuracies_and_confusion_against_loops(zoo, tmp_path):
    model, samples = zoo
    found = zero_shot(model, samples, LABELS, templates=TEMPLATES, path=tmp_path / "r")
    cosines = by_hand(model, samples)
    order, labels = np.argsort(-cosines, axis=1), np.array([s.label for s in samples])
    first = order[:, 0] == labels
    per_class = {c: first[labels == c].mean() for c in set(labels.tolist())}
    accuracy = {name: one.value for name, one in found["accuracy"].items()}
    assert accuracy["top1"] == first.mean()
    assert accuracy["top5"] == (order[:, :5] == labels[:, None]).any(1).mean()
    assert accuracy["mean_per_class"] == pytest.approx(np.mean(list(per_class.values())))
    assert {LABELS[c]: p for c, p in per_class.items()} == {
        label: one.value for label, one in found["per_class"].items()
    }
    table = np.zeros((7, 7), dtype=int)
    np.add.at(table, (labels, order[:, 0]), 1)
    names, counted = confusion(tmp_path / "r")
    assert names == LABELS and (counted == table).all()
    assert 0.3 < accuracy["top1"] < accuracy["top5"] < 1  # the case is not trivial


def test_records_hold_the_templates_and_give_the_scores(zoo, tmp_path):
    model, samples = zoo
    found = zero_shot(model, samples, LABELS, templates=TEMPLATES, path=tmp_path / "r.gz")
    assert score(tmp_path / "r.gz") == found
    kept = read(tmp_path / "r.gz")
    assert (kept.header["templates"], kept.header["labels"]) == (TEMPLATES, LABELS)
    assert kept.header["count"] == len(samples)
    low, high = found["accuracy"]["top1"][1:3]
    assert low < found["accuracy"]["top1"].value < high


def test_order_and_batch_change_nothing(zoo, tmp_path, monkeypatch):
    model, samples = zoo
    zero_shot(model, samples, LABELS, templates=TEMPLATES, path=tmp_path / "a")
    model.batch = 3
    monkeypatch.setattr("sensorium.tasks.records.READ", 11)
    zero_shot(model, samples[::-1], LABELS, templates=TEMPLATES, path=tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_class_vectors_are_unit_and_of_normalised_prompts(zoo):
    model, _ = zoo
    vectors = class_vectors(model, LABELS, TEMPLATES)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6


def test_names_that_repeat_are_refused_or_merged(zoo, tmp_path):
    model, samples = zoo
    labels = [*LABELS[:6], "cat"]
    samples[0] = samples[0]._replace(label=6)
    with pytest.raises(TaskError, match="classes 0 and 6 are both named 'cat'"):
        zero_shot(model, samples, labels, templates=TEMPLATES)
    merged = [s._replace(label=0) if s.label == 6 else s for s in samples]
    zero_shot(model, samples, labels, templates=TEMPLATES, repeated="merge", path=tmp_path / "r")
    plain = zero_shot(model, merged, labels[:6], templates=TEMPLATES)
    assert score(tmp_path / "r") == plain
    assert read(tmp_path / "r").header["merged"] == [["cat", 6, 0]]


def test_a_tie_between_classes_counts_against_the_model(zoo, tmp_path):
    model, samples = zoo
    model.vectors = dict.fromkeys(model.vectors, np.eye(12)[0])
    found = zero_shot(model, samples, LABELS, templates=TEMPLATES, path=tmp_path / "r")
    assert found["accuracy"]["top1"].value == found["accuracy"]["top5"].value == 0.0
    assert np.trace(confusion(tmp_path / "r")[1]) == 0


def test_what_cannot_be_asked_is_refused(zoo):
    model, samples = zoo
    opposite = {"cat": np.eye(12)[0], "not cat": -np.eye(12)[0]}
    model.vectors |= opposite
    for wrong, why in (
        (lambda: zero_shot(model, [], LABELS), "empty"),
        (lambda: zero_shot(model, samples, []), "no classes"),
        (lambda: zero_shot(model, samples, LABELS[:1]), "of 1 classes"),
        (lambda: zero_shot(model, samples, LABELS, templates=[]), "at least one"),
        (lambda: zero_shot(model, samples, LABELS, templates=["a photo"]), "exactly one"),
        (lambda: class_vectors(model, ["cat"], ["{}", "not {}"]), "cancel out"),
    ):
        with pytest.raises(TaskError, match=why):
            wrong()
