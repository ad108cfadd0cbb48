"""Retrieval counts what its text says, whatever the order, the tile or the batch."""

from functools import partial

import numpy as np
import pytest

from sensorium.tasks.records import TaskError, read
from sensorium.tasks.retrieval import rank, retrieve
from sensorium.tasks.scores import score
from sensorium.types import Captioned


def units(g: np.random.Generator, *shape: int) -> np.ndarray:
    x = g.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def slow_rank(similarities: np.ndarray, correct: list[int]) -> int:
    """Walks the candidates from the best, wrong ones first where level."""
    order = sorted(range(len(similarities)), key=lambda c: (-similarities[c], c in correct))
    return 1 + next(place for place, candidate in enumerate(order) if candidate in correct)


@pytest.mark.parametrize("cells", [1, 50, 333, 1 << 22])
def test_rank_is_that_of_a_full_sort_for_any_tile(cells):
    g = np.random.default_rng(0)
    queries, candidates = units(g, 23, 8), units(g, 31, 8)
    candidates[20:] = candidates[5:16]  # ties
    queries[:10] = candidates[:10]
    correct = [sorted(g.choice(31, g.integers(1, 4), replace=False).tolist()) for _ in queries]
    fine = np.rint(candidates.astype(np.float64) * 2**26), np.rint(queries.astype(float) * 2**26)
    found = rank(queries, candidates, correct, kept=6, cells=cells)
    for one, query, own in zip(found, fine[1], correct, strict=True):
        # Python's integers: no rounding at all
        exact = [sum(int(a) * int(b) for a, b in zip(query, c, strict=True)) for c in fine[0]]
        assert one.rank == slow_rank(np.array(exact, dtype=object), own)
        assert one.rank - one.ties == 1 + sum(s > max(exact[c] for c in own) for s in exact)
        order = sorted(range(31), key=lambda c: (-exact[c], c))[:6]
        assert one.top == [(c, exact[c] / 2**52) for c in order]
        assert (one.correct, one.best) == (len(own), max(exact[c] for c in own) / 2**52)


def test_cosines_are_within_a_rounding_of_float64():
    g = np.random.default_rng(1)
    queries, candidates = units(g, 50, 512), units(g, 60, 512)
    found = rank(queries, candidates, [[i] for i in range(50)])
    plain = (queries.astype(np.float64) * candidates[:50]).sum(1)
    assert np.abs(np.array([one.best for one in found]) - plain).max() < 1e-7


def test_both_directions_against_loops(world):
    model, samples = world(pictures=30, captions=3)
    found = retrieve(model, samples)
    images = {s.id: model.embed(images=[s.image])[0] for s in samples}
    texts = {(s.id, t): model.embed(texts=[t])[0] for s in samples for t in s.texts}
    to_image = [
        slow_rank(np.array([texts[s.id, t] @ images[o.id] for o in samples]), [place])
        for place, s in enumerate(samples)
        for t in s.texts
    ]
    owners = [place for place, s in enumerate(samples) for _ in s.texts]
    to_text = [
        slow_rank(
            np.array([images[s.id] @ v for v in texts.values()]),
            [c for c, owner in enumerate(owners) if owner == place],
        )
        for place, s in enumerate(samples)
    ]
    for part, ranks in (("text_to_image", to_image), ("image_to_text", to_text)):
        for k in (1, 5, 10):
            assert found[part][f"R@{k}"].value == np.mean(np.array(ranks) <= k)
        assert found[part]["median_rank"].value == np.median(ranks)
        assert found[part]["R@1"].n == len(ranks)
    assert 0.1 < found["text_to_image"]["R@1"].value < 0.9  # the case is not trivial


