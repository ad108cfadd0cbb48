"""The tokenizer: StarCoder's special tokens, digits apart, texts come back as they were."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from sensorium.corpus.vocabulary import SPECIAL, save, train
from sensorium.data.errors import DataError

TEXTS = ["def f(x):\n    return x + 12345\n", "class A:\n\tpass\n", "ü € 漢字 <fim_prefix>"] * 3


def test_a_tokenizer(tmp_path: Path) -> None:
    save(train(TEXTS, 300), tmp_path / "tokenizer.json")
    made = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [made.token_to_id(token) for token in SPECIAL] == list(range(19))
    assert made.get_vocab_size() == 300
    for text in [*TEXTS, "\r\n \t x=1<|endoftext|>y\x00"]:
        assert made.decode(made.encode(text).ids, skip_special_tokens=False) == text
    assert [t for t in made.encode("a 2024").tokens if t.isdigit()] == ["2", "0", "2", "4"]
    assert made.encode("<fim_middle>").ids == [2]


def test_the_order_of_texts_does_not_matter() -> None:
    assert train(TEXTS, 300).to_str() == train(TEXTS[::-1], 300).to_str()


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(DataError, match="275 is the least"):
        train(TEXTS, 200)
    with pytest.raises(DataError, match="give only"):
        train(["ab"], 1000)
