"""The tokenizers of language models: the ids of `tokenizers`, for any text, and never a special."""

import json
import pickle
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import byte_level, pieces
from sensorium.data.tokenizers.bpe import BYTES
from sensorium.data.tokenizers.byte_level import COMPOSED, LLAMA3, SPLITS, ByteLevel
from sensorium.data.tokenizers.language import language
from sensorium.data.tokenizers.pieces import SentencePieces
from tests.data.training import texts

rust = pytest.importorskip("tokenizers")
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ANY = st.text(st.characters(codec="utf-8"), max_size=60)
MIXED = st.lists(
    st.sampled_from([*"aAzé9１٣ \n\t\r'’sß中😀.,!-<|>", "  ", "'ll", "the"]), max_size=30
)


def cutter(split: str):
    """How `tokenizers` cuts texts for a split of ours."""
    pre = rust.pre_tokenizers
    if split in ("gpt2", "gpt2-nfc"):
        return pre.ByteLevel(add_prefix_space=False)
    if split == "digits":
        return pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(False)])
    cut = pre.Split(rust.Regex(LLAMA3), "isolated")
    return pre.Sequence([cut, pre.ByteLevel(False, use_regex=False)])


def learnt(split: str):
    """A small vocabulary, learnt by `tokenizers`, as theirs and as ours."""
    made = rust.Tokenizer(rust.models.BPE())
    made.pre_tokenizer = cutter(split)
    if split in COMPOSED:
        made.normalizer = rust.normalizers.NFC()
    trainer = rust.trainers.BpeTrainer(
        vocab_size=700, special_tokens=[], initial_alphabet=list(BYTES), show_progress=False
    )
    made.train_from_iterator(texts(), trainer)
    model = json.loads(made.to_str())["model"]
    names = [*sorted(model["vocab"], key=model["vocab"].get), *SPECIALS]
    merges = [" ".join(pair) for pair in model["merges"]]
    specials = {name: len(names) - 3 + i for i, name in enumerate(SPECIALS)}
    return made, ByteLevel(byte_level.Table(names, merges, split, specials, eos=len(names) - 1))


PAIRS = {split: learnt(split) for split in SPLITS}


@pytest.mark.parametrize("split", sorted(SPLITS.keys() - COMPOSED))
@settings(max_examples=150, deadline=None)
@given(text=ANY | MIXED.map("".join))
def test_any_text_has_the_ids_of_tokenizers(split: str, text: str) -> None:
    theirs, ours = PAIRS[split]
    ids = ours.encode(text)
    assert ids == theirs.encode(text, add_special_tokens=False).ids
    assert ours.decode(ids) == text


def test_letters_are_composed_where_the_tokenizer_composes_them() -> None:
    """In other tokenizers the same texts stay as they are typed."""
    theirs, ours = PAIRS["gpt2-nfc"]
    for text in (
        "cafe\u0301",
        "\u212b \u2126",
        "\u1112\u1161\u11ab",
        "q\u0307\u0323",
        "plain, 中文 😀",
    ):
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False).ids
        assert ours.decode(ids) == unicodedata.normalize("NFC", text)
        assert PAIRS["gpt2"][1].decode(PAIRS["gpt2"][1].encode(text)) == text


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_typed_never_becomes_a_special_token(split: str) -> None:
    ours = PAIRS[split][1]
    text = "hi" + "".join(SPECIALS) + " there <s></s><image>"
    ids = ours.encode(text)
    assert not set(ids) & set(ours.specials.values()) and ours.decode(ids) == text
    assert ours.decode([*ids, ours.specials["<|im_end|>"]]) == text


def sentence() -> SentencePieces:
    words = ["▁the", "▁th", "he", "▁t", "▁a", "at", "▁cat", "ca", "▁c"]
    letters = [*"▁abcdefghijklmnopqrstuvwxyz."]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *words, *letters]
    scores = [0.0] * 259 + [-float(i) for i in range(len(words) + len(letters))]
    specials = {"<unk>": 0, "<s>": 1, "</s>": 2}
    return SentencePieces(pieces.Table(names, scores, specials, 1, 2, None))


@settings(max_examples=100, deadline=None)
@given(text=ANY | MIXED.map("".join))
def test_pieces_spell_any_text_and_read_it_back(text: str) -> None:
    ours = sentence()
    ids = ours.encode(text)
    assert ours.decode(ids) == text.replace("▁", " ")
    assert not set(ids) & {0, 1, 2}


def test_pieces_are_joined_by_score_as_sentencepiece_does() -> None:
    ours = sentence()
    spelt = [ours.names[i] for i in ours.encode("the cat at é")]
    assert spelt == ["▁the", "▁cat", "▁a", "t", "▁", "<0xC3>", "<0xA9>"]
    assert [ours.names[i] for i in ours.encode("cat", follows=True)] == ["c", "at"]


def test_a_table_is_kept_and_checked() -> None:
    for ours, kind in ((PAIRS["gpt2"][1], byte_level.KIND), (sentence(), pieces.KIND)):
        spec = ours.spec()
        again = language(spec, ours.data())
        assert spec["kind"] == kind and again.encode("the cat") == ours.encode("the cat")
        assert pickle.loads(pickle.dumps(ours)).encode("a cat") == ours.encode("a cat")
        with pytest.raises(DataError, match="sha256"):
            language(spec, ours.data()[:-1] + b" ")
        with pytest.raises(DataError, match="kind"):
            language(spec | {"kind": "other/1"}, ours.data())
    table = PAIRS["gpt2"][1].table
    for change, word in (
        ({"split": "mine"}, "split"),
        ({"merges": ["a"]}, "merge 0"),
        ({"eos": 10**6}, "outside"),
        ({"begins": True}, "start token"),
        ({"names": [*table.names[:-1], table.names[0]]}, "twice"),
    ):
        with pytest.raises(DataError, match=word):
            ByteLevel(table._replace(**change))
