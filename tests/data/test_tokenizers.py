"""CLIP's tokenizer beside its original and a naive twin; the trained one beside the Rust one."""

import gzip
import hashlib
import json
import pickle
import subprocess
import sys
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers as rust
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from transformers import CLIPTokenizer

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import (
    ClipBPE,
    Tokenizer,
    TrainedBPE,
    clip_bpe,
    tokenizer,
    train_bpe,
    trained,
)
from sensorium.data.tokenizers.bpe import BYTES, PLACE, Pieces, merge

GOLDEN = json.loads((Path(__file__).parent / "golden_clip_bpe.json").read_text("utf-8"))["cases"]
WRONG_TYPE = (DataError, TypeCheckError)  # the second where signatures are checked at run time
CAPTIONS = [
    "Two dogs run across the snow.",
    "the dogs' owner runs, too: 3 dogs in 2024!",
    "Dos perros corren por la nieve.",
    "हिम पर दो कुत्ते दौड़ते हैं",
    "两只狗在雪地里奔跑",
    "สุนัขสองตัววิ่งบนหิมะ",
    "كلبان يركضان على الثلج 🐕🐕",
]


@pytest.fixture(scope="module")
def free() -> ClipBPE:
    return ClipBPE(length=10**6)


# --- merging -----------------------------------------------------------------------------------


def rescan(ids: list[int], merges: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    """The naive twin: look for the pair learnt first, join it everywhere, look again."""
    ids = list(ids)
    while pairs := [p for p in pairwise(ids) if p in merges]:
        best = min(pairs, key=lambda p: merges[p][0])
        out: list[int] = []
        while ids:
            if tuple(ids[:2]) == best:
                out.append(merges[best][1])
                ids = ids[2:]
            else:
                out.append(ids.pop(0))
        ids = out
    return ids


@st.composite
def learnt(draw: st.DrawFn) -> dict[tuple[int, int], tuple[int, int]]:
    """A table of merges as learning makes them: every part is there before it is used."""
    table: dict[tuple[int, int], tuple[int, int]] = {}
    for rank in range(draw(st.integers(0, 12))):
        pair = draw(st.tuples(*[st.integers(0, 2 + len(table))] * 2))
        if pair not in table:
            table[pair] = rank, 3 + len(table)
    return table


@given(st.lists(st.integers(0, 2), max_size=30), learnt())
def test_merge_equals_its_naive_twin(ids, merges):
    assert merge(ids, merges) == rescan(ids, merges)


def test_remembered_pieces_stay_few():
    cut: list[str] = []
    pieces = Pieces(lambda p: cut.append(p) or [len(p)], most=2, longest=3)
    assert list(pieces.ids(["a", "bb", "a", "long", "long", "ccc", "a"])) == [1, 2, 1, 4, 4, 3, 1]
    assert cut == ["a", "bb", "long", "long", "ccc", "a"]
    assert len(pieces) == 2


# --- CLIP --------------------------------------------------------------------------------------


def test_equals_the_original(free):
    assert len(GOLDEN) >= 500
    for text, ids in GOLDEN:
        assert free.encode(text) == [49406, *ids, 49407], repr(text)


def test_a_known_caption():
    ids = ClipBPE().encode("a photo of a cat")
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert ClipBPE().decode([*ids, 0, 0]) == "a photo of a cat"


@pytest.fixture(scope="module")
def peer() -> CLIPTokenizer:
    packed = (files("sensorium.data.tokenizers") / "tables" / clip_bpe.TABLE).read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1:48895]
    names = [BYTES[b] for b in PLACE]
    names += [n + "</w>" for n in names]
    names += [line.replace(" ", "") for line in lines] + ["<|startoftext|>", "<|endoftext|>"]
    merges: Any = [tuple(line.split()) for line in lines]
    return CLIPTokenizer(vocab={n: i for i, n in enumerate(names)}, merges=merges)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&<")))
def test_equals_transformers_where_nothing_needs_cleaning(free, peer, text):
    assert free.encode(text) == peer(text)["input_ids"]


def test_equals_transformers_on_captions(free, peer):
    clean = [c for c in CAPTIONS if "ู" not in c]
    assert free.encode_batch(clean) == peer(clean)["input_ids"]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters()))
def test_any_text_is_encoded_and_the_same_from_any_state(free, text):
    ids = free.encode(text)
    assert ids[0] == 49406 and ids[-1] == 49407 and all(0 <= i < 49408 for i in ids)
    assert ids == ClipBPE(length=10**6).encode(text) == free.encode_batch([text])[0]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["cat", "dogs", "naïve", "中文", "हिन्दी", "🎉🎉", "é"]), max_size=9)
)
def test_decode_undoes_encode_up_to_spaces(free, words):
    text = " ".join(words)
    assert free.decode(free.encode(text)).replace(" ", "") == text.replace(" ", "")


def test_too_long_is_refused_or_cut():
    text = "dog " * 80
    with pytest.raises(DataError, match=r"82 tokens .* limit is 77.* 320 char.*'dog dog.*truncate"):
        ClipBPE().encode(text)
    with pytest.raises(DataError, match="text 1 is too long"):
        ClipBPE().encode_batch(["a dog", text])
    ids = ClipBPE(truncate=True).encode(text)
    assert len(ids) == 77 and ids[-2:] == [1929, 49407]
    assert len(ClipBPE().encode("dog " * 75)) == 77


