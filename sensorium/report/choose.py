"""Which queries a report shows, by a rule that is fixed before any result is known."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from sensorium.report.evidence import TO_IMAGE, TO_TEXT, drawn
from sensorium.tasks.records import Records
from sensorium.types import Captioned

NEAR = 10  # up to this rank a query that did not hit at once is a near miss
RULE = (
    "Queries are sorted into three groups by the rank of their right answer: first, 2 to 10, "
    "beyond 10; the percentages say how large the groups are. Each shows the queries whose names "
    "have the smallest SHA-256, so nobody picked them. Below a picture stands its cosine."
)


class Answer(NamedTuple):
    """A candidate that a query brought up."""

    picture: str  # the picture's id, or the id of the picture the text belongs to
    text: str  # the text, where the candidate is one
    cosine: float
    right: bool


class Query(NamedTuple):
    """A query, what it brought up, best first, and the rank of its right answer."""

    picture: str
    text: str
    rank: int
    best: float
    answers: list[Answer]


class Group(NamedTuple):
    """Queries of one kind of outcome, and the share of all queries that end so."""

    name: str
    share: float
    count: int
    shown: list[Query]


class Index:
    """The samples of an evaluation by id, and which texts belong to which pictures."""

    def __init__(self, samples: Sequence[Captioned]):
        self._samples = samples
        self.place: dict[str, int] = {}
        self.texts: dict[str, tuple[str, ...]] = {}
        self._same: dict[str, str] = {}  # id -> digest of the picture
        self._owned: dict[str, set[str]] = {}  # digest -> texts of all pictures of these bytes
        for place in range(len(samples)):
            one = samples[place]
            digest = hashlib.sha256(one.image).hexdigest()
            self.place[one.id], self._same[one.id] = place, digest
            self.texts[one.id] = tuple(dict.fromkeys(one.texts))
            self._owned.setdefault(digest, set()).update(one.texts)

    def image(self, name: str) -> bytes:
        """The undecoded picture of an id."""
        return self._samples[self.place[name]].image

    def owns(self, picture: str, text: str) -> bool:
        """Whether a text belongs to a picture (or to another one of the same bytes)."""
        return text in self._owned[self._same[picture]]

    def query(self, row: dict[str, Any], count: int) -> Query:
        """A record as a query with its first `count` answers."""
        picture = row["cluster"]
        if row["part"] == TO_IMAGE:
            text = row["text"]
            answers = [
                Answer(name, "", cosine, self.owns(name, text)) for name, cosine in row["top"]
            ]
        else:
            text, answers = self.texts[picture][0], []
            for name, cosine in row["top"]:
                owner, _, number = name.rpartition("#")
                said = self.texts[owner][int(number)]
                answers.append(Answer(owner, said, cosine, self.owns(picture, said)))
        return Query(picture, text, row["rank"], row["best"], answers[:count])


def groups(records: Records, part: str, index: Index, wanted: int, count: int) -> list[Group]:
    """About `wanted` queries of a part with their first `count` answers, by `RULE`."""
    rows = sorted((r for r in records.rows if r["part"] == part), key=lambda r: drawn(r["id"]))
    kinds = {
        "Found at once": [r for r in rows if r["rank"] == 1],
        f"Among the first {NEAR}": [r for r in rows if 1 < r["rank"] <= NEAR],
        f"Beyond the first {NEAR}": [r for r in rows if r["rank"] > NEAR],
    }
    takes = shares([len(members) for members in kinds.values()], wanted)
    return [
        Group(
            name,
            len(members) / len(rows),
            len(members),
            [index.query(row, count) for row in members[:take]],
        )
        for (name, members), take in zip(kinds.items(), takes, strict=True)
    ]


def shares(sizes: list[int], wanted: int) -> list[int]:
    """How many to take of each group: equally many, what one lacks is made up by the others."""
    takes = [0] * len(sizes)
    while sum(takes) < min(wanted, sum(sizes)):
        for place, size in enumerate(sizes):
            if takes[place] < size and sum(takes) < wanted:
                takes[place] += 1
    return takes


def sampled(index: Index, count: int) -> list[str]:
    """The ids of `count` pictures with different first texts: smallest SHA-256, in data order."""
    texts: set[str] = set()
    chosen: list[str] = []
    for name in sorted(index.place, key=drawn):
        if len(chosen) < count and index.texts[name][0] not in texts:
            texts.add(index.texts[name][0])
            chosen.append(name)
    return sorted(chosen, key=index.place.__getitem__)


__all__ = ["RULE", "TO_IMAGE", "TO_TEXT", "Answer", "Group", "Index", "Query", "groups", "sampled"]
