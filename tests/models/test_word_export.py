"""Tokenizers told in Hugging Face's files: transformers cuts, frames and talks as we do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sensorium
from sensorium.data.chat import TEMPLATES, conversation, encode, template
from sensorium.data.chat_jinja import JINJA
from sensorium.data.tokenizers import byte_level
from sensorium.data.tokenizers.byte_level import SPLITS, ByteLevel
from sensorium.data.tokenizers.extended import extended
from sensorium.data.tokenizers.pieces import SentencePieces
from sensorium.data.tokenizers.spaces import codex
from sensorium.data.tokenizers.words import Words
from sensorium.models import llava, mpt, opt
from sensorium.models.declaration import Declaration
from sensorium.models.decoder_layouts import FAMILIES
from sensorium.models.llama import TINY
from sensorium.models.word_export import HARD, alike, described, ended, proved, told
from sensorium.models.word_files import ABOUT, TOKENIZER, Found, hf
from sensorium.verbs.exchange import export_model, save_model
from sensorium.verbs.load import assemble
from sensorium.weights.errors import WeightsError
from tests.data.test_unigram import both
from tests.data.test_words import PAIRS, sentence

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
MARKS = (
    *("<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|begin_of_text|>", "<|eot_id|>"),
    *("<|start_header_id|>", "<|end_header_id|>"),
)
TALKS = (
    [("user", "Hi, what's 2 + 2?")],
    [("system", "  Be brief. "), ("user", " the cat\n"), ("assistant", " 4 é "), ("user", "Why?")],
    [("user", "one\n\ntwo"), ("assistant", "it's"), ("user", "  three")],
)


def marked(words: Words, first: str | None = None) -> Words:
    """The tokenizer with every template's marks, and a start token where one is named."""
    made = extended(words, MARKS)
    assert isinstance(made, (ByteLevel, SentencePieces))
    id = made.specials.get(first or "")
    new: Any = made.table._replace(bos=id, begins=id is not None)
    return type(made)(new)


def added() -> ByteLevel:
    """Words that stand whole, and tokens that a text may contain, one inside the other."""
    table = PAIRS["llama3"][1].table
    names = [*table.names, "  x", "  x y"]
    more = {name: len(names) - 2 + i for i, name in enumerate(names[-2:])}
    return ByteLevel(table._replace(names=names, added=more, whole=True))


def front() -> ByteLevel:
    """Special tokens in front, and bytes that are missing, as SmolLM2's."""
    table = PAIRS["digits"][1].table
    gone = [n for n in table.names[:256] if n in "ñòóô"]
    names = ["<|endoftext|>", "<pad>", *(n for n in table.names[:-3] if not set(n) & set(gone))]
    merges = [m for m in table.merges if not set(m) & set(gone)]
    first = {name: i for i, name in enumerate(names[:2])}
    return ByteLevel(byte_level.Table(names, merges, "digits", first, eos=0, pad=1))


def bare() -> SentencePieces:
    return SentencePieces(sentence().table._replace(prefix=False, begins=False))


WORDS: dict[str, Any] = {
    **{split: (lambda split=split: PAIRS[split][1]) for split in SPLITS},
    "begins": lambda: marked(PAIRS["llama3"][1], "<|begin_of_text|>"),
    "added": added,
    "front": front,
    "codex": codex,
    "pieces": sentence,
    "bare": bare,
    "unigram": lambda: both()[1],
}


def opened(folder: Path) -> Any:
    """As transformers opens it: from the folder alone, no code in it run."""
    return transformers.AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False
    )


def written(words: Words, folder: Path, chat: str | None = None) -> tuple[Any, tuple[str, ...]]:
    found = told(words, chat)
    for name, data in found.files.items():
        (folder / name).write_bytes(data)
    return opened(folder) if found.files else None, found.notes


@pytest.mark.parametrize("name", WORDS)
def test_transformers_cuts_texts_as_we_do_and_reads_them_back(name: str, tmp_path: Path) -> None:
    words = WORDS[name]()
    theirs, notes = written(words, tmp_path)
    assert not notes and len(theirs) == words.vocab
    start = [words.bos] if words.begins else []
    for text in (*HARD, "the  x y cat   x walked", "a picture of two cats, 12 of 345!"):
        ids = words.encode(text)
        assert theirs.encode(text, add_special_tokens=False) == ids, text
        assert theirs.encode(text) == start + ids
        assert theirs.decode(ids, skip_special_tokens=True) == words.decode(ids)
    for mark, id in words.specials.items():
        ids = [*words.encode("the "), id, *words.encode(" cat")]
        assert theirs.encode(f"the {mark} cat", add_special_tokens=False) == ids
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (
        *(words.bos, words.eos, words.pad),
    )
    both_files = [json.loads((tmp_path / x).read_bytes()) for x in (TOKENIZER, ABOUT)]
    again = hf(Found(dict(zip((TOKENIZER, ABOUT), both_files, strict=True))))
    assert again is not None and alike(words, again) and again.begins == words.begins


@pytest.mark.parametrize("chat", JINJA)
@pytest.mark.parametrize("kind", ["gpt2", "pieces"])
def test_transformers_renders_conversations_as_we_do(kind: str, chat: str, tmp_path: Path) -> None:
    words = marked(WORDS[kind](), "<s>" if kind == "pieces" else None)
    theirs, notes = written(words, tmp_path, chat)
    assert not notes and set(JINJA) == set(TEMPLATES)
    for talk in TALKS:
        for reply in (True, False):
            said = [{"role": role, "content": text} for role, text in talk]
            said += [] if reply else [{"role": "assistant", "content": "a\nreply"}]
            parts = template(chat).parts(conversation(said, reply), reply)
            how = dict(add_generation_prompt=reply)
            text = theirs.apply_chat_template(said, tokenize=False, **how)
            assert text == "".join(part.text for part in parts)
            ids = theirs.apply_chat_template(said, return_dict=False, **how)
            assert ids == encode(parts, words)[0]


