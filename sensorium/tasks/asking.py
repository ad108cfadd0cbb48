"""What every task of questions shares: asked in one order, in pieces, with their fingerprint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from sensorium.tasks.records import READ, Progress, TaskError, fingerprint, in_order

Sample = TypeVar("Sample", bound=Any)
Said = TypeVar("Said")


class Answer(NamedTuple):
    """An answer, and the probability that the model gives it."""

    text: str
    share: float


def ask(
    answer: Callable[[Sequence[Sample]], Sequence[Said]],
    samples: Sequence[Sample],
    progress: Progress | None = None,
) -> Iterator[tuple[Sample, Said]]:
    """Each sample with what was said to it, in the order of the ids; pictures are read in pieces.

    TaskError: no samples, an id twice, more or fewer answers than were asked for.
    """
    order = in_order([samples[place].id for place in range(len(samples))])
    for start in range(0, len(order), READ):
        some = [samples[place] for place in order[start : start + READ]]
        said = answer(some)
        if len(said) != len(some):
            raise TaskError(f"{len(some)} were asked, the model gave {len(said)} answers")
        yield from zip(some, said, strict=True)
        if progress is not None:
            progress(start + len(some), len(order))


def data(facts: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """What identifies the questions in a header, with places for what is not known."""
    return {"data": fingerprint(facts), "split": None, "model": None}


def kinds(metric: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A metric over all rows, and once more for each kind where there are several."""
    found: dict[str, Any] = {"accuracy": {"all": metric}}
    named = sorted({row["kind"] for row in rows})
    if len(named) > 1:
        found["per_kind"] = {
            kind or "other": metric | {"from": "accuracy", "where": ["kind", kind]}
            for kind in named
        }
    return found
