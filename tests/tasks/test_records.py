"""A records file is whole and unedited, or it is refused."""

import gzip
import json

import numpy as np
import pytest

from sensorium.tasks.records import TaskError, embed_images, in_order, read, records, write


@pytest.fixture
def kept():
    rows = [
        {"part": "all", "id": f"q{i}", "cluster": f"q{i}", "rank": i + 1, "text": "né ✂\n"}
        for i in range(5)
    ]
    metric = {"of": "rank", "at_most": 2, "summary": "mean"}
    return records("toy", {"all": {"R@2": metric}}, {"split": "test"}, rows[::-1])


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_is_written_is_read_and_the_same_records_give_the_same_bytes(tmp_path, kept, name):
    write(tmp_path / name, kept)
    assert read(tmp_path / name) == kept
    before = (tmp_path / name).read_bytes()
    write(tmp_path / name, kept)
    assert (tmp_path / name).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_header_names_what_was_asked(kept):
    header = kept.header
    assert (header["task"], header["split"], header["count"]) == ("toy", "test", 5)
    assert [row["id"] for row in kept.rows] == ["q0", "q1", "q2", "q3", "q4"]
    with pytest.raises(TaskError, match="count"):
        records("toy", {}, {"count": 3}, [])


def test_every_truncation_is_refused(tmp_path, kept):
    path = tmp_path / "a.jsonl"
    write(path, kept)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(TaskError, match=r"a\.jsonl"):
            read(path)


def test_every_truncation_of_a_compressed_file_is_refused(tmp_path, kept):
    path = tmp_path / "a.jsonl.gz"
    write(path, kept)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(TaskError):
            read(path)


def test_every_changed_byte_is_refused(tmp_path, kept):
    path = tmp_path / "a.jsonl"
    write(path, kept)
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(TaskError):
            read(path)


def test_a_forged_hash_does_not_make_up_for_a_missing_record(tmp_path, kept):
    path = tmp_path / "a.jsonl"
    write(path, kept._replace(rows=kept.rows[1:]))
    with pytest.raises(TaskError, match="counts 5 records and it holds 4"):
        read(path)


@pytest.mark.parametrize("text", ["", "\n", "[]\n", "{}\n", "[" * 100_000 + "\n", '{"a": NaN}\n'])
def test_what_is_no_records_file_is_refused(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(TaskError):
        read(tmp_path / "a.jsonl")


def test_another_version_is_refused_with_its_number(tmp_path, kept):
    write(tmp_path / "a.jsonl", kept._replace(header=kept.header | {"version": 99}))
    with pytest.raises(TaskError, match="99"):
        read(tmp_path / "a.jsonl")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, kept):
    path = tmp_path / "a.jsonl"
    write(path, kept)
    with pytest.raises(TaskError, match="line 2"):
        write(path, kept._replace(rows=[{**kept.rows[0], "rank": float("nan")}]))
    with pytest.raises(TaskError):
        write(path, kept._replace(rows=[{**kept.rows[0], "rank": np.zeros(2)}]))
    assert read(path) == kept
    assert list(tmp_path.iterdir()) == [path]


def test_names_that_are_no_utf8_survive(tmp_path, kept):
    odd = kept._replace(rows=[row | {"id": f"\udc80{row['id']}"} for row in kept.rows])
    write(tmp_path / "a.jsonl", odd)
    assert read(tmp_path / "a.jsonl") == odd


def test_a_bomb_is_refused(tmp_path, kept, monkeypatch):
    monkeypatch.setattr("sensorium.tasks.records.BUDGET", 1000)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"x": "0" * 10**6}).encode() + b"\n"))
    with pytest.raises(TaskError, match="1000 bytes"):
        read(path)


def test_ids_order_the_questions_and_must_differ():
    assert in_order(["b", "c", "a"]) == [2, 0, 1]
    with pytest.raises(TaskError, match="samples 0 and 2 share the id 'x'"):
        in_order(["x", "a", "x"])
    with pytest.raises(TaskError, match="empty"):
        in_order([])


@pytest.mark.parametrize(
    ("vector", "why"),
    [([np.nan, 1.0], "NaN"), ([np.inf, 0.0], "infinity"), ([0.0, 0.0], "unit"), ([2, 0], "unit")],
)
def test_embeddings_that_are_no_directions_are_refused(table, vector, why):
    model = table({b"good": np.array([1.0, 0.0]), b"bad": np.array(vector)})
    with pytest.raises(TaskError, match=why):
        embed_images(model, [b"good", b"bad"].__getitem__, 2)


def test_a_model_that_answers_for_fewer_is_refused(table):
    model = table({b"good": np.array([1.0, 0.0])})
    model.embed = lambda images=None, texts=None: np.ones((1, 2), np.float32)
    with pytest.raises(TaskError, match="2 were asked"):
        embed_images(model, [b"good", b"good"].__getitem__, 2)
