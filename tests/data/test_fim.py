"""What must hold of every rearranged document, whatever it says."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.errors import DataError
from sensorium.data.fim import Fim, Marks, arranged, asked, context, cut, document, marks, restored
from sensorium.data.packed import Packed, Rearranged, Sample, apart, packed
from sensorium.data.tokenizers.bpe import BYTES
from sensorium.data.tokenizers.byte_level import ByteLevel, Table

NAMES = ("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ["<fim_prefix>", "a<|endoftext|>b", "<fim_middle><fim_suffix>", "é\n\tü", ""]
)
BOTH = pytest.mark.parametrize("spm", [0.0, 1.0], ids=["PSM", "SPM"])


@cache
def tokenizer() -> ByteLevel:
    """Bytes, a few merges, and StarCoder's special tokens in front."""
    names = [*NAMES, *BYTES, "ab", "abc"]
    specials = {name: i for i, name in enumerate(NAMES)}
    return ByteLevel(Table(names, ["a b", "ab c"], "digits", specials, eos=0, pad=4))


OF = marks(tokenizer())


@BOTH
@given(text=TEXTS, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_prefix_middle_and_suffix_joined_are_the_document(spm: float, text: str, seed: int) -> None:
    words = tokenizer()
    ids = document(text, words, Fim(1.0, spm), np.random.default_rng(seed))
    assert words.decode(restored(ids, OF)) == text
    assert [i for i in ids if i in words.specials.values()] == [OF.prefix, OF.suffix, OF.middle]


@BOTH
def test_the_order_is_the_published_one(spm: float) -> None:
    of = Marks(1, 2, 3, 4, 0)
    made = arranged(([10, 11], [20], [30, 31]), of, bool(spm))
    psm, second = [1, 10, 11, 3, 30, 31, 2, 20], [1, 3, 30, 31, 2, 10, 11, 20]
    assert made == (second if spm else psm)
    assert restored(made, of) == [10, 11, 20, 30, 31]


def test_every_place_is_cut_alike_and_parts_may_be_empty() -> None:
    rng, count = np.random.default_rng(0), 9000
    found = [tuple(map(len, cut(["a", "b"], rng))) for _ in range(count)]
    ordered = [(0, 0, 2), (0, 1, 1), (0, 2, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0)]
    chances = [1, 2, 2, 1, 2, 1]  # of the nine pairs of two draws, sorted
    for parts, chance in zip(ordered, chances, strict=True):
        assert abs(found.count(parts) / count - chance / 9) < 0.02
    assert cut([], rng) == ([], [], [])


@given(texts=st.lists(TEXTS, min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_packed_sample_keeps_its_length_and_its_documents(texts: list[str], seed: int) -> None:
    words = tokenizer()
    ids = packed(texts, words).tolist()
    roomy = [*ids, *[OF.end] * (4 * len(ids) + 8)]  # so that no document is pushed out
    made, real = context(roomy, words, Fim(1.0), np.random.default_rng(seed))
    assert len(made) == len(roomy) and made[real:] == [OF.pad] * (len(roomy) - real)
    documents = apart(Sample(tuple(made), real), OF.end)
    told = [words.decode(restored(one[:-1], OF)) for one in documents if len(one) > 1]
    assert told == [text for text in texts if text]
    short, _ = context(ids, words, Fim(1.0), np.random.default_rng(seed))
    assert short == made[: len(ids)] if real >= len(ids) else len(short) == len(ids)


def test_a_rate_of_zero_changes_nothing_and_seeds_are_all_there_is() -> None:
    words = tokenizer()
    ids = packed(["abc def" * 9, "ghi" * 9, "é" * 9], words).tolist()
    same = context(ids, words, Fim(0.0), np.random.default_rng(1))
    assert same == (ids, len(ids))
    first, again, other = (
        context(ids, words, Fim(1.0), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_special_tokens_in_a_document_are_kept_whole() -> None:
    words = tokenizer()
    name = words.specials["<filename>"]
    ids = [name, *words.encode("x.py"), *words.encode("\nabc")]
    for seed in range(20):
        made, real = context([*ids, *[0] * 9], words, Fim(1.0), np.random.default_rng(seed))
        assert made.count(name) == 1 and OF.end in made[:real]
        back = restored(made[: made.index(OF.end)], OF)
        assert back[0] == name and words.decode(back) == "x.py\nabc"


def test_a_piece_of_a_character_is_left_alone() -> None:
    words = tokenizer()
    torn = words.encode("é")[1:]
    assert context([*torn, 0], words, Fim(1.0), np.random.default_rng(0))[0] == [*torn, 0]


def test_the_rate_is_the_share_of_documents() -> None:
    words, rng = tokenizer(), np.random.default_rng(0)
    made = [document("x" * 60, words, Fim(0.3, 0.5), rng) for _ in range(2000)]
    moved = [ids for ids in made if ids[0] == OF.prefix]
    assert abs(len(moved) / 2000 - 0.3) < 0.04
    assert abs(sum(ids[1] == OF.suffix for ids in moved) / len(moved) - 0.5) < 0.08


def test_a_prompt_ends_where_the_middle_begins() -> None:
    words = tokenizer()
    assert asked("ab", "c", words) == [
        OF.prefix,
        *words.encode("ab"),
        OF.suffix,
        *words.encode("c"),
        OF.middle,
    ]
    assert asked("ab", "c", words, spm=True)[-2:] == [OF.middle, *words.encode("ab")]


def test_what_means_nothing_is_refused() -> None:
    words = tokenizer()
    for wrong in ([2, 1, 3], [1, 3], [5, 1, 3, 2], [1, 3, 2, 2]):
        with pytest.raises(DataError, match="order"):
            restored(wrong, OF)
    for share in (Fim(1.5), Fim(0.5, -1.0)):
        with pytest.raises(DataError, match="shares"):
            document("a", words, share, np.random.default_rng(0))
    plain = ByteLevel(Table([*BYTES], [], "gpt2", {}))
    with pytest.raises(DataError, match="fim_prefix"):
        marks(plain)


def test_documents_are_packed_and_told_apart() -> None:
    words = tokenizer()
    tokens = packed(["abc", "", "b<fim_prefix>"], words)
    assert (tokens == OF.end).sum() == 3
    assert OF.prefix not in tokens.tolist()  # no text becomes a special token
    data = Packed(tokens, 4)
    assert len(data) == len(tokens) // 4
    assert np.concatenate([data[i] for i in range(len(data))]).tolist() == (
        tokens[: 4 * len(data)].tolist()
    )
    sample = Rearranged(words, None)(tokens, np.random.default_rng(0))
    parts = apart(sample, OF.end)
    assert [words.decode(one) for one in parts] == ["abc", "", "b<fim_prefix>"]
    assert [i for one in parts for i in one] == tokens.tolist()
    with pytest.raises(DataError, match="add texts"):
        Packed(tokens, 1000)
