"""SentencePiece's BPE with byte fallback (Kudo and Richardson 2018), as LLaMA uses it.

Spaces become "▁", one is put in front, letters are joined as long as what they make is in the
vocabulary, that of the highest score first; letters that are not in it are spelt as bytes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.bpe import merge
from sensorium.data.tokenizers.words import named, readable, scored, unique
from sensorium.data.tokenizers.words import spec as spec_of

KIND = "pieces/1"
SPACE = "▁"


class Table(NamedTuple):
    """What a tokenizer is made of.

    Attributes:
        names: of every id; a byte's is "<0x0A>".
        scores: of every id; higher ones are joined first.
        specials: special tokens, which no text becomes.
        prefix: whether a space is put before a text.
    """

    names: Sequence[str]
    scores: Sequence[float]
    specials: Mapping[str, int]
    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    begins: bool = True
    prefix: bool = True


class _Joined(dict[tuple[int, int], tuple[int, int]]):
    """Pairs of ids to how late they are joined, and to what; worked out when first met."""

    def __init__(self, names: Sequence[str], of: Mapping[str, int], scores: Sequence[float]):
        super().__init__()
        rank = {score: i for i, score in enumerate(sorted(set(scores), reverse=True))}
        self.names, self.of = names, of
        self.ranks = [rank[score] for score in scores]
        self.apart: set[tuple[int, int]] = set()

    def get(self, pair: tuple[int, int], default: None = None) -> tuple[int, int] | None:  # type: ignore[override]
        if pair in self:
            return self[pair]
        if pair in self.apart:
            return None
        if len(self) + len(self.apart) > 1 << 20:
            self.clear()
            self.apart.clear()
        a, b = pair
        made = None
        if a < len(self.names) and b < len(self.names):
            made = self.of.get(self.names[a] + self.names[b])
        if made is None:
            self.apart.add(pair)
            return None
        self[pair] = self.ranks[made], made
        return self[pair]


class SentencePieces:
    """A SentencePiece BPE tokenizer; see `tokenizers.words.Words`.

    DataError: the table does not hold together.
    """

    def __init__(self, table: Table):
        self.table = table
        self.names, of = list(table.names), unique(table.names)
        if len(table.scores) != len(self.names):
            raise DataError(f"{len(table.scores)} scores for {len(self.names)} names")
        self.specials = named(table.specials, len(self.names))
        self.bos, self.eos, self.pad, self.begins = table[3:7]
        ids = {"bos": self.bos, "eos": self.eos, "pad": self.pad}
        named({name: id for name, id in ids.items() if id is not None}, len(self.names))
        if self.begins and self.bos is None:
            raise DataError("prompts are to begin with a start token, but there is none")
        byte_names = [f"<0x{b:02X}>" for b in range(256)]
        if missing := [name for name in byte_names if name not in of]:
            raise DataError(f"the vocabulary lacks {len(missing)} of the 256 bytes")
        self._bytes = [of[name] for name in byte_names]
        apart = {*self._bytes, *self.specials.values()}
        self._of = {name: i for i, name in enumerate(self.names) if i not in apart}
        self._joined = _Joined(self.names, self._of, table.scores)
        spelt = [name.replace(SPACE, " ").encode() for name in self.names]
        for b, id in enumerate(self._bytes):
            spelt[id] = bytes([b])
        self._spelt = spelt

    def __reduce__(self) -> tuple[type["SentencePieces"], tuple[Table]]:
        return SentencePieces, (self.table,)

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return len(self.names)

    def encode(self, text: str, where: str = "the text", follows: bool = False) -> list[int]:
        """The ids of a text; never a special token, whatever the text says.

        Where it `follows` other text no space is put before it.
        """
        text = readable(text, where).replace(" ", SPACE)
        if not text:
            return []
        if self.table.prefix and not follows:
            text = SPACE + text
        strange: dict[str, int] = {}
        start = []
        for letter in text:  # letters that are unknown get numbers behind the vocabulary
            id = self._of.get(letter)
            if id is None:
                id = len(self.names) + strange.setdefault(letter, len(strange))
            start.append(id)
        letters = list(strange)
        out: list[int] = []
        for id in merge(start, self._joined):
            if id < len(self.names):
                out.append(id)
            else:
                out += [self._bytes[b] for b in letters[id - len(self.names)].encode()]
        return out

    def spelt(self, id: int) -> bytes:
        """The bytes of an id. DataError: there is no such id."""
        if not 0 <= id < len(self._spelt):
            raise DataError(f"id {id} is outside the vocabulary of {len(self._spelt)}")
        return self._spelt[id]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, without the space that was put in front; special ones are left out."""
        apart = set(self.specials.values())
        data = b"".join(self.spelt(i) for i in ids if i not in apart)
        text = data.decode("utf-8", errors="replace")
        return text[1:] if self.table.prefix and text.startswith(" ") else text

    def data(self) -> bytes:
        """The bytes of the table that a checkpoint keeps."""
        body = {"kind": KIND, **self.table._asdict()}
        return json.dumps(body, ensure_ascii=False, sort_keys=True).encode() + b"\n"

    def spec(self) -> dict[str, Any]:
        """What a manifest keeps."""
        return spec_of(self, KIND)


def read(made: Mapping[str, Any]) -> SentencePieces:
    """The tokenizer of a table as `data` writes it.

    DataError: a value is missing, unknown, or of another type.
    """
    return SentencePieces(Table(**scored(made, Table._fields, KIND)))
