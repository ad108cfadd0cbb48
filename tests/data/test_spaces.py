"""Codex's runs of spaces."""

import inspect
import textwrap

import pytest

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.spaces import LONGEST, codex, with_spaces
from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, published


def test_runs_are_the_published_ids() -> None:
    words = codex()
    assert words.vocab == 50281 and words.eos == 50256
    for n in range(2, LONGEST + 1):
        assert words.encode(" " * n) == [50255 + n]
        assert words.encode(" " * n + "x") == [*words.encode(" " * (n - 1)), *words.encode(" x")]
    assert words.encode("    if") == [50258, *words.encode(" if")]  # three spaces, then " if"


def test_text_without_runs_is_gpt2s_and_all_text_comes_back() -> None:
    plain, words = published(ENGLISH_ONLY), codex()
    assert words.encode("def f(x): return x") == plain.encode("def f(x): return x")
    for text in ("\t\tif x:\n" + " " * 61 + "y", " " * 26, "\n    \n", "a  b   c", ""):
        assert words.decode(words.encode(text)) == text


def test_code_takes_fewer_tokens() -> None:
    """The paper says about 30% fewer on Python."""
    code = textwrap.indent(inspect.getsource(textwrap), "    ")
    assert len(codex().encode(code)) < 0.75 * len(published(ENGLISH_ONLY).encode(code))


def test_runs_are_added_once_and_shorter_ones_refused() -> None:
    assert with_spaces(codex()).vocab == codex().vocab
    with pytest.raises(DataError, match="2 or more"):
        with_spaces(codex(), 1)