def test_any_caption_of_the_picture_is_a_hit(table):
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    model = table({b"A": a, b"B": b, "near A": a, "far from A": -a, "near B": b, "off": -b})
    samples = [
        Captioned(b"A", ("far from A", "near A"), "a"),
        Captioned(b"B", ("off", "near B"), "b"),
    ]
    found = retrieve(model, samples, ks=(1,))
    assert found["image_to_text"]["R@1"][::3] == (1.0, 2)
    # "far from A" and "off" miss, each as one query of four
    assert found["text_to_image"]["R@1"][::3] == (0.5, 4)
    first = retrieve(model, samples, captions="first", ks=(1,))
    assert first["text_to_image"]["R@1"][::3] == (0.0, 2)


def test_order_and_batch_change_neither_scores_nor_the_file(world, tmp_path):
    model, samples = world(noise=1.5)
    plain = retrieve(model, samples, queries=range(10), path=tmp_path / "a")
    shuffle = np.random.default_rng(5).permutation(len(samples))
    places = [i for i, was in enumerate(shuffle) if was < 10]
    model.batch = 1
    moved = [samples[i] for i in shuffle]
    again = retrieve(model, moved, queries=places[::-1], path=tmp_path / "b")
    assert again == plain
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_how_the_work_is_cut_changes_neither_scores_nor_the_file(world, tmp_path, monkeypatch):
    model, samples = world(pictures=60, noise=2.0)
    plain = retrieve(model, samples, path=tmp_path / "a")
    for read_size, cells in ((1, 16), (7, 100), (1000, 16 * 41)):
        monkeypatch.setattr("sensorium.tasks.records.READ", read_size)
        monkeypatch.setattr("sensorium.tasks.retrieval.rank", partial(rank, cells=cells))
        assert retrieve(model, samples, path=tmp_path / "b") == plain
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_scores_are_recomputed_from_the_records(world, tmp_path, name):
    model, samples = world()
    about = {"split": "test", "model": "sha256 of it"}
    found = retrieve(model, samples, path=tmp_path / name, about=about)
    assert score(tmp_path / name) == found
    kept = read(tmp_path / name)
    assert (kept.header["split"], kept.header["model"]) == ("test", "sha256 of it")
    assert kept.header["candidates"] == {"text_to_image": 40, "image_to_text": 120}
    assert kept.header["captions_per_picture"] == {"least": 3, "most": 3, "all": 120}
    row = kept.rows[-1]
    assert row["part"] == "text_to_image" and row["text"].startswith("caption")
    assert len(row["top"]) == 10
    if row["rank"] <= 10:
        assert row["top"][row["rank"] - 1] == [row["cluster"], row["best"]]


def test_the_fingerprint_is_of_the_data_and_not_of_its_order(world, tmp_path):
    model, samples = world()

    def data(samples, **more):
        retrieve(model, samples, path=tmp_path / "r", **more)
        return read(tmp_path / "r").header["data"]

    whole = data(samples)
    assert data(samples[::-1]) == whole
    assert data(samples[1:]) != whole
    assert data(samples, captions="first") != whole
    assert data([samples[0]._replace(image=samples[1].image), *samples[1:]]) != whole


def test_an_embedding_that_says_nothing_scores_nothing(world):
    """Every candidate ties, and a tie counts against the model."""
    model, samples = world(pictures=20, captions=2)
    same = np.ones(16) / 4
    model.vectors = dict.fromkeys(model.vectors, same)
    found = retrieve(model, samples)
    for part, wrong in (("text_to_image", 19), ("image_to_text", 38)):
        assert found[part]["R@10"].value == 0.0
        assert found[part]["median_rank"].value == wrong + 1


def test_ties_are_told_in_the_record(world, tmp_path):
    model, samples = world(pictures=3, captions=1)
    model.vectors = dict.fromkeys(model.vectors, np.ones(16) / 4)
    retrieve(model, samples, path=tmp_path / "r")
    assert {(row["rank"], row["ties"]) for row in read(tmp_path / "r").rows} == {(3, 2)}


