"""CLIP's tokenizer: a lower-cased byte-level BPE of 49,408 ids with marked word ends.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
section 2.4, and its released code: for every str the ids are those of the original, except that
two kinds of text made to exhaust time are refused (see `clean`).
"""

import gzip
import hashlib
import html
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files

import ftfy
import regex

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.bpe import BYTES, PLACE, Pieces, merge
from sensorium.data.tokenizers.frame import check_length, check_text, check_texts, fit, inside

KIND = "clip-bpe/1"
TABLE = "bpe_simple_vocab_16e6.txt.gz"
SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
VOCAB, SOT, EOT, PAD = 49_408, 49_406, 49_407, 0
MOST_CHARACTERS = 100_000

_SPECIAL = {"<|startoftext|>": SOT, "<|endoftext|>": EOT}
_WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)
_SPACE = regex.compile(r"\s+")
_PLAIN = regex.compile(r"[ -%'-~‘’“”–—…]*")  # printable ASCII without &, and printers' marks
_QUOTES = str.maketrans("‘’“”", "''\"\"")
# "&amp;amp;amp;...": ftfy undoes one level a round, a second and more for some kilobytes of it.
_NESTED = regex.compile(r"(?:(?:amp|#0*38|#x0*26);){256}", regex.IGNORECASE)


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[tuple[int, int], tuple[int, int]], list[bytes]]:
    """The merges as ids, and the bytes of every id (a word's end reads as a space)."""
    packed = (files("sensorium.data.tokenizers") / "tables" / TABLE).read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if found != SHA256:
        raise DataError(
            f"the packaged vocabulary {TABLE} is damaged: its sha256 is {found}, not {SHA256}; "
            "install sensorium again"
        )
    names = [BYTES[b] for b in PLACE]
    names += [letter + "</w>" for letter in names]
    spelt = [bytes([b]) for b in PLACE]
    spelt += [b + b" " for b in spelt]
    of = {name: i for i, name in enumerate(names)}
    merges: dict[tuple[int, int], tuple[int, int]] = {}
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1 : VOCAB - 512 - 2 + 1]
    for rank, line in enumerate(lines):
        left, right = line.split()
        a, b, new = of[left], of[right], 512 + rank
        merges[a, b] = rank, new
        of[left + right] = new
        spelt.append(spelt[a] + spelt[b])
    return merges, [*spelt, b"<|startoftext|>", b"<|endoftext|>"]


_PLACE_OF = {b: i for i, b in enumerate(PLACE)}


def _cut(piece: str) -> list[int]:
    """Ids of a cleaned, lower-cased piece of text without spaces."""
    merges, _ = _tables()
    ids: list[int] = []
    for word in _WORDS.findall(piece):
        if word in _SPECIAL:
            ids.append(_SPECIAL[word])
            continue
        places = [_PLACE_OF[b] for b in word.encode("utf-8")]
        places[-1] += 256
        ids += merge(places, merges)
    return ids


def clean(text: str) -> str:
    """The original's cleaning: ftfy, HTML entities twice, single spaces, lower case.

    DataError: more than 100,000 characters, or "&amp;amp;..." nested 256 deep, where cleaning
    would take seconds to hours.
    """
    if len(text) > MOST_CHARACTERS:
        raise DataError(
            f"a text has {len(text)} characters, the limit is {MOST_CHARACTERS}; it starts "
            f"{text[:40]!r}: shorten it before it is tokenized"
        )
    # ftfy and the entities leave such text alone, but for the quotes. (None of its characters
    # can be half of garbled UTF-8 in any encoding that ftfy tries.) Spaces are split away later.
    if _PLAIN.fullmatch(text):
        return (text if text.isascii() else text.translate(_QUOTES)).lower()
    if _NESTED.search(text):
        raise DataError(
            f"the text starting {text[:40]!r} holds HTML references nested more than 255 deep "
            "(&amp;amp;...): unescape it before it is tokenized"
        )
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return _SPACE.sub(" ", text).strip().lower()


class ClipBPE:
    """Texts to CLIP's ids and back.

    A text becomes start (49406), its ids, end (49407). One of more than `length` ids is refused
    with a DataError, or, with `truncate`, cut so that the end token takes the last place, as in
    the original. As in the original, too: an empty text is [start, end]; lone surrogates become
    U+FFFD; control characters, NUL among them, vanish; the words <|startoftext|> and
    <|endoftext|> inside a text become the tokens of that name.
    """

    vocab, sot, eot, pad = VOCAB, SOT, EOT, PAD

    def __init__(self, length: int = 77, truncate: bool = False):
        self.length = check_length(length)
        self.truncate = bool(truncate)
        self._pieces = Pieces(_cut)

    def __reduce__(self) -> tuple[type["ClipBPE"], tuple[int, bool]]:
        return ClipBPE, (self.length, self.truncate)

    def encode(self, text: str, where: str = "the text") -> list[int]:
        """Start, ids, end: at most `length`. `where` names the text in an error."""
        pieces = clean(check_text(text, where)).split(" ")
        ids = [SOT, *self._pieces.ids(pieces), EOT]
        return fit(ids, self.length, self.truncate, text, where)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each; an error names the place of the text in the batch."""
        return [self.encode(t, f"text {i}") for i, t in enumerate(check_texts(texts))]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids up to the first end token, words apart by single spaces."""
        _, spelt = _tables()
        data = b"".join(spelt[i] for i in inside(ids, SOT, EOT, VOCAB))
        return data.decode("utf-8", errors="replace").strip(" ")

    def spec(self) -> dict[str, str | int | bool]:
        """What a manifest keeps, so that `tokenizers.tokenizer` builds the same one again."""
        return {
            "kind": KIND,
            "sha256": SHA256,
            "length": self.length,
            "truncate": self.truncate,
            "lower": True,
            "vocab": VOCAB,
            "sot": SOT,
            "eot": EOT,
            "pad": PAD,
        }
