"""How ALBEF cleans texts before they are cut into pieces (dataset/utils.py of its release)."""

import re

REMOVED = re.compile(r"""[,.'!?"()*#:;~]""")
SPACES = re.compile(r"\s{2,}")
MOST = 30  # words that are kept


def caption(text: str, most: int = MOST) -> str:
    """Lower case, without punctuation, at most so many words."""
    text = parted(text).replace("<person>", "person")
    text = SPACES.sub(" ", text).rstrip("\n").strip(" ")
    return first_words(text, most)


def question(text: str, most: int = MOST) -> str:
    """The same for questions, whose inner spaces stay as they are, and are counted as words."""
    return first_words(parted(text).rstrip(" "), most)


def parted(text: str) -> str:
    """Lower case; punctuation goes, "-" and "/" become spaces."""
    return REMOVED.sub("", text.lower()).replace("-", " ").replace("/", " ")


def first_words(text: str, most: int) -> str:
    """The first words, as single spaces part them."""
    return " ".join(text.split(" ")[:most])