def test_odd_texts(free):
    assert free.encode("") == free.encode("\x00 \n\x00") == [49406, 49407]
    assert free.encode("\ud800") == free.encode("\ufffd")
    assert free.encode("\ud83d\ude00") == free.encode("😀")
    assert free.encode("a<|endoftext|>") == [49406, 320, 49407, 49407]
    assert len(free.encode("a" * 90_000)) > 1000
    with pytest.raises(DataError, match="150000 characters, the limit is 100000"):
        free.encode("x" * 150_000)
    with pytest.raises(DataError, match="nested more than 255"):
        free.encode("&amp;" + "amp;" * 300)
    with pytest.raises(WRONG_TYPE):
        free.encode(b"a")
    with pytest.raises(DataError, match="single str"):
        free.encode_batch("a dog")
    with pytest.raises(DataError, match="id 49408 at place 1"):
        free.decode([49406, 49408])
    with pytest.raises(DataError, match="length is 1"):
        ClipBPE(length=1)


# --- trained -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> TrainedBPE:
    return train_bpe(CAPTIONS * 3, vocab=420, length=200, truncate=False)


def test_learns_what_recurs(small):
    assert small.vocab <= 420 and small.eot == small.vocab - 1
    assert len(small.encode("the dogs")) == 4
    assert len(small.encode("两只狗")) < len("两只狗".encode()) + 2


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=50), st.booleans())
def test_round_trip_of_any_text(small, text, lower):
    made = TrainedBPE(small.merges, 1000, lower)
    assert made.decode(made.encode(text)) == trained.clean(text, lower)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(" ".join(CAPTIONS)), max_size=60).map("".join))
def test_equals_the_rust_library(small, text):
    vocab = {letter: b for b, letter in enumerate(BYTES)}
    for line in small.merges:
        vocab.setdefault(line.replace(" ", ""), len(vocab))
    pairs = [tuple(line.split()) for line in small.merges]
    model = rust.models.BPE(vocab=vocab, merges=pairs)
    words = trained._WORDS.findall("".join(f" {w}" for w in trained.clean(text, True).split()))
    ids = [t.id for w in words for t in model.tokenize("".join(BYTES[b] for b in w.encode()))]
    assert small.encode(text)[1:-1] == ids


def test_learns_the_same_in_every_process(small):
    code = (
        "import sys, json; from sensorium.data.tokenizers import train_bpe;"
        "print(train_bpe(json.load(sys.stdin) * 3, 420, 200).spec()['sha256'])"
    )
    for seed, threads in (("1", "1"), ("2", "4")):
        env = {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        env |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(CAPTIONS),
            capture_output=True,
            text=True,
            env=env,
            check=True,
        )
        assert done.stdout.strip() == small.spec()["sha256"]


def test_training_refuses():
    with pytest.raises(DataError, match="258 or more"):
        train_bpe(["a"], 257, 10)
    with pytest.raises(DataError, match="no word"):
        train_bpe(["", " "], 300, 10)
    with pytest.raises(WRONG_TYPE):
        train_bpe(["a", None], 300, 10)  # pyright: ignore[reportArgumentType]
    assert train_bpe(["a"], 300, 10).vocab == 258
    with pytest.raises(DataError, match=r"merge 0 .* damaged"):
        TrainedBPE(["ab c"], 10)


# --- through a manifest ------------------------------------------------------------------------


@pytest.mark.parametrize("truncate", [False, True])
def test_rebuilt_from_its_description(small, tmp_path, truncate):
    for made in (ClipBPE(20, truncate), TrainedBPE(small.merges, 20, True, truncate)):
        if isinstance(made, TrainedBPE):
            made.save(tmp_path)
        said = json.loads(json.dumps(made.spec()))
        again: Tokenizer = tokenizer(said, tmp_path)
        sent: Tokenizer = pickle.loads(pickle.dumps(made))
        assert again.spec() == sent.spec() == said
        text = "two dogs run"
        assert again.encode(text) == sent.encode(text) == made.encode(text)
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]


def test_a_description_that_does_not_fit_is_refused(small, tmp_path):
    with pytest.raises(DataError, match=r"unknown kind .*'wordpiece'; known: clip-bpe/1, trained"):
        tokenizer({"kind": "wordpiece"})
    with pytest.raises(DataError, match="lacks truncate"):
        tokenizer({"kind": "clip-bpe/1", "length": 77})
    with pytest.raises(DataError, match="lower is False, but here True"):
        tokenizer({**ClipBPE().spec(), "lower": False})
    with pytest.raises(DataError, match="extra is 1, but here None"):
        tokenizer({**ClipBPE().spec(), "extra": 1})
    with pytest.raises(DataError, match="needs the checkpoint's folder"):
        tokenizer(small.spec())
    with pytest.raises(FileNotFoundError):
        tokenizer(small.spec(), tmp_path)
    path = small.save(tmp_path)
    with pytest.raises(DataError, match=r"file is '\.\./x', but here 'tokenizer\.json'"):
        tokenizer({**small.spec(), "file": "../x"}, tmp_path)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match="not the file of this checkpoint"):
        tokenizer(small.spec(), tmp_path)


def test_a_table_of_another_form_is_refused(tmp_path):
    for body, says in (
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "needs 'kind'"),
        (b'{"kind": "trained-bpe/1", "merges": [1]}', "needs 'kind'"),
        (b'{"kind": "trained-bpe/1", "merges": ["zz y"]}', "damaged"),
    ):
        (tmp_path / trained.FILE).write_bytes(body)
        with pytest.raises(DataError, match=says):
            trained.read(tmp_path, hashlib.sha256(body).hexdigest(), length=9)