def test_what_cannot_be_told_exactly_is_left_out_with_a_note() -> None:
    table = sentence().table
    scores = [-1.0 if name in ("▁the", "at") else s for name, s in zip(*table[:2], strict=True)]
    gpt2 = PAIRS["gpt2"][1].table
    unigram = both()[1]
    first = dict(unigram.table.cut, prepend_scheme="first")
    for words, why in (
        (SentencePieces(table._replace(scores=scores)), "one score"),
        (ByteLevel(gpt2._replace(eos=5)), "ordinary token"),
        (type(unigram)(unigram.table._replace(cut=first)), "in another way"),
    ):
        found = told(words, None)
        assert not found.files and why in found.notes[0]
    lacking = told(sentence(), "llama-3")
    assert TOKENIZER in lacking.files and "no token of this" in lacking.notes[0]
    assert "not told in Jinja" in told(sentence(), "plain").notes[0]


def test_the_proof_finds_another_tokenizer() -> None:
    whole, _ = described(PAIRS["gpt2"][1])
    whole["model"]["merges"] = whole["model"]["merges"][:-40]
    with pytest.raises(ValueError, match="in another way"):
        proved(json.dumps(whole), PAIRS["gpt2"][1])


def test_an_encoders_prompts_end_as_ours_do(tmp_path: Path) -> None:
    words = both()[1]
    for name, data in ended(words, None).files.items():
        (tmp_path / name).write_bytes(data)
    theirs = opened(tmp_path)
    assert theirs.encode("the cat") == [*words.encode("the cat"), words.eos]


def checkpoint(declaration: Declaration, words: Words, folder: Path, **more: Any) -> Path:
    torch.manual_seed(0)
    net = declaration.build()
    tensors = {key: t.detach().clone() for key, t in net.state_dict().items()}
    manifest = {"model": declaration.spec(), "transform": None, "tokenizer": words.spec()}
    manifest |= {"name": "x", "data": "none", "licence": "none", **more}
    return save_model(assemble(tensors, manifest, None, words.data()), folder)


def cases() -> list[Any]:
    out = [("hf-llama", TINY, {}), ("hf-mpt", mpt.TINY, {}), ("hf-opt", opt.TINY, {})]
    seen = {name for name, _, _ in out}
    out += [(one.name, one.tiny[0], {}) for one in FAMILIES if one.name not in seen]
    look = sensorium.media.openai_clip(llava.TINY.args["image"].pixels)
    return [*out, ("hf-llava", llava.TINY, dict(transform=look))]


@pytest.mark.parametrize(("name", "tiny", "more"), cases(), ids=[one[0] for one in cases()])
def test_an_export_is_opened_by_transformers_and_by_us(
    name: str, tiny: Declaration, more: dict[str, Any], tmp_path: Path
) -> None:
    words = marked(PAIRS["gpt2"][1])
    args = tiny.args | ({} if name == "hf-llava" else dict(vocab=words.vocab))
    if name == "hf-llava":
        args |= dict(text=args["text"]._replace(vocab=words.vocab))
    at = checkpoint(
        Declaration(tiny.function, args), words, tmp_path / "ours", chat="chatml", **more
    )
    report = export_model(at, name, tmp_path / "theirs")
    assert report["kept"]["tokenizer"] and report["kept"]["chat"] and not report["notes"]
    theirs, back = opened(tmp_path / "theirs"), sensorium.load(tmp_path / "theirs", name)
    assert back.words is not None and back.words.data() == words.data()
    assert back.manifest["chat"] == "chatml"
    end = [words.eos] if name in ("hf-t5", "hf-bart") else []
    for text in (*HARD, "a <|im_end|> b"):
        if "<|im" not in text:
            assert theirs.encode(text) == words.encode(text) + end
    assert theirs.convert_tokens_to_ids("<|im_end|>") == words.specials["<|im_end|>"]


def test_a_model_whose_vocabulary_is_too_small_is_refused(tmp_path: Path) -> None:
    found = told(PAIRS["gpt2"][1], None)
    at = checkpoint(
        Declaration(TINY.function, TINY.args | dict(vocab=1000)), PAIRS["gpt2"][1], tmp_path / "x"
    )
    export_model(at, "hf-llama", tmp_path / "y")
    config = json.loads((tmp_path / "y" / "config.json").read_text())
    assert config["vocab_size"] == 1000 and found.files.keys() < {
        one.name for one in (tmp_path / "y").iterdir()
    }
    with pytest.raises(WeightsError, match="holds something"):
        export_model(at, "hf-llama", tmp_path / "y")


def test_scores_are_read_in_the_order_of_the_pieces() -> None:
    """Pieces of several pairs count once, so that what is written is read the same."""
    whole, about = described(sentence())
    found = hf(Found({TOKENIZER: whole, ABOUT: about}))
    assert isinstance(found, SentencePieces)
    twice, _ = described(found)
    again = hf(Found({TOKENIZER: twice, ABOUT: about}))
    assert again is not None and again.data() == found.data()
    assert found.table.scores[found.names.index("▁the")] == 0.0
