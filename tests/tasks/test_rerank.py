"""Retrieval ranked anew by pairs, against loops over all pairs."""

import numpy as np
import pytest

from sensorium.tasks.records import TaskError, read
from sensorium.tasks.rerank import rerank
from sensorium.tasks.retrieval import retrieve
from sensorium.tasks.scores import score


class Pairs:
    """Scores by a table of cosines between other vectors; counts what it is asked."""

    def __init__(self, model, seed: int = 7):
        g = np.random.default_rng(seed)
        self.vectors = {k: v + 0.3 * g.normal(size=v.shape) for k, v in model.vectors.items()}
        self.asked = 0

    def __call__(self, images, texts):
        self.asked += len(images)
        pairs = zip(images, texts, strict=True)
        return np.array([self.vectors[i] @ self.vectors[t] for i, t in pairs])


def test_all_pairs_against_loops(world, tmp_path):
    model, samples = world(pictures=12, captions=2)
    match = Pairs(model)
    found = rerank(match, samples, path=tmp_path / "r.gz")
    assert match.asked == 2 * 12 * 24 and score(tmp_path / "r.gz") == found
    hits = {"text_to_image": [], "image_to_text": []}
    texts = [(i, text) for i, one in enumerate(samples) for text in one.texts]
    table = np.array([[match([s.image], [t])[0] for _, t in texts] for s in samples])
    for j, (i, _) in enumerate(texts):
        hits["text_to_image"].append((table[:, j] > table[i, j]).sum() < 1)
    for i in range(12):
        best = max(table[i, j] for j, (own, _) in enumerate(texts) if own == i)
        wrong = [table[i, j] for j, (own, _) in enumerate(texts) if own != i]
        hits["image_to_text"].append(sum(w > best for w in wrong) < 1)
    for part, marks in hits.items():
        assert found[part]["R@1"].value == np.mean(marks)


def test_only_the_first_choice_is_read(world, tmp_path):
    model, samples = world(pictures=30, captions=1, noise=2.0)
    match = Pairs(model)
    rerank(match, samples, first=model, k=5, path=tmp_path / "r")
    assert match.asked == 5 * 60
    retrieve(model, samples, path=tmp_path / "plain")
    plain = {(r["part"], r["id"]): r for r in read(tmp_path / "plain").rows}
    moved = 0
    for row in read(tmp_path / "r").rows:
        same = (row["part"], row["id"].split("#")[0])
        before = plain.get((row["part"], row["id"])) or plain[same[0], f"{same[1]}#0"]
        if before["rank"] > 5:  # it was not read: it stays where the towers put it
            assert row["rank"] == before["rank"]
        else:
            assert row["rank"] <= 5
            moved += row["rank"] != before["rank"]
    assert moved > 3


def test_reading_what_the_towers_say_changes_nothing(world):
    model, samples = world(pictures=20, captions=3)

    def cosine(images, texts):
        pairs = zip(images, texts, strict=True)
        return np.array([model.vectors[i] @ model.vectors[t] for i, t in pairs])

    assert rerank(cosine, samples, first=model, k=7) == retrieve(model, samples)


def test_ties_count_against_the_model_and_nan_is_refused(world):
    model, samples = world(pictures=12, captions=1)
    flat = rerank(lambda images, texts: np.zeros(len(images)), samples)
    assert flat["text_to_image"]["R@10"].value == 0
    with pytest.raises(TaskError, match="or NaN"):
        rerank(lambda images, texts: np.full(len(images), np.nan), samples)
    with pytest.raises(TaskError, match="k=0"):
        rerank(lambda images, texts: np.zeros(len(images)), samples, first=model, k=0)
