"""How VQA's official evaluation reads answers: punctuation, number words, articles, contractions.

The rules are those of its code, oddities included: published scores rest on them. The table is in
`words.json` (SOURCE.md).
"""

import json
import re
from importlib.resources import files

TABLE = json.loads(files(__name__).joinpath("words.json").read_text(encoding="utf-8"))
CONTRACTIONS: dict[str, str] = TABLE["contractions"]
NUMBERS: dict[str, str] = TABLE["numbers"]
ARTICLES = frozenset(TABLE["articles"])
PUNCTUATION: tuple[str, ...] = tuple(TABLE["punctuation"])
STOP = re.compile(r"\.(?!\d)")
THOUSANDS = re.compile(r"\d,\d")
STOPS_REMOVED = 32  # of one answer: the original hands a flag (32) over where a count is taken


def stripped(answer: str) -> str:
    """What happens to every answer: line ends and tabs are blanks, none at the ends."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def normal(answer: str) -> str:
    """What happens besides where the ten answers are not all the same.

    A mark beside a blank, or any mark in an answer with a comma between digits, is taken out; other
    marks become blanks; full stops go, but before a digit. Then lower case, number words to digits
    up to ten, no articles, contractions with their apostrophe.
    """
    text = answer
    for mark in PUNCTUATION:
        beside = mark + " " in answer or " " + mark in answer
        text = text.replace(mark, "" if beside or THOUSANDS.search(answer) else " ")
    text = STOP.sub("", text, count=STOPS_REMOVED)
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)
