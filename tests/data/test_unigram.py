"""T5's kind of tokenizer: the ids of `tokenizers`, the likeliest cut, and never a special."""

import json
import pickle
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.language import language
from sensorium.data.tokenizers.unigram import SPACE, Unigram
from sensorium.models.word_files import ABOUT, TOKENIZER, Found, hf
from tests.data.training import texts

rust = pytest.importorskip("tokenizers")
SPECIALS = ("<pad>", "</s>", "<unk>")
EXTRA = ("<extra_id_0>", "<extra_id_1>")


@cache
def published() -> str:
    """A tokenizer.json as T5's, learnt from a few texts."""
    made = rust.Tokenizer(rust.models.Unigram())
    squeezed = rust.normalizers.Replace(rust.Regex(" {2,}"), " ")
    made.normalizer = rust.normalizers.Sequence([rust.normalizers.NFKC(), squeezed])
    made.pre_tokenizer = rust.pre_tokenizers.Metaspace()
    trainer = rust.trainers.UnigramTrainer(
        vocab_size=400, special_tokens=list(SPECIALS), unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(texts(), trainer)
    made.add_special_tokens([*SPECIALS, *EXTRA])
    return made.to_str()


@cache
def both() -> tuple:
    values = Found({TOKENIZER: json.loads(published()), ABOUT: {"eos_token": "</s>"}})
    ours = hf(values)
    assert isinstance(ours, Unigram)
    return rust.Tokenizer.from_str(published()), ours


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_any_text_has_the_ids_of_tokenizers(text: str) -> None:
    theirs, ours = both()
    if not any(name in text for name in (*SPECIALS, *EXTRA)):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids


def test_a_text_never_becomes_a_special_token() -> None:
    _, ours = both()
    assert set(ours.specials) == {*SPECIALS, *EXTRA}
    for name in (*SPECIALS, *EXTRA):
        ids = ours.encode(f"the {name} cat \0{name}")
        assert not {i for n, i in ours.specials.items() if n != "<unk>"} & set(ids)
    assert ours.eos == ours.specials["</s>"] and ours.bos is None


def test_the_cut_is_the_likeliest_one() -> None:
    _, ours = both()
    score = dict(zip(ours.names, ours.table.scores, strict=True))

    def best(word: str) -> float:
        if not word:
            return 0.0
        cuts = [
            score[word[:n]] + best(word[n:]) for n in range(1, len(word) + 1) if word[:n] in score
        ]
        return max(cuts, default=float("-inf"))

    for word in ("the", "picture", "walked", "cat"):
        ids = ours.encode(word)
        assert sum(ours.table.scores[i] for i in ids) == pytest.approx(best(SPACE + word), abs=1e-4)
        assert ours.decode(ids) == word


def test_it_is_kept_and_read_again_and_damage_is_named() -> None:
    _, ours = both()
    again = language(ours.spec(), ours.data())
    assert again.encode("the  quick ﬁx") == ours.encode("the  quick ﬁx")
    assert pickle.loads(pickle.dumps(ours)).encode("a b") == ours.encode("a b")
    for part, why in (
        ({"type": "Lowercase"}, "not known here"),
        ({"type": "Sequence", "normalizers": ["NFKC"]}, "not known here"),
        ({"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}, "not known here"),
        ({"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "cut off"),
        ({"type": "Precompiled", "precompiled_charsmap": 3}, "damaged"),
    ):
        with pytest.raises(DataError, match=why):
            Unigram(ours.table._replace(prepare=part))
    with pytest.raises(DataError, match="not known here"):
        Unigram(ours.table._replace(cut={"type": "Sequence", "pretokenizers": [3]}))
    whole = json.loads(published())
    whole["model"]["unk_id"] = None
    with pytest.raises(DataError, match="unknown"):
        hf(Found({TOKENIZER: whole}))
