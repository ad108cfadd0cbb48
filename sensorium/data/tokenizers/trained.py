"""A small byte-level BPE learnt from the user's own captions, in any script.

Ids: 256 bytes, then the merges in the order they were learnt, then start, then end (the highest,
as in CLIP, so that nets that look for the highest id find the end). Nothing is ever unknown.
A word keeps the space before it, every word has one; letters with their combining marks, digits
by up to three, and everything else are learnt apart.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import regex
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, pre_tokenizers, trainers

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.bpe import BYTES, Pieces, merge
from sensorium.data.tokenizers.frame import (
    check_length,
    check_text,
    check_texts,
    fit,
    inside,
    write,
)

KIND = "trained-bpe/1"
FILE = "tokenizer.json"
MOST_BYTES = 64 * 2**20

_WORDS = regex.compile(r" ?[\p{L}\p{M}]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+")
_BYTE_OF = {letter: b for b, letter in enumerate(BYTES)}
_LETTERS = str.maketrans({chr(b): letter for b, letter in enumerate(BYTES)})


def clean(text: str, lower: bool) -> str:
    """One normal form (NFC), single spaces, no lone surrogates; lower case if asked for."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        text = unicodedata.normalize("NFC", text)
    return " ".join((text.lower() if lower else text).split())


def _words(piece: str) -> list[str]:
    return _WORDS.findall(" " + piece)


class TrainedBPE:
    """Texts to the ids of a learnt vocabulary and back; made by `train_bpe` or `read`.

    `merges` are pairs of byte strings in letters (see `bpe.BYTES`), "left right", in the order
    they were learnt. A text of more than `length` ids, start and end included, is refused, or
    with `truncate` cut so that the end token takes the last place. An empty text is [start, end];
    lone surrogates become U+FFFD; control characters are kept as bytes.
    DataError: a merge whose parts are not known before it.
    """

    pad = 0

    def __init__(
        self, merges: Sequence[str], length: int, lower: bool = True, truncate: bool = False
    ):
        self.merges = tuple(merges)
        self.length, self.lower, self.truncate = check_length(length), bool(lower), bool(truncate)
        self._table, self._spelt = _tables(self.merges)
        self.sot, self.eot = len(self._spelt), len(self._spelt) + 1
        self.vocab = self.eot + 1
        self._pieces = Pieces(self._cut)

    def __reduce__(self) -> tuple[type["TrainedBPE"], tuple[tuple[str, ...], int, bool, bool]]:
        return TrainedBPE, (self.merges, self.length, self.lower, self.truncate)

    def _cut(self, piece: str) -> Iterator[int]:
        for word in _words(piece):
            yield from merge(word.encode("utf-8"), self._table)

    def encode(self, text: str, where: str = "the text") -> list[int]:
        """Start, ids, end: at most `length`. `where` names the text in an error."""
        pieces = clean(check_text(text, where), self.lower).split()
        ids = [self.sot, *self._pieces.ids(pieces), self.eot]
        return fit(ids, self.length, self.truncate, text, where)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each; an error names the place of the text in the batch."""
        return [self.encode(t, f"text {i}") for i, t in enumerate(check_texts(texts))]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids up to the first end token: what `clean` made of the original."""
        data = b"".join(self._spelt[i] for i in inside(ids, self.sot, self.eot, self.vocab))
        return data.decode("utf-8", errors="replace").strip(" ")

    def spec(self) -> dict[str, str | int | bool]:
        """What a manifest keeps; the merges lie in the file it names, see `save`."""
        return {
            "kind": KIND,
            "file": FILE,
            "sha256": hashlib.sha256(self.data()).hexdigest(),
            "length": self.length,
            "truncate": self.truncate,
            "lower": self.lower,
            "vocab": self.vocab,
            "sot": self.sot,
            "eot": self.eot,
            "pad": self.pad,
        }

    def save(self, folder: str | Path) -> Path:
        """Write the merges into a checkpoint folder, aside first, then renamed."""
        return write(Path(folder) / FILE, self.data())

    def data(self) -> bytes:
        """The bytes of the file that `save` writes."""
        body = {"kind": KIND, "merges": list(self.merges)}
        return json.dumps(body, ensure_ascii=False, indent=0).encode("utf-8") + b"\n"


def _tables(
    merges: Sequence[str],
) -> tuple[dict[tuple[int, int], tuple[int, int]], list[bytes]]:
    of = dict(_BYTE_OF)
    spelt = [bytes([b]) for b in range(256)]
    table: dict[tuple[int, int], tuple[int, int]] = {}
    for rank, line in enumerate(merges):
        left, gap, right = line.partition(" ")
        if not gap or left not in of or right not in of or (of[left], of[right]) in table:
            raise DataError(
                f"merge {rank} ({line!r}) is not two parts that the bytes or earlier merges make, "
                "or is there twice: the table of merges is damaged"
            )
        # Two merges may spell the same string; both then make the id of the first.
        if left + right not in of:
            of[left + right] = len(spelt)
            spelt.append(spelt[of[left]] + spelt[of[right]])
        table[of[left], of[right]] = rank, of[left + right]
    return table, spelt


def train_bpe(
    texts: Iterable[str], vocab: int, length: int, lower: bool = True, truncate: bool = False
) -> TrainedBPE:
    """Learn a vocabulary of at most `vocab` ids, 258 or more, from texts; always the same one.

    Only pairs seen twice or more are learnt, so that few texts give fewer ids than asked for:
    read `vocab` off the result. Every text is read once and none is kept.
    DataError: a vocabulary below 258, a text that is not str, no word in all the texts.
    """
    if vocab < 258:
        raise DataError(f"vocab is {vocab}; 256 bytes, start and end need 258 or more")
    check_length(length)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - 2,
        min_frequency=2,
        special_tokens=[],
        initial_alphabet=list(BYTES),
        show_progress=False,
    )
    learner = RustTokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    seen = 0

    def lines() -> Iterator[str]:
        nonlocal seen
        for i, text in enumerate(texts):
            cleaned = clean(check_text(text, f"text {i}"), lower)
            words = [w for piece in cleaned.split() for w in _words(piece)]
            seen += len(words)
            yield " ".join(w.encode("utf-8").decode("latin-1").translate(_LETTERS) for w in words)

    learner.train_from_iterator(lines(), trainer)
    if not seen:
        raise DataError("no word in all the texts: there is nothing to learn a vocabulary from")
    merges = json.loads(learner.to_str())["model"]["merges"]
    return TrainedBPE([f"{left} {right}" for left, right in merges], length, lower, truncate)


def read(folder: str | Path, sha256: str, **how: Any) -> TrainedBPE:
    """The tokenizer whose merges `save` wrote into this folder.

    OSError: no such file. DataError: too large, another sha256, or not such a file.
    """
    path = Path(folder) / FILE
    with path.open("rb") as file:
        body = file.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise DataError(f"{path} has more than {MOST_BYTES} bytes: no table of merges is so large")
    found = hashlib.sha256(body).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path} is not the file of this checkpoint: its sha256 is {found}, the manifest says "
            f"{sha256}; copy the folder again"
        )
    try:
        table = json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    merges = table.get("merges") if isinstance(table, dict) and table.get("kind") == KIND else None
    if not isinstance(merges, list) or not all(isinstance(m, str) for m in merges):
        raise DataError(f"{path} is not a {KIND} file: it needs 'kind' and a list 'merges'")
    return TrainedBPE(merges, **how)
