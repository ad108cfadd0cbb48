"""Pipelines as published: Codex, The Stack v1.2, StarCoderData; and this library's own.

Their orders and thresholds are those of Chen et al., 2021 (section 3.1), Kocetkov et al., 2022,
and Li et al., 2023 (section 3). What was never published is marked where it is set.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sensorium.corpus import filters
from sensorium.corpus.document import Across, Stage
from sensorium.corpus.exact import exact
from sensorium.corpus.languages import LANGUAGES, tell
from sensorium.corpus.leaks import leaked
from sensorium.corpus.minhash import Settings
from sensorium.corpus.near import near
from sensorium.corpus.pii import redact
from sensorium.data.errors import DataError

PYTHON = ("Python",)
LINES = {"longest": 1000, "mean": 100}


class Wanted(NamedTuple):
    """What a run may be given beside its preset.

    Attributes:
        out: owners, or owner/name, who asked to be left out, in lower case.
        benchmarks: the folder of HumanEval's and MBPP's files; None: no decontamination.
        only: the languages to keep; empty: all of the preset's.
        any_licence: keep files whatever their licence.
        personal: keep personal data.
        settings: of near de-duplication.
    """

    out: frozenset[str] = frozenset()
    benchmarks: Path | None = None
    only: tuple[str, ...] = ()
    any_licence: bool = False
    personal: bool = False
    settings: Settings = Settings()


Stages = Sequence[Stage | Across]


def language(only: tuple[str, ...]) -> Stage:
    """Tells the language, and keeps those of `only`."""
    unknown = sorted(set(only) - set(LANGUAGES))
    if unknown:
        raise DataError(
            f"no language of The Stack's is called {', '.join(unknown)}; they are "
            + ", ".join(LANGUAGES)
        )
    return Stage("language", partial(tell, only=only), {"only": sorted(only)})


def codex(wanted: Wanted) -> Stages:
    """Codex's Python: unique files below 1 MB, not generated, of short lines, of some letters.

    The paper gives no threshold for letters and digits, and no rule for generated files: a quarter
    and CodeParrot's three marks are used. It filters neither licences nor near duplicates.
    """
    return [
        language(wanted.only or PYTHON),
        *_owners(wanted),
        Stage("size", partial(filters.size, most=1_000_000), {"most": 1_000_000}),
        exact(),
        Stage("generated", partial(filters.generated, wide=False), {"wide": False}),
        Stage(
            "lines", partial(filters.lines, longest=1000, mean=100), {"longest": 1000, "mean": 100}
        ),
        Stage("letters", partial(filters.letters, least=0.25), {"least": 0.25}),
        *_leaks(wanted),
    ]


def the_stack(wanted: Wanted) -> Stages:
    """The Stack v1.2, de-duplicated: languages, licences, exact copies, opt-out, near copies."""
    return [
        language(wanted.only or LANGUAGES),
        *_licences(wanted),
        exact(),
        *_owners(wanted),
        near(wanted.settings),
        *_leaks(wanted),
    ]


def starcoder(wanted: Wanted) -> Stages:
    """StarCoderData: The Stack, then filters by extension, of XML, data and HTML, PII, leaks.

    JSON and YAML are kept from 50 to 5,000 characters, as the paper has it; the published code's
    default begins at 100. HTML comes last of the filters, since parsing it costs most.
    """
    return [
        language(wanted.only or LANGUAGES),
        *_licences(wanted),
        exact(),
        *_owners(wanted),
        near(wanted.settings),
        *_inspected(),
        *_personal(wanted),
        *_leaks(wanted),
    ]


def sensorium(wanted: Wanted) -> Stages:
    """StarCoderData, without generated files, and with the cheap filters before near duplicates."""
    return [
        language(wanted.only or LANGUAGES),
        *_licences(wanted),
        *_owners(wanted),
        exact(),
        Stage("generated", partial(filters.generated, wide=True), {"wide": True}),
        *_inspected(),
        near(wanted.settings),
        *_personal(wanted),
        *_leaks(wanted),
    ]


PRESETS: dict[str, Callable[[Wanted], Stages]] = {
    "codex": codex,
    "the-stack": the_stack,
    "starcoder": starcoder,
    "sensorium": sensorium,
}


def _licences(wanted: Wanted) -> Stages:
    return [] if wanted.any_licence else [Stage("licence", filters.licence, {})]


def _owners(wanted: Wanted) -> Stages:
    keep = partial(filters.opted_out, out=wanted.out)
    return [Stage("opt-out", keep, {"out": sorted(wanted.out)})] if wanted.out else []


def _inspected() -> Stages:
    sizes = {"least": 50, "most": 5000}
    page = {"share": 0.2, "least": 100}
    return [
        Stage("limits", filters.inspected, {}),
        Stage("XML", filters.xml, {}),
        Stage("data size", partial(filters.data_size, **sizes), sizes),
        Stage("HTML", partial(filters.html, share=0.2, least=100), page),
    ]


def _leaks(wanted: Wanted) -> Stages:
    if wanted.benchmarks is None:
        return []
    keep = partial(leaked, folder=wanted.benchmarks)
    return [Stage("benchmarks", keep, {"folder": str(wanted.benchmarks)})]


def _personal(wanted: Wanted) -> Stages:
    return [] if wanted.personal else [Stage("personal data", redact, {})]
