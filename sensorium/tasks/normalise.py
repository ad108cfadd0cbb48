"""What two transcripts are made alike in before they are compared (Radford et al. 2022, C).

The two normalisers of the released code, versioned: a score says which one it was marked by.
Differences in case, punctuation, fillers, contractions, numbers and British spelling are no errors.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files

import regex

from sensorium.tasks.records import TaskError
from sensorium.tasks.spoken_numbers import numbers_to_digits

Normaliser = Callable[[str], str]
LETTERS = {"œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ß": "ss", "ẞ": "SS"}
LETTERS |= {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "th", "ł": "l", "Ł": "L"}
FILLERS = r"\b(hmm|mm|mhm|mmm|uh|um)\b"
WHOLE = {
    "won't": "will not",
    "can't": "can not",
    "let's": "let us",
    "ain't": "aint",
    "y'all": "you all",
    "wanna": "want to",
    "gotta": "got to",
    "gonna": "going to",
    "i'ma": "i am going to",
    "imma": "i am going to",
    "woulda": "would have",
    "coulda": "could have",
    "shoulda": "should have",
    "ma'am": "madam",
}
_TITLES = (
    "mr:mister mrs:missus st:saint dr:doctor prof:professor capt:captain gov:governor"
    " ald:alderman gen:general sen:senator rep:representative pres:president rev:reverend"
    " hon:honorable asst:assistant assoc:associate lt:lieutenant col:colonel jr:junior"
    " sr:senior esq:esquire"
)
TITLES = {short: word for short, _, word in (one.partition(":") for one in _TITLES.split())}
ENDINGS = {
    "'d been": " had been",
    "'s been": " has been",
    "'d gone": " had gone",
    "'s gone": " has gone",
    "'d done": " had done",
    "'s got": " has got",
    "n't": " not",
    "'re": " are",
    "'s": " is",
    "'d": " would",
    "'ll": " will",
    "'t": " not",
    "'ve": " have",
    "'m": " am",
}
REPLACED = [
    *((re.compile(rf"\b{one}\b"), said) for one, said in WHOLE.items()),
    *((re.compile(rf"\b{one}\b"), f"{said} ") for one, said in TITLES.items()),
    *((re.compile(rf"{one}\b"), said) for one, said in ENDINGS.items()),
]


def english(text: str) -> str:
    """Whisper's normaliser for English."""
    text = re.sub(FILLERS, "", _unbracketed(text.lower()))
    text = re.sub(r"\s+'", "'", text)
    for pattern, said in REPLACED:
        text = pattern.sub(said, text)
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = re.sub(r"\.([^0-9]|$)", r" \1", text)
    text = "".join(c if c in ".%$¢€£" else plain(c) for c in unicodedata.normalize("NFKD", text))
    words = numbers_to_digits(text).split()
    spelling = american()
    text = " ".join(spelling.get(word, word) for word in words)
    text = re.sub(r"[.$¢€£]([^0-9])", r" \1", text)
    text = re.sub(r"([^0-9])%", r"\1 ", text)
    return " ".join(text.split())


def basic(text: str) -> str:
    """Whisper's normaliser for all other languages: case, brackets, symbols; marks are kept."""
    return _basic(text, split=False)


def letters(text: str) -> str:
    """`basic`, letter by letter, for languages written without spaces: words are letters then."""
    return _basic(text, split=True)


def raw(text: str) -> str:
    """The text itself, words parted by single spaces."""
    return " ".join(text.split())


def _basic(text: str, split: bool) -> str:
    text = unicodedata.normalize("NFKC", _unbracketed(text.lower()))
    text = "".join(" " if unicodedata.category(c)[0] in "MSP" else c for c in text).lower()
    if split:
        text = " ".join(regex.findall(r"\X", text))
    return " ".join(text.split())


def _unbracketed(text: str) -> str:
    return re.sub(r"\(([^)]+?)\)", "", re.sub(r"[<\[][^>\]]*[>\]]", "", text))


def plain(letter: str) -> str:
    """A letter without its mark; a space for symbols and punctuation."""
    if letter in LETTERS:
        return LETTERS[letter]
    kind = unicodedata.category(letter)
    return "" if kind == "Mn" else " " if kind[0] in "MSP" else letter


@lru_cache(maxsize=1)
def american() -> dict[str, str]:
    """American spellings by British ones."""
    return json.loads((files("sensorium.tasks") / "spelling" / "english.json").read_text())


NORMALISERS: dict[str, Normaliser] = {
    "raw/1": raw,
    "whisper-english/1": english,
    "whisper-basic/1": basic,
    "whisper-letters/1": letters,
}
WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}


def normaliser(language: str) -> str:
    """The name of the normaliser that a language is scored by."""
    if language == "en":
        return "whisper-english/1"
    return "whisper-letters/1" if language in WITHOUT_SPACES else "whisper-basic/1"


def named(name: str) -> Normaliser:
    """The normaliser of that name.

    Raises:
        TaskError: there is none; the message lists all.
    """
    if name not in NORMALISERS:
        raise TaskError(f"no normaliser {name!r}; there are {', '.join(NORMALISERS)}")
    return NORMALISERS[name]
