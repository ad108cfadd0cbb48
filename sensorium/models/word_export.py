"""Our tokenizers and chat templates as Hugging Face's files, proved as they are written.

What is made is opened by `tokenizers` and must give our ids for texts that are hard to cut; and it
must be read here as the tokenizer it was made of. One that does not is left out, with a note.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tokenizers import Tokenizer

from sensorium.data.chat import Message, encode, template
from sensorium.data.chat_jinja import JINJA
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.byte_level import COMPOSED, ByteLevel
from sensorium.data.tokenizers.pieces import SPACE, SentencePieces
from sensorium.data.tokenizers.unigram import Unigram
from sensorium.data.tokenizers.words import Words
from sensorium.models.published import Told
from sensorium.models.word_files import ABOUT, FORMS, JOINED, NFC, TOKENIZER, UNSEEN, Found, hf

HARD = (
    *("", " ", "  ", "\n", "\r\n\r\n \t\t x", "a", " a ", "   a  b   \n\n  c\n", "▁", "▁ a▁▁b ▁"),
    *("don't I'LL we'Ve 's ' s ’s 'ſ", "x=1;\n\ty = 22222 + 3.14159e-10\n", "1234567890 ١٢٣ Ⅻ ²½"),
    *("naïve café CAFÉ e\u0301 \ufb01x ＡＢＣ １２", "中文没有空格 日本語 한국어"),
    *("हिन्दी ไทย עברית العربية", "😀👩\u200d👩\u200d👧🇩🇪 ❤\ufe0f", "\ufffd \U000e0001"),
    *("\u200b\u00a0\u3000\u2028\ufeff\u00ad", "\x00\x01\x1c\x1f\x7f\x85", "\U00040000\U0010fffd"),
    *("<>|<|x|>[INST]</ s>", "<0x0A> <0xC3><0xA9> ĠĊÃ©", "https://a.b/c?d=e&f#g", "\t\t\t\t\t\t"),
    *("def f(a):\n        return a[0] # ok\n", "Ünïcödé İıßẞ ΣΑΣ", "the the  the   the"),
)
LETTERS = (" ", "▁", "a", "e", "0", "-", "=", "*", "\n", ".", "é", "中", "😀")
UNPROVED = "export holds no tokenizer, which could not be told exactly in tokenizer.json"
NORMAL = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
Part = dict[str, Any]


def told(words: Words, chat: str | None, ended: bool = False) -> Told:
    """tokenizer.json and tokenizer_config.json of a language model's tokenizer.

    Args:
        chat: the name of the model's chat template, which is told in Jinja.
        ended: whether prompts are read with the end token behind them (encoders of T5 and BART).
    """
    try:
        whole, about = described(words, ended)
        proved(json.dumps(whole), words)
        again = hf(Found({TOKENIZER: whole, ABOUT: about}))
    except DataError as wrong:
        return Told({}, (f"the {UNPROVED}: {wrong}",))
    if again is None or not alike(words, again):
        return Told({}, (f"the {UNPROVED}: it would be read here as another one",))
    notes: tuple[str, ...] = ()
    if chat is not None:
        lacks = _unsaid(words, chat)
        if lacks is None:
            about["chat_template"] = JINJA[chat]
        else:
            notes = (f"the export holds no chat template: {lacks}",)
    made = {TOKENIZER: whole, ABOUT: about}
    return Told({n: json.dumps(x, ensure_ascii=False).encode() for n, x in made.items()}, notes)


ended = partial(told, ended=True)
"""`told` for models whose encoder reads prompts with the end token behind them."""


def described(words: Words, ended: bool = False) -> tuple[Part, Part]:
    """The two files as values, unproved.

    DataError: what cannot be told at all.
    """
    if isinstance(words, ByteLevel):
        made, more = _byte_level(words), words.table.added
    elif isinstance(words, SentencePieces):
        made, more = _pieces(words), {}
    elif isinstance(words, Unigram):
        made, more = _unigram(words), {}
    else:
        raise DataError(f"a {type(words).__name__} is no tokenizer of these files")
    rows = sorted((id, name) for name, id in {**words.specials, **more}.items())
    about: Part = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    for key, id in (("bos", words.bos), ("eos", words.eos), ("pad", words.pad)):
        if id is not None:
            name = words.names[id]
            if name not in words.specials:
                raise DataError(f"its {key} {name!r} is an ordinary token, which texts may contain")
            about[f"{key}_token"] = name
    tokens = [{"id": i, "content": n, **NORMAL, "special": n in words.specials} for i, n in rows]
    first = [words.names[words.bos]] if words.begins and words.bos is not None else []
    last = [words.names[words.eos]] if ended and words.eos is not None else []
    plain = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens}
    return {**plain, **made, "post_processor": _framed(first, last, words.specials)}, about


def alike(words: Words, other: Words) -> bool:
    """Whether two tokenizers do the same: equal tables, or pieces joined in the same order."""
    if isinstance(words, SentencePieces) and isinstance(other, SentencePieces):
        same = words.table._replace(scores=()) == other.table._replace(scores=())
        return same and joins(words) == joins(other)
    return words.data() == other.data()


def proved(text: str, words: Words) -> None:
    """Compares a tokenizer.json with ours on `HARD` texts, runs of letters, and its own pieces.

    DataError: it gives other ids for a text, which is named.
    """
    made = Tokenizer.from_str(text)
    added = words.table.added if isinstance(words, ByteLevel) else {}
    for one in (*_texts(words), *(f"a {name} b" for name in added)):
        if any(name in one for name in words.specials):
            continue  # there they are read as the special tokens, and with us as letters
        ids = words.encode(one)
        if made.encode(one, add_special_tokens=False).ids != ids:
            raise DataError(f"it cuts {one!r:.60} in another way")
        if made.decode(ids) != words.decode(ids):
            raise DataError(f"it reads the ids of {one!r:.60} in another way")
    for name, id in words.specials.items():
        ids = [*words.encode("a "), id, *words.encode(" b")]
        if made.encode(f"a {name} b", add_special_tokens=False).ids != ids:
            raise DataError(f"it reads text beside {name!r} in another way")


def _texts(words: Words) -> Iterator[str]:
    yield from HARD
    for letter in LETTERS:
        yield from (letter * n for n in (*range(2, 20), 33))
    names = [words.spelt(i).decode(errors="ignore") for i in range(words.vocab)]
    step = max(1, len(names) // 600)
    for i in range(0, len(names), step):  # far apart and next to each other, so that both meet
        yield names[i] + names[(i * 7919 + 13) % len(names)] + " " + names[i - 1] + names[i]


def _byte_level(words: ByteLevel) -> Part:
    table = words.table
    merges = [line.split(" ") for line in dict.fromkeys(table.merges)]
    model = _bpe(words.names, merges) | {"ignore_merges": table.whole}
    more = {"trim_offsets": True}
    steps = [one | more if one["type"] == "ByteLevel" else one for one in FORMS[table.split]]
    cut = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}
    read = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    prepare = NFC if table.split in COMPOSED else None
    return {"normalizer": prepare, "pre_tokenizer": cut, "decoder": read, "model": model}


def joins(words: SentencePieces) -> list[list[str]]:
    """The pairs that make each piece, in the order in which pieces are joined.

    DataError: two pieces that pairs make have one score: their order is that of the text.
    """
    apart = {f"<0x{b:02X}>" for b in range(256)} | {words.names[i] for i in words.specials.values()}
    pairs_of = zip(words.names, words.table.scores, strict=True)
    known = {name: score for name, score in pairs_of if name not in apart}
    out: list[list[str]] = []
    seen: dict[float, str] = {}
    for name in sorted(known, key=known.__getitem__, reverse=True):
        cuts = ((name[:k], name[k:]) for k in range(len(name) - 1, 0, -1))
        pairs = [[a, b] for a, b in cuts if a in known and b in known]
        if pairs and seen.setdefault(known[name], name) != name:
            raise DataError(f"the pieces {seen[known[name]]!r} and {name!r} have one score")
        out += pairs
    return out


def _pieces(words: SentencePieces) -> Part:
    model = _bpe(words.names, joins(words)) | {"byte_fallback": True, "fuse_unk": True}
    steps = JOINED if words.table.prefix else JOINED[1:]
    read = [{"type": "ByteFallback"}, {"type": "Fuse"}]
    return {
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": None,
        "decoder": _spaced(read, words.table.prefix),
        "model": model | {"unk_token": "<unk>" if "<unk>" in words.specials else None},
    }


def _unigram(words: Unigram) -> Part:
    table = words.table
    pairs = [[name, score] for name, score in zip(words.names, table.scores, strict=True)]
    steps = [UNSEEN] if table.prepare is None else [UNSEEN, table.prepare]
    return {
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": table.cut,
        "decoder": _spaced([{"type": "Fuse"}], True),
        "model": {"type": "Unigram", "unk_id": table.unk, "vocab": pairs, "byte_fallback": False},
    }


def _bpe(names: list[str], merges: list[list[str]]) -> Part:
    unsaid = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    model = {"type": "BPE", **dict.fromkeys(unsaid), "fuse_unk": False, "byte_fallback": False}
    vocab = {name: i for i, name in enumerate(names)}
    return model | {"ignore_merges": False, "vocab": vocab, "merges": merges}


def _spaced(steps: list[Part], strip: bool) -> Part:
    space = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    ends = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if strip else []
    return {"type": "Sequence", "decoders": [space, *steps, *ends]}


def _framed(first: list[str], last: list[str], ids: Mapping[str, int]) -> Part | None:
    """What stands before and behind a prompt."""
    if not first and not last:
        return None

    def row(side: str, kind: int) -> list[Part]:
        before, behind = ([_mark(name, kind) for name in names] for names in (first, last))
        return [*before, {"Sequence": {"id": side, "type_id": kind}}, *behind]

    used = {n: {"id": n, "ids": [ids[n]], "tokens": [n]} for n in (*first, *last)}
    pair = [*row("A", 0), *row("B", 1)]
    return {
        "type": "TemplateProcessing",
        "single": row("A", 0),
        "pair": pair,
        "special_tokens": used,
    }


def _mark(name: str, kind: int) -> Part:
    return {"SpecialToken": {"id": name, "type_id": kind}}


def _unsaid(words: Words, chat: str) -> str | None:
    """Why a template is not told; None where it is."""
    if chat not in JINJA:
        return f"{chat!r} is not told in Jinja here"
    turns = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    try:
        encode(template(chat).parts(turns, True), words)
    except DataError as wrong:
        return str(wrong)
    return None
