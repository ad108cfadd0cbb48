"""BERT's tokenizer: cleaned words, cut greedily into the longest pieces of a given vocabulary.

Devlin et al. 2018; the steps are those of the released `tokenization.py`, character by character,
whatever the script. The vocabulary is a user's vocab.txt or learnt (`wordpiece_train`). Texts
never make special ids: "[MASK]" in a text is characters like any others; who needs the id puts it
there.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.bpe import Pieces
from sensorium.data.tokenizers.frame import (
    check_length,
    check_text,
    check_texts,
    fit,
    inside,
    write,
)

KIND = "wordpiece/1"
FILE = "vocab.txt"
MOST_BYTES = 64 * 2**20
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CJK = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


def clean(text: str) -> str:
    """Without control characters; every kind of space as " "; CJK characters between spaces."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_cleaned, text))


def words(text: str, lower: bool) -> list[str]:
    """The words and punctuation marks of a text, before they are cut into pieces."""
    return [word for token in clean(text).split() for word in _split(token, lower)]


class WordPiece:
    """Texts to ids of a vocabulary and back: [CLS] pieces [SEP].

    A text of more than `length` ids is refused, or with `truncate` cut; [SEP] stays the last.

    Args:
        vocab: the pieces, in the order of their ids; "##" marks those that go on a word.
        lower: lower case without accents (the uncased models).
        longest_word: words of more characters are unknown. The released code says 200; the
            PyTorch code that VisualBERT, UNITER and their like were trained with, 100.
        end: whether a text ends in [SEP]; ALBEF's texts do not.

    Raises:
        DataError: the vocabulary lacks one of the special tokens.
    """

    def __init__(
        self,
        vocab: Sequence[str],
        length: int,
        lower: bool,
        truncate: bool = False,
        longest_word: int = 200,
        end: bool = True,
    ):
        self.pieces = tuple(vocab)
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        if missing := [piece for piece in SPECIAL if piece not in self._ids]:
            raise DataError(f"the vocabulary has no {', '.join(missing)}: it is not one of BERT's")
        self.length, self.lower, self.truncate = check_length(length), bool(lower), bool(truncate)
        self.longest_word, self.end = int(longest_word), bool(end)
        self.pad, self.unk, self.sot, self.eot, self.mask = (self._ids[s] for s in SPECIAL)
        self.vocab = len(self.pieces)
        self._longest = max(map(len, self.pieces))
        self._cache = Pieces(self._cut)

    def __reduce__(self) -> tuple[type["WordPiece"], tuple[Any, ...]]:
        return WordPiece, (
            *(self.pieces, self.length, self.lower, self.truncate),
            *(self.longest_word, self.end),
        )

    def ids(self, text: str, where: str = "the text") -> list[int]:
        """The ids of a text alone, without [CLS] and [SEP], of any number."""
        return list(self._cache.ids(clean(check_text(text, where)).split()))

    def encode(self, text: str, where: str = "the text") -> list[int]:
        """[CLS], ids, [SEP]: at most `length`. `where` names the text in an error."""
        ids = [self.sot, *self.ids(text, where)]
        if self.end:
            return fit([*ids, self.eot], self.length, self.truncate, text, where)
        return fit([*ids, -1], self.length + 1, self.truncate, text, where)[:-1]

    def encode_pair(
        self, first: str, second: str, where: str = "the texts"
    ) -> tuple[list[int], list[int]]:
        """[CLS] first [SEP] second [SEP] and their segments, 0 and 1.

        With `truncate` the longer of the two loses its last id until both fit.
        DataError: without `truncate`, texts that do not fit.
        """
        a, z = self.ids(first, where), self.ids(second, where)
        room = self.length - 3
        if len(a) + len(z) > room:
            if not self.truncate:
                raise DataError(
                    f"{where}: {len(a)} and {len(z)} tokens and 3 special ones, the limit is "
                    f"{self.length}. Shorten them, or build the tokenizer with truncate=True"
                )
            if room < 0:
                raise DataError(f"{where}: {self.length} ids have no room for two texts")
            while len(a) + len(z) > room:
                (a if len(a) > len(z) else z).pop()
        ids = [self.sot, *a, self.eot, *z, self.eot]
        return ids, [0] * (len(a) + 2) + [1] * (len(z) + 1)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each; an error names the place of the text in the batch."""
        return [self.encode(t, f"text {i}") for i, t in enumerate(check_texts(texts))]

    def decode(self, ids: Iterable[int]) -> str:
        """The pieces of the ids up to the first [SEP], words joined again; spaces are lost."""
        kept = [i for i in inside(ids, self.sot, self.eot, self.vocab) if i != self.pad]
        return " ".join(self.pieces[i] for i in kept).replace(" ##", "")

    def spec(self) -> dict[str, str | int | bool]:
        """What a manifest keeps; the vocabulary lies in the file it names, see `save`."""
        return {
            "kind": KIND,
            "file": FILE,
            "sha256": hashlib.sha256(self.data()).hexdigest(),
            "length": self.length,
            "truncate": self.truncate,
            "lower": self.lower,
            "longest_word": self.longest_word,
            "end": self.end,
            "vocab": self.vocab,
            "sot": self.sot,
            "eot": self.eot,
            "pad": self.pad,
        }

    def save(self, folder: str | Path) -> Path:
        """Write the vocabulary into a checkpoint folder, aside first, then renamed."""
        return write(Path(folder) / FILE, self.data())

    def data(self) -> bytes:
        """The bytes of the file that `save` writes."""
        return "".join(f"{piece}\n" for piece in self.pieces).encode("utf-8")

    def _cut(self, token: str) -> Iterator[int]:
        for word in _split(token, self.lower):
            yield from self._greedy(word)

    def _greedy(self, word: str) -> list[int]:
        """The longest piece that starts the word, then the longest that goes on, to its end."""
        if len(word) > self.longest_word:
            return [self.unk]
        out, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            for end in range(min(len(word), start + self._longest), start, -1):
                found = self._ids.get(mark + word[start:end])
                if found is not None:
                    break
            else:
                return [self.unk]
            out.append(found)
            start = end
        return out


def read_vocab(path: str | Path) -> list[str]:
    """The pieces of a vocab.txt, a line each.

    OSError: no such file. DataError: too large, not UTF-8, or empty.
    """
    with Path(path).open("rb") as file:
        body = file.read(MOST_BYTES + 1)
    return _pieces(body, str(path))


def read(folder: str | Path, sha256: str, **how: Any) -> WordPiece:
    """The tokenizer whose vocabulary `save` wrote into this folder.

    OSError: no such file. DataError: another sha256, or not a vocabulary.
    """
    path = Path(folder) / FILE
    with path.open("rb") as file:
        body = file.read(MOST_BYTES + 1)
    made = WordPiece(_pieces(body, str(path)), **how)
    found = hashlib.sha256(made.data()).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path} is not the file of this checkpoint: its sha256 is {found}, the manifest says "
            f"{sha256}; copy the folder again"
        )
    return made


def _pieces(body: bytes, where: str) -> list[str]:
    if len(body) > MOST_BYTES:
        raise DataError(f"{where} has more than {MOST_BYTES} bytes: no vocabulary is so large")
    try:
        lines = body.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text: {error}") from error
    pieces = [line.strip() for line in lines]
    while pieces and not pieces[-1]:
        pieces.pop()
    if not pieces:
        raise DataError(f"{where} is empty: a vocabulary has one piece a line")
    return pieces


def _cleaned(c: str) -> str:
    if c in "\t\n\r":
        return " "
    code, category = ord(c), unicodedata.category(c)
    if code in (0, 0xFFFD) or category in ("Cc", "Cf"):
        return ""
    if category == "Zs":
        return " "
    return f" {c} " if any(a <= code <= z for a, z in _CJK) else c


def _split(token: str, lower: bool) -> list[str]:
    """A token without spaces as words and single punctuation marks."""
    if lower:
        token = token.lower()
        if not token.isascii():
            token = unicodedata.normalize("NFD", token)
            token = "".join(c for c in token if unicodedata.category(c) != "Mn")
    if token.isalnum():
        return [token] if token.isascii() else token.split()
    return "".join(f" {c} " if _punctuation(c) else c for c in token).split()


def _punctuation(c: str) -> bool:
    if c.isascii():
        return not c.isalnum() and 33 <= ord(c) <= 126
    return unicodedata.category(c).startswith("P")
