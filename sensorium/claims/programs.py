"""Small programs drawn for experiments: chains of changes to a text, told in words and as code.

As in Codex's appendix C (Chen et al. 2021), a function is a chain of simple building blocks, and
its docstring names them in order:

    def f(line):
        \"\"\"Reverse, then drop the first 2\"\"\"
        line = line[::-1]
        line = line[2:]
        return line
"""

import hashlib
import json
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from sensorium.data.tokenizers.bpe import BYTES
from sensorium.data.tokenizers.byte_level import ByteLevel, Table
from sensorium.datasets.coding import Coding

VARIABLES = ("s", "text", "line", "word", "name", "value", "given", "data")
BLOCKS = {  # a phrase, and its code; {v}: the variable, {n}: a digit, {a} and {b}: letters
    "reverse": "{v}[::-1]",
    "upper case": "{v}.upper()",
    "lower case": "{v}.lower()",
    "swap case": "{v}.swapcase()",
    "drop vowels": '"".join(c for c in {v} if c not in "aeiou")',
    "every second letter": "{v}[::2]",
    "drop the first {n}": "{v}[{n}:]",
    "drop the last {n}": "{v}[:-{n}]",
    "keep the first {n}": "{v}[:{n}]",
    "repeat {n} times": "{v} * {n}",
    "double every letter": '"".join(c * 2 for c in {v})',
    "sort letters": '"".join(sorted({v}))',
    "add the length": "{v} + str(len({v}))",
    "first letter last": "{v}[1:] + {v}[:1]",
    "{a} to {b}": '{v}.replace("{a}", "{b}")',
    "put {a} in front": '"{a}" + {v}',
}
LETTERS = "abcdefgh"
SPECIAL = ("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")
VOCAB, LENGTH, SEEN = 448, 224, 5  # one chain of SEEN is never trained on


class Program(NamedTuple):
    """A drawn function: `head` up to the docstring, `doc` in words, `body` behind it.

    A prompt ends before a newline: newline and indent are one token where code goes on.
    """

    head: str
    doc: str
    body: str
    steps: int

    @property
    def prompt(self) -> str:
        return f'{self.head}{self.doc}"""'

    @property
    def text(self) -> str:
        return f"{self.prompt}\n{self.body}"


def draw(rng: np.random.Generator, held: bool, least: int = 1, most: int = 4) -> Program:
    """A program of `least` to `most` steps; with `held` of a chain that is never trained on."""
    phrases = list(BLOCKS)
    while True:
        chain = [phrases[i] for i in rng.integers(len(phrases), size=rng.integers(least, most + 1))]
        if is_held(chain) == held:
            break
    variable = VARIABLES[rng.integers(len(VARIABLES))]
    words, lines = [], []
    for phrase in chain:
        a, b = (LETTERS[i] for i in rng.choice(len(LETTERS), 2, replace=False))
        told = {"v": variable, "n": int(rng.integers(2, 6)), "a": a, "b": b}
        words.append(phrase.format(**told))
        lines.append(f"    {variable} = {BLOCKS[phrase].format(**told)}\n")
    said = ", then ".join(words)
    body = "".join([*lines, f"    return {variable}\n"])
    head = f'def f({variable}):\n    """'
    return Program(head, f"{said[0].upper()}{said[1:]}", body, len(chain))


def is_held(chain: list[str]) -> bool:
    """Whether a chain of two steps or more is kept from training."""
    told = hashlib.sha256(" ".join(chain).encode()).digest()
    return len(chain) > 1 and told[0] % SEEN == 0


def several(count: int, seed: tuple[int, ...], held: bool, least: int = 1) -> list[Program]:
    """Programs, by a seed."""
    rng = np.random.default_rng(seed)
    return [draw(rng, held, least) for _ in range(count)]


def problem(one: Program, number: int) -> Coding:
    """A program as a problem: the tests compare it with the true one on drawn texts."""
    rng = np.random.default_rng(number)
    letters = list("abcdefghiouAEBC ")
    given = ["".join(rng.choice(letters, rng.integers(6, 12))) for _ in range(5)]
    true = f"def true{one.text.removeprefix('def f')}"
    checks = "".join(f"assert f({text!r}) == true({text!r})\n" for text in given)
    return Coding(
        id=f"drawn/{number}",
        prompt=one.prompt,
        text=one.prompt,
        entry="f",
        before=true,
        head="",
        tests=checks,
        names=("f",),
        reference=one.text,
        completes=True,
        together=False,
        cpu=0.0,
        stops=("\ndef",),
    )


@lru_cache(maxsize=1)
def words() -> ByteLevel:
    """A byte-level tokenizer learnt from drawn programs, with tokens to fill in the middle."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIAL), initial_alphabet=list(BYTES), show_progress=False
    )
    made.train_from_iterator((one.text for one in several(3000, (7,), False)), trainer)
    merges = json.loads(made.to_str())["model"]["merges"]
    names = [*SPECIAL, *BYTES, *("".join(pair) for pair in merges)]
    specials = {name: i for i, name in enumerate(SPECIAL)}
    rows = [" ".join(pair) for pair in merges]
    return ByteLevel(Table(names, rows, "gpt2", specials, eos=0, pad=4))
