"""VQA accuracy by hand, and the other tasks that ask: statements, pairs, boxes, choices."""

import hashlib
from pathlib import Path

import pytest

from sensorium.data.questions import Choice, Question, Reference
from sensorium.tasks import vqa_words
from sensorium.tasks.answers import answers, entailment, nlvr2
from sensorium.tasks.asking import Answer
from sensorium.tasks.choices import both, choices
from sensorium.tasks.grounding import grounding, overlap
from sensorium.tasks.records import TaskError, read
from sensorium.tasks.scores import score
from sensorium.tasks.vqa import agreement, vqa
from sensorium.tasks.vqa_words import normal

# --- normalisation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("A cat", "cat"),  # articles go
        ("the Two dogs", "2 dogs"),  # number words up to ten
        ("none", "0"),
        ("eleven", "eleven"),
        ("isnt", "isn't"),  # contractions
        ("Isnt", "isn't"),
        ("let's", "let's"),
        ("somebody'd", "somebodyd"),  # as the table has it
        ("red/blue", "red blue"),  # a mark inside a word becomes a blank
        ("red / blue", "red blue"),  # beside a blank it goes
        ("t-shirt", "t shirt"),
        ("1,000", "1000"),  # a comma between digits, and with it every other mark
        ("1,000-mile", "1000mile"),
        ("1, 2", "1 2"),
        ("3.5", "3.5"),  # a full stop before a digit stays
        ("yes.", "yes"),
        ("U.S.", "us"),
        ("what?!", "what"),
        ("it's", "it's"),  # apostrophes are no marks
        ("  a  the  ", ""),
        ("", ""),
    ],
)
def test_answers_are_read_as_the_official_evaluation_reads_them(answer, wanted):
    assert normal(answer) == wanted


def test_the_original_counts_full_stops_by_a_flag():
    assert normal("x" + ".x" * 32 + ".") == "x" * 33 + "."  # the 33rd stays


def test_the_table_is_the_one_that_is_described():
    folder = Path(vqa_words.__file__).parent
    digest = hashlib.sha256((folder / "words.json").read_bytes()).hexdigest()
    assert digest in (folder / "SOURCE.md").read_text()
    assert len(vqa_words.CONTRACTIONS) == 120 and len(vqa_words.PUNCTUATION) == 21


# --- agreement ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("same", "wanted"),
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0)],
)
def test_agreement_with_ten_people(same: int, wanted: float):
    """Each who agrees is left out once: 3 agree -> 3 times 2/3 and 7 times 1."""
    others = [f"other {i}" for i in range(10 - same)]
    assert agreement("cat", ["cat"] * same + others) == pytest.approx(wanted)


def test_normalised_only_where_people_disagree():
    assert agreement("The Cat", ["cat"] * 10) == 0.0  # all the same: word for word
    assert agreement(" cat\n", ["cat"] * 10) == 1.0  # but for blanks around
    assert agreement("The Cat", ["cat"] * 9 + ["a cat"]) == 1.0
    assert agreement("2", ["two"] * 4 + ["Two."] * 2 + ["dog"] * 4) == 1.0


def question(i: int, said: tuple[str, ...], kind: str = "", cluster: str = "") -> Question:
    return Question((b"x",), f"question {i}?", said, f"{i:03d}", cluster or f"p{i // 2}", kind)


def told(table: dict[str, str]):
    def answer(some):
        return [Answer(table[one.id], 0.75) for one in some]

    return answer


def test_vqa_scores_by_kind_from_records(tmp_path: Path):
    people = ("red",) * 4 + ("blue",) * 6
    samples = [question(i, people, ["other", "color"][i % 2]) for i in range(8)]
    table = {one.id: ["red", "green", "blue", "red"][i % 4] for i, one in enumerate(samples)}
    found = vqa(told(table), samples[::-1], path=tmp_path / "r.gz")
    assert found["accuracy"]["all"].value == pytest.approx(6 / 8)
    assert found["per_kind"]["other"].value == 1.0
    assert found["per_kind"]["color"].value == 0.5
    assert score(tmp_path / "r.gz") == found
    row = read(tmp_path / "r.gz").rows[1]
    assert (row["said"], row["score"], row["cluster"]) == ("green", 0.0, "p0")
    with pytest.raises(TaskError, match="has 1 answers; agreement needs at least two"):
        vqa(told({"001": "x"}), [question(1, ("x",))])


