"""A byte-level BPE trained on a corpus, with StarCoder's special tokens at their published places.

Li et al., 2023, section 4: every digit by itself, then GPT-2's pattern, byte-level BPE with 49,152
ids of which the first 19 are special. Training is that of the package `tokenizers`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from sensorium.corpus.shards import settle
from sensorium.data.errors import DataError

SPECIAL = (
    "<|endoftext|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<filename>",
    "<gh_stars>",
    "<issue_start>",
    "<issue_comment>",
    "<issue_closed>",
    "<jupyter_start>",
    "<jupyter_text>",
    "<jupyter_code>",
    "<jupyter_output>",
    "<empty_output>",
    "<commit_before>",
    "<commit_msg>",
    "<commit_after>",
    "<reponame>",
)
"""Their ids are their places: 0 to 18."""

LEAST = len(SPECIAL) + 256
WRITTEN = Regex(
    r"<\|endoftext\|>|<(?:fim_(?:prefix|middle|suffix|pad)|filename|gh_stars|reponame)>|"
    r"<(?:issue_(?:start|comment|closed)|commit_(?:before|msg|after)|empty_output)>|"
    r"<jupyter_(?:start|text|code|output)>"
)


def train(
    texts: Iterable[str],
    vocab: int,
    progress: Callable[[int, int], None] | None = None,
    total: int = 0,
) -> Tokenizer:
    """A tokenizer of `vocab` ids learnt from texts; the same for the same texts in any order.

    Special tokens that a text spells out are not learnt from. `progress(done, total)` counts
    texts read.

    Raises DataError where `vocab` has no room for the bytes and special tokens, or texts are too
    few to fill it.
    """
    if vocab < LEAST:
        raise DataError(f"a vocabulary of {vocab} ids has no room: {LEAST} is the least")
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Replace(WRITTEN, "")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_counted(texts, progress, total), trainer)
    made.normalizer = None  # type: ignore[assignment]
    found = made.get_vocab_size()
    if found < vocab:
        raise DataError(f"the texts give only {found} ids of {vocab}; give more, or ask for fewer")
    return made


def _counted(
    texts: Iterable[str], progress: Callable[[int, int], None] | None, total: int
) -> Iterator[str]:
    for done, text in enumerate(texts, 1):
        yield text
        if progress is not None and done % 1000 == 0:
            progress(done, max(done, total))


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Writes tokenizer.json aside, then puts it in place."""
    aside = path.with_name(path.name + ".aside")
    aside.write_text(tokenizer.to_str(), encoding="utf-8")
    settle(aside, path)


def cores(count: int) -> None:
    """How many threads the package may train with; only before it has been used."""
    os.environ["RAYON_NUM_THREADS"] = str(count)