def test_a_text_that_several_pictures_carry_belongs_to_each(table):
    x, y = np.array([1.0, 0.0]), np.array([0.8, 0.6])
    model = table({b"1": x, b"2": y, b"3": -x, "cat": x, "dog": -x})
    samples = [
        Captioned(b"1", ("cat",), "1"),
        Captioned(b"2", ("cat",), "2"),
        Captioned(b"3", ("dog",), "3"),
    ]
    found = retrieve(model, samples, ks=(1,))
    # the query "cat" of picture 2 finds picture 1 first: that is a cat too
    assert found["text_to_image"]["R@1"].value == 1.0
    assert found["image_to_text"]["R@1"].value == 1.0


def test_equal_pictures_are_one_picture(table):
    x, y = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    model = table({b"same": x, b"other": y, "one": x, "two": x, "three": y})
    samples = [
        Captioned(b"same", ("one",), "1"),
        Captioned(b"same", ("two",), "2"),
        Captioned(b"other", ("three",), "3"),
    ]
    found = retrieve(model, samples, ks=(1,))
    assert found["text_to_image"]["R@1"].value == found["image_to_text"]["R@1"].value == 1.0


def test_queries_are_a_part_and_candidates_are_all(world, tmp_path):
    model, samples = world(pictures=50, captions=1, noise=2.5)
    retrieve(model, samples, path=tmp_path / "all")
    found = retrieve(model, samples, queries=[3, 4, 5, 3], path=tmp_path / "some")
    asked = {samples[i].id for i in (3, 4, 5)}
    whole = [row for row in read(tmp_path / "all").rows if row["cluster"] in asked]
    assert read(tmp_path / "some").rows == whole
    assert found["text_to_image"]["R@1"].n == 3
    assert read(tmp_path / "some").header["candidates"]["text_to_image"] == 50


def test_k_beyond_the_candidates_is_one_by_definition(world):
    model, samples = world(pictures=4, captions=1, noise=9.0)
    found = retrieve(model, samples, ks=(1, 4, 10))
    assert found["text_to_image"]["R@4"].value == found["text_to_image"]["R@10"].value == 1.0
    assert retrieve(model, samples[:1])["text_to_image"]["R@1"].value == 1.0


def test_captions_of_one_picture_widen_the_interval(world):
    """A model that is right or wrong about a picture whatever the caption."""
    model, samples = world(pictures=100, captions=5, noise=0.0)
    wrong = {f"picture {i}".encode(): model.vectors[f"picture {i + 1}".encode()] for i in range(30)}
    model.vectors = model.vectors | wrong
    found = retrieve(model, samples)
    five, one = found["text_to_image"]["R@1"], found["image_to_text"]["R@1"]
    assert (five.n, one.n) == (500, 100)
    assert five.high - five.low > 0.9 * (one.high - one.low)


def test_a_nan_is_refused(world, tmp_path):
    model, samples = world()
    model.vectors[samples[7].texts[0]] = np.full(16, np.nan)
    with pytest.raises(TaskError, match="NaN"):
        retrieve(model, samples, path=tmp_path / "r")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_asked_is_refused(world):
    model, samples = world()
    bare = samples[2]._replace(texts=())
    for wrong, why in (
        (lambda: retrieve(model, []), "empty"),
        (lambda: retrieve(model, samples, queries=[]), "no queries"),
        (lambda: retrieve(model, samples, queries=[40]), "40 is no place"),
        (lambda: retrieve(model, samples, queries=[-1]), "-1 is no place"),
        (lambda: retrieve(model, samples, ks=(0, 1)), "at least 1"),
        (lambda: retrieve(model, samples, ks=()), "at least one k"),
        (lambda: retrieve(model, [*samples[:2], bare]), bare.id),
        (lambda: retrieve(model, [*samples, samples[0]]), "share the id"),
    ):
        with pytest.raises(TaskError, match=why):
            wrong()


def test_progress_counts_every_picture_and_text_once(world):
    model, samples = world(pictures=300, captions=2)
    told = []
    retrieve(model, samples, progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 900), (300, 900), (556, 900), (812, 900), (900, 900)]