# --- one truth ----------------------------------------------------------------------------------


def test_statements_cluster_by_sentence():
    samples = [question(i, ("true",), cluster=f"s{i // 10}") for i in range(200)]
    table = {one.id: "true" if i // 10 % 2 else "false" for i, one in enumerate(samples)}
    wide = answers(told(table), samples)["accuracy"]["all"]
    apart = [one._replace(cluster=one.id) for one in samples]
    narrow = answers(told(table), apart)["accuracy"]["all"]
    assert wide.value == narrow.value == 0.5 and wide.n == 200
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)  # 20 sentences, not 200
    with pytest.raises(TaskError, match="2 answers where one truth is needed"):
        answers(told({"001": "x"}), [question(1, ("x", "y"))])


def test_entailment_answers_are_classes():
    samples = [question(i, ("neutral",), "neutral") for i in range(4)]
    found = entailment(told({one.id: "neutral" for one in samples}), samples)
    assert found["accuracy"]["all"].value == 1.0
    with pytest.raises(TaskError, match="'maybe'"):
        entailment(told({one.id: "maybe" for one in samples}), samples)


def test_nlvr2_consistency_is_all_pairs_of_a_sentence(tmp_path: Path):
    samples = [question(i, ("true",), cluster=f"dev-{i // 4}--0") for i in range(16)]
    wrong = {"005", "009", "010"}  # in sentences 1 and 2 of 0 to 3
    table = {one.id: "false" if one.id in wrong else "true" for one in samples}
    found = nlvr2(told(table), samples, path=tmp_path / "r")
    assert found["accuracy"]["all"].value == 13 / 16
    assert (found["consistency"]["all"].value, found["consistency"]["all"].n) == (0.5, 4)
    assert score(tmp_path / "r") == found


# --- boxes and choices --------------------------------------------------------------------------


def test_overlap_by_hand():
    one = (0.0, 0.0, 10.0, 10.0)
    assert overlap(one, one, "x") == 1.0
    assert overlap(one, (5.0, 0.0, 15.0, 10.0), "x") == pytest.approx(50 / 150)
    assert overlap(one, (10.0, 0.0, 20.0, 10.0), "x") == 0.0
    with pytest.raises(TaskError, match="has no area"):
        overlap(one, (5.0, 5.0, 5.0, 9.0), "x")


def test_grounding_counts_boxes_that_overlap_by_half():
    boxes = ((0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 5.0), (0.0, 0.0, 10.0, 4.9))
    samples = [Reference(b"", "it", boxes, boxes[0], f"{i}", f"p{i}") for i in range(3)]
    found = grounding(lambda some: [boxes[int(one.id)] for one in some], samples)["grounding"]
    assert found["accuracy@0.5"].value == pytest.approx(2 / 3)  # 0.5 itself counts
    assert found["iou"].value == pytest.approx((1 + 0.5 + 0.49) / 3)


def test_choices_and_both_questions_right(tmp_path: Path):
    four = tuple((word,) for word in "abcd")
    samples = [Choice(b"", ("q",), four, i % 4, (), (), f"{i:02d}", f"p{i}") for i in range(8)]
    first = choices(lambda some: [0 for _ in some], samples, path=tmp_path / "a")
    assert first["choices"]["accuracy"].value == 0.25
    right = [one.label if int(one.id) < 4 else 3 - one.label for one in samples]
    choices(lambda some: right, samples, path=tmp_path / "r")
    joint = both(read(tmp_path / "a"), read(tmp_path / "r"))
    assert joint["choices"]["accuracy"].value == 1 / 8
    kept_back = [samples[0]._replace(label=-1)]
    with pytest.raises(TaskError, match="the truth is kept back"):
        choices(lambda some: [0], kept_back)


def test_answers_of_another_number_are_refused():
    with pytest.raises(TaskError, match="1 were asked, the model gave 0 answers"):
        answers(lambda some: [], [question(1, ("x",))])
