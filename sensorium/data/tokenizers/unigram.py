"""SentencePiece's unigram tokenizer (Kudo 2018), as T5 uses it: the likeliest cut into pieces.

Texts are prepared (characters made alike by a table, spaces joined and marked "▁") and cut by the
`tokenizers` library, from the parts that a published file names; parts not known here are refused.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.words import named, readable, scored, unique
from sensorium.data.tokenizers.words import spec as spec_of

KIND = "unigram/1"
SPACE = "▁"
SPACES = " {2,}"
HIDDEN = "\x00"  # before special tokens' names: no prepared text holds it


class Table(NamedTuple):
    """What a tokenizer is made of.

    Attributes:
        names: of every id.
        scores: log-probabilities of the pieces.
        unk: the id of what cannot be cut.
        specials: special tokens, which no text becomes.
        prepare, cut: a tokenizer.json's "normalizer" and "pre_tokenizer", or None.
    """

    names: Sequence[str]
    scores: Sequence[float]
    unk: int
    specials: Mapping[str, int]
    bos: int | None
    eos: int | None
    pad: int | None
    prepare: Mapping[str, Any] | None
    cut: Mapping[str, Any] | None


class Unigram:
    """A unigram tokenizer; see `tokenizers.words.Words`.

    DataError: the table does not hold together, or names a part that is not known here.
    """

    begins = False

    def __init__(self, table: Table):
        self.table = table
        self.names = list(table.names)
        unique(self.names)
        if len(table.scores) != len(self.names):
            raise DataError(f"{len(table.scores)} scores for {len(self.names)} names")
        self.specials = named(table.specials, len(self.names))
        ids = {"bos": table.bos, "eos": table.eos, "pad": table.pad, "unk": table.unk}
        named({name: id for name, id in ids.items() if id is not None}, len(self.names))
        self.bos, self.eos, self.pad = table.bos, table.eos, table.pad
        apart = set(self.specials.values()) - {table.unk}
        shown = [HIDDEN + name if i in apart else name for i, name in enumerate(self.names)]
        pairs = list(zip(shown, map(float, table.scores), strict=True))
        self._made = Tokenizer(models.Unigram(pairs, table.unk, False))
        if table.prepare is not None:
            self._made.normalizer = prepares(table.prepare)  # type: ignore[assignment]
        if table.cut is not None:
            self._made.pre_tokenizer = cuts(table.cut)  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type["Unigram"], tuple[Table]]:
        return Unigram, (self.table,)

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return len(self.names)

    def encode(self, text: str, where: str = "the text", follows: bool = False) -> list[int]:
        """The ids of a text; never a special token but the unknown one, whatever the text says."""
        sound = readable(text, where).replace(HIDDEN, "")
        return self._made.encode(sound, add_special_tokens=False).ids

    def spelt(self, id: int) -> bytes:
        """The bytes of an id. DataError: there is no such id."""
        if not 0 <= id < len(self.names):
            raise DataError(f"id {id} is outside the vocabulary of {len(self.names)}")
        return self.names[id].replace(SPACE, " ").encode()

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, without the space in front; special ones are left out."""
        apart = set(self.specials.values())
        text = b"".join(self.spelt(i) for i in ids if i not in apart).decode()
        return text.removeprefix(" ")

    def data(self) -> bytes:
        """The bytes of the table that a checkpoint keeps."""
        body = {"kind": KIND, **self.table._asdict()}
        return json.dumps(body, ensure_ascii=False, sort_keys=True).encode() + b"\n"

    def spec(self) -> dict[str, Any]:
        """What a manifest keeps."""
        return spec_of(self, KIND)


def prepares(part: Any) -> normalizers.Normalizer:
    """A tokenizer.json's "normalizer". DataError: it is of a kind that is not known here."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "Sequence":
        return normalizers.Sequence([prepares(one) for one in part.get("normalizers", ())])
    if kind == "Precompiled":
        return normalizers.Precompiled(alike(part.get("precompiled_charsmap")))
    if kind == "Strip":
        return normalizers.Strip(part.get("strip_left") is True, part.get("strip_right") is True)
    if kind == "Replace" and isinstance(part.get("content"), str):
        pattern = part.get("pattern")
        if pattern == {"Regex": SPACES}:
            return normalizers.Replace(Regex(SPACES), part["content"])
        if isinstance(pattern, Mapping) and isinstance(pattern.get("String"), str):
            return normalizers.Replace(pattern["String"], part["content"])
    if kind in ("NFC", "NFKC"):
        return normalizers.NFC() if kind == "NFC" else normalizers.NFKC()
    raise DataError(f"it prepares texts in a way that is not known here: {json.dumps(part)[:200]}")


def cuts(part: Any) -> pre_tokenizers.PreTokenizer:
    """A tokenizer.json's "pre_tokenizer". DataError: it is of a kind that is not known here."""
    if not isinstance(part, Mapping):
        raise DataError(f"it cuts texts in a way that is not known here: {part!r:.200}")
    kind, scheme = part.get("type"), part.get("prepend_scheme", "always")
    if kind == "Sequence":
        return pre_tokenizers.Sequence([cuts(one) for one in part.get("pretokenizers", ())])
    if kind == "WhitespaceSplit":
        return pre_tokenizers.WhitespaceSplit()
    plain = part.get("replacement") == SPACE and part.get("add_prefix_space", True) is True
    if kind == "Metaspace" and plain and scheme in ("always", "first", "never"):
        return pre_tokenizers.Metaspace(SPACE, scheme, part.get("split", True) is True)
    raise DataError(f"it cuts texts in a way that is not known here: {json.dumps(part)[:200]}")


def alike(table: Any) -> bytes:
    """SentencePiece's table of characters that are made alike: a trie and the texts it leads to.

    DataError: it is not one.
    """
    try:
        data = base64.b64decode(table, validate=True)
        data[4 + int.from_bytes(data[:4], "little") :].decode()
    except (ValueError, TypeError) as wrong:
        raise DataError(
            f"the table of characters that are made alike is damaged: {wrong}"
        ) from None
    size = int.from_bytes(data[:4], "little")
    if len(data) < 8 or size % 4 or size > len(data) - 4:
        raise DataError("the table of characters that are made alike is cut off")
    return data


def read(made: Mapping[str, Any]) -> Unigram:
    """The tokenizer of a table as `data` writes it.

    DataError: a value is missing, unknown, or of another type.
    """
    return Unigram(Table(**scored(made, Table._fields, KIND)))
