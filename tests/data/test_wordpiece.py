"""WordPiece against BERT's own code over many scripts (golden/wordpiece.json), and its edges."""

import json
from pathlib import Path

import pytest

from sensorium.data.errors import DataError
from sensorium.data.ragged import cat, lay, take, unlay
from sensorium.data.tokenizers import WordPiece, read_vocab, tokenizer, train_wordpiece
from sensorium.data.tokenizers.wordpiece import SPECIAL

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "wordpiece.json").read_text())
LINES = [
    "The red circle is left of the blue square.",
    "A red square, a blue circle!",
    "étoile 中文",
]


@pytest.mark.parametrize("lower", [True, False])
def test_the_pieces_are_berts(lower: bool) -> None:
    ours = WordPiece(GOLDEN["vocab"], 512, lower)
    for row in GOLDEN["texts"]:
        assert ours.ids(row["text"]) == row["lower" if lower else "cased"], row["text"]


def test_a_text_cannot_make_special_ids() -> None:
    ours = WordPiece(GOLDEN["vocab"], 32, True)
    inner = ours.encode("[CLS] red [SEP] [MASK] [PAD]")[1:-1]
    assert not {ours.sot, ours.eot, ours.mask, ours.pad} & set(inner)


def test_texts_are_framed_refused_or_cut() -> None:
    ours = WordPiece(GOLDEN["vocab"], 6, True)
    red, b = ours.ids("red")[0], ours.ids("b")[0]
    assert ours.encode("red b") == [ours.sot, red, b, ours.eot] and ours.encode("") == [2, 3]
    open_end = WordPiece(GOLDEN["vocab"], 6, True, end=False)
    assert open_end.encode("red b") == [ours.sot, red, b]
    assert open_end.encode("b b b b b") == [ours.sot, *[b] * 5]
    for long in (ours, open_end):
        with pytest.raises(DataError, match="the text is too long"):
            long.encode("b b b b b b")
    cut = WordPiece(GOLDEN["vocab"], 6, True, truncate=True)
    assert cut.encode("b b red b b b") == [ours.sot, b, b, red, b, ours.eot]
    both, kinds = cut.encode_pair("b b b", "red")
    assert both == [ours.sot, b, b, ours.eot, red, ours.eot] and kinds == [0, 0, 0, 0, 1, 1]
    with pytest.raises(DataError, match="the limit is 6"):
        ours.encode_pair("b b b", "red")
    assert len(cut.encode_pair("b", "")[0]) == 4


def test_words_beyond_the_longest_are_unknown() -> None:
    letters = WordPiece([*SPECIAL, "x", "##x"], 512, True, longest_word=100)
    assert letters.ids("x" * 100) == [5, *[6] * 99] and letters.ids("x" * 101) == [letters.unk]


def test_a_learnt_vocabulary_is_always_the_same_and_goes_through_a_file(tmp_path: Path) -> None:
    one, two = (train_wordpiece(LINES * 3, 80, 24) for _ in range(2))
    assert one.pieces == two.pieces and one.pieces[:5] == SPECIAL
    assert one.unk not in one.ids(LINES[0]) and one.decode(one.encode(LINES[1])).startswith("a red")
    one.save(tmp_path)
    again = tokenizer(one.spec(), tmp_path)
    assert again.encode_batch(LINES) == one.encode_batch(LINES) and again.spec() == one.spec()
    assert read_vocab(tmp_path / "vocab.txt") == list(one.pieces)
    with pytest.raises(DataError, match="sha256"):
        tokenizer({**one.spec(), "sha256": "0"}, tmp_path)


def test_files_that_are_no_vocabulary_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    for body, why in ((b"", "empty"), (b"\xff\xfe", "UTF-8")):
        path.write_bytes(body)
        with pytest.raises(DataError, match=why):
            read_vocab(path)
    with pytest.raises(DataError, match=r"\[MASK\]"):
        WordPiece(SPECIAL[:4], 8, True)
    with pytest.raises(DataError, match="no word"):
        train_wordpiece(["", " "], 50, 8)


def test_segments_travel_with_their_ids() -> None:
    texts, kinds = [[1, 2, 3], [4], [5, 6]], [[0, 1, 1], [0], [0, 1]]
    laid = lay(texts, kinds=kinds, round_tokens=4)
    assert laid.kind is not None and laid.kind.tolist() == [0, 1, 1, 0, 0, 1, 0, 0]
    taken = take(laid, laid.lengths.new_tensor([2, 0]))
    assert taken.kind is not None and taken.kind.tolist() == [0, 1, 0, 1, 1]
    joined = cat([lay([[9]]), laid])
    assert joined.kind is not None and joined.kind.tolist() == [0, 0, 1, 1, 0, 0, 1]
    assert unlay(joined) == [[9], *texts] and lay(texts).kind is None
    with pytest.raises(DataError, match="kinds"):
        lay(texts, kinds=[[0], [0], [0]])
