"""Which queries are shown: by a rule, and marked as the records mark them."""

import pytest

from sensorium.report.choose import Index, groups, sampled, shares
from sensorium.report.evidence import TO_IMAGE, TO_TEXT, drawn
from sensorium.types import Captioned
from tests.report.conftest import Make, picture, samples


def test_groups_are_of_all_queries_and_shown_by_the_hash_of_their_names(made: Make) -> None:
    given = samples(40)
    kept = made(given).records["all"]
    found = groups(kept, TO_IMAGE, Index(given), 12, 8)
    assert sum(g.share for g in found) == pytest.approx(1) and sum(g.count for g in found) == 40
    assert sum(len(g.shown) for g in found) == 12
    rows = [row for row in kept.rows if row["part"] == TO_IMAGE]
    for group, (least, most) in zip(found, ((1, 1), (2, 10), (11, 40)), strict=True):
        inside = [row["id"] for row in rows if least <= row["rank"] <= most]
        assert len(inside) == group.count
        first = sorted(inside, key=drawn)[: len(group.shown)]
        assert [query.picture for query in group.shown] == [name.split("#")[0] for name in first]


@pytest.mark.parametrize("part", [TO_IMAGE, TO_TEXT])
def test_the_first_right_answer_stands_at_the_rank_of_the_record(made: Make, part: str) -> None:
    given = samples(15)
    given += [Captioned(given[0].image, ("another text of the first",), "set/twin.png")]
    given += [Captioned(picture(77), (given[1].texts[0],), "set/same-text.png")]
    for group in groups(made(given).records["all"], part, Index(given), 99, 10):
        for query in group.shown:
            right = [place for place, answer in enumerate(query.answers, 1) if answer.right]
            assert (right[0] == query.rank) if query.rank <= 10 else not right


def test_what_a_group_lacks_the_others_make_up_for() -> None:
    assert shares([50, 50, 50], 12) == [4, 4, 4]
    assert shares([1, 50, 0], 12) == [1, 11, 0]
    assert shares([1, 2, 0], 12) == [1, 2, 0]
    assert shares([0, 0, 0], 12) == [0, 0, 0]


def test_the_map_shows_different_texts_in_the_order_of_the_data() -> None:
    given = [*samples(9), Captioned(picture(50), ("colour number 0",), "set/again.png")]
    names = sampled(Index(given), 24)
    assert len(names) == 9 and names == [s.id for s in given if s.id in names]
    assert len(sampled(Index(given), 4)) == 4
