"""The one error of this package, and the short report that its texts are made of."""

from collections.abc import Iterable, Mapping

SHOWN = 5


class WeightsError(ValueError):
    """Weights are not what they must be; the text says what, where and what to do."""


def some(items: Iterable[str], shown: int = SHOWN) -> str:
    """The first few of a list in words, with the count of the rest: `a, b and 3 more`."""
    names = list(items)
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def report(where: str, findings: Mapping[str, list[str]], advice: str) -> WeightsError:
    """One error out of several lists of findings: a line for each kind, the first few of each.

    `findings` maps what is wrong ("missing") to what it is wrong of; empty lists are left out.
    """
    lines = [
        f"  {len(items)} {kind}: {some(items)}"
        for kind, items in findings.items()
        if len(items) > 0
    ]
    return WeightsError("\n".join([f"{where}:", *lines, f"  {advice}"]))
