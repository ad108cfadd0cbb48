"""Byte-level BPE as language models use it (Radford et al. 2019, section 2.2), its many splits.

A text is cut into words by a pattern, a word is its UTF-8 bytes, and bytes are merged in the order
the merges were learnt. Nothing is normalised (but by GPT-NeoX's, which composes letters: NFC), so
decoding gives the text, but for vocabularies that lack bytes (SmolLM2's has none for U+40000 and
above): as in their original those are left out.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import regex

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.bpe import BYTES, Pieces, merge
from sensorium.data.tokenizers.words import named, readable, texts, unique
from sensorium.data.tokenizers.words import spec as spec_of

KIND = "byte-level/1"
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS: dict[str, tuple[str, ...]] = {
    "gpt2": (GPT2,),  # GPT-2, OPT, BART, GPT-Neo, GPT-J
    "digits": (r"\p{N}|\P{N}+", GPT2),  # every digit by itself first: SmolLM, StarCoder
    "llama3": (LLAMA3,),
    "gpt2-nfc": (GPT2,),  # GPT-NeoX, Pythia, RedPajama-INCITE, MPT
}
COMPOSED = frozenset(("gpt2-nfc",))  # texts are brought to NFC first
_BYTE_OF = {letter: b for b, letter in enumerate(BYTES)}


class Table(NamedTuple):
    """What a tokenizer is made of.

    Attributes:
        names: of every id, bytes in letters (`bpe.BYTES`); of special tokens, their own text.
        merges: "left right", in the order they were learnt.
        split: a key of SPLITS.
        specials: special tokens, which no text becomes; `added` ones any text may contain.
        whole: a word that is in the vocabulary is never built of merges (LLaMA 3).
    """

    names: Sequence[str]
    merges: Sequence[str]
    split: str
    specials: Mapping[str, int]
    added: Mapping[str, int] = {}
    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    begins: bool = False
    whole: bool = False


class ByteLevel:
    """A byte-level tokenizer; see `tokenizers.words.Words`.

    DataError: the table does not hold together.
    """

    def __init__(self, table: Table):
        if table.split not in SPLITS:
            raise DataError(f"split {table.split!r} is not known; {', '.join(SPLITS)} are")
        self.table = table
        self.names, of = list(table.names), unique(table.names)
        self.specials = named(table.specials, len(self.names))
        self.bos, self.eos, self.pad = table.bos, table.eos, table.pad
        self.begins = table.begins
        named({k: v for k, v in vars_of(table).items() if v is not None}, len(self.names))
        if self.begins and self.bos is None:
            raise DataError("prompts are to begin with a start token, but there is none")
        apart = set(self.specials.values()) | set(table.added.values())
        self._of = {name: i for name, i in of.items() if i not in apart}
        if missing := [letter for letter in map(chr, range(33, 127)) if letter not in self._of]:
            raise DataError(f"the vocabulary lacks {''.join(missing)!r}: it is not byte-level")
        self._spelt = [self._bytes(i, name, i in apart) for i, name in enumerate(self.names)]
        self._merges = self._paired(table.merges)
        self._start = [self._of.get(letter) for letter in BYTES]
        self._cuts = [regex.compile(pattern) for pattern in SPLITS[table.split]]
        added = sorted(named(table.added, len(self.names)), key=len, reverse=True)
        self._added = regex.compile("|".join(map(regex.escape, added))) if added else None
        self._pieces = Pieces(self._cut)

    def __reduce__(self) -> tuple[type["ByteLevel"], tuple[Table]]:
        return ByteLevel, (self.table,)

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return len(self.names)

    def _bytes(self, id: int, name: str, apart: bool) -> bytes:
        if apart:
            return name.encode()
        strange = [letter for letter in name if letter not in _BYTE_OF]
        if strange:
            raise DataError(f"id {id} is {name!r}, in which {strange[0]!r} stands for no byte")
        return bytes(_BYTE_OF[letter] for letter in name)

    def _paired(self, merges: Sequence[str]) -> dict[tuple[int, int], tuple[int, int]]:
        made: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, line in enumerate(merges):
            left, gap, right = line.partition(" ")
            parts = [self._of.get(x) for x in (left, right, left + right)]
            if not gap or any(part is None for part in parts):
                raise DataError(f"merge {rank} ({line!r}) is not of two known parts to a third")
            made.setdefault((parts[0], parts[1]), (rank, parts[2]))  # type: ignore[arg-type]
        return made

    def _cut(self, word: str) -> list[int]:
        data = word.encode()
        if self.table.whole:
            found = self._of.get("".join(BYTES[b] for b in data))
            if found is not None:
                return [found]
        known = [id for b in data if (id := self._start[b]) is not None]
        return merge(known, self._merges)

    def encode(self, text: str, where: str = "the text", follows: bool = False) -> list[int]:
        """The ids of a text; never a special token, whatever the text says.

        `follows` says that text stands directly before it; here that makes no difference.
        """
        text = readable(text, where)
        if self.table.split in COMPOSED:
            text = unicodedata.normalize("NFC", text)
        if self._added is None:
            return list(self._pieces.ids(self._words(text)))
        out, at = [], 0
        for hit in self._added.finditer(text):
            out += self._pieces.ids(self._words(text[at : hit.start()]))
            out.append(self.table.added[hit.group()])
            at = hit.end()
        return out + list(self._pieces.ids(self._words(text[at:])))

    def _words(self, text: str) -> list[str]:
        words = [text]
        for cut in self._cuts:
            words = [w for piece in words for w in cut.findall(piece)]
        return words

    def spelt(self, id: int) -> bytes:
        """The bytes of an id. DataError: there is no such id."""
        if not 0 <= id < len(self._spelt):
            raise DataError(f"id {id} is outside the vocabulary of {len(self._spelt)}")
        return self._spelt[id]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special tokens are left out, broken UTF-8 becomes U+FFFD."""
        apart = set(self.specials.values())
        data = b"".join(self.spelt(i) for i in ids if i not in apart)
        return data.decode("utf-8", errors="replace")

    def data(self) -> bytes:
        """The bytes of the table that a checkpoint keeps."""
        body = {"kind": KIND, **self.table._asdict()}
        return json.dumps(body, ensure_ascii=False, sort_keys=True).encode() + b"\n"

    def spec(self) -> dict[str, Any]:
        """What a manifest keeps."""
        return spec_of(self, KIND)


def vars_of(table: Table) -> dict[str, int | None]:
    """The ids that a table names beside its vocabulary."""
    return {"bos": table.bos, "eos": table.eos, "pad": table.pad}


def read(made: Mapping[str, Any]) -> ByteLevel:
    """The tokenizer of a table as `data` writes it.

    DataError: a value is missing, unknown, or of another type.
    """
    if set(made) != set(Table._fields):
        raise DataError(f"a table of {KIND} has the values {list(Table._fields)}, not {list(made)}")
    for key in ("names", "merges"):
        texts(made[key], key)
    for key in ("specials", "added"):
        if not isinstance(made[key], dict):
            raise DataError(f"the tokenizer's {key} are not an object")
    return ByteLevel(Table(**made))
