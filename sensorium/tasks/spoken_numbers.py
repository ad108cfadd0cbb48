"""Numbers in words to digits, as Whisper's English normaliser writes them (Radford et al. 2022, C).

"two hundred million dollars" -> "$200000000", "nineteen fifties" -> "1950s", "double oh seven" ->
"007". What it makes of odd sequences is part of its definition: scores are compared by it.
"""

import re
from fractions import Fraction

_UNITS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_DECADES = "twenty thirty forty fifty sixty seventy eighty ninety"
_POWERS = (
    "million billion trillion quadrillion quintillion sextillion septillion octillion nonillion"
    " decillion"
)
Suffixed = dict[str, tuple[int, str]]

ZEROS = {"o", "oh", "zero"}
ONES = {name: i for i, name in enumerate(_UNITS.split(), 1)}
TENS = {name: 10 * i for i, name in enumerate(_DECADES.split(), 2)}
TIMES = {"hundred": 100, "thousand": 1000}
TIMES |= {name: 1000 ** (i + 2) for i, name in enumerate(_POWERS.split())}
ODD = {"zeroth": (0, "th"), "first": (1, "st"), "second": (2, "nd"), "third": (3, "rd")}
ODD |= {"fifth": (5, "th"), "twelfth": (12, "th")}
ONES_END: Suffixed = {
    **{("sixes" if name == "six" else f"{name}s"): (i, "s") for name, i in ONES.items()},
    **ODD,
    **{
        f"{name}{'h' if name.endswith('t') else 'th'}": (i, "th")
        for name, i in ONES.items()
        if i > 3 and i not in (5, 12)
    },
}
TENS_END: Suffixed = {
    **{name.replace("y", "ies"): (i, "s") for name, i in TENS.items()},
    **{name.replace("y", "ieth"): (i, "th") for name, i in TENS.items()},
}
TIMES_END: Suffixed = {
    **{f"{name}s": (i, "s") for name, i in TIMES.items()},
    **{f"{name}th": (i, "th") for name, i in TIMES.items()},
}
SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
MONEY = {"pound": "£", "euro": "€", "dollar": "$", "cent": "¢"}
MONEY |= {f"{name}s": sign for name, sign in MONEY.items()}
BEFORE = {*SIGNS.values(), *MONEY.values()}
SPECIAL = {"and", "double", "triple", "point"}
DECIMALS = {*ONES, *TENS, *ZEROS}
KNOWN = {*DECIMALS, *ONES_END, *TENS_END, *TIMES, *TIMES_END, *SIGNS, *MONEY, "per", "percent"}
KNOWN |= SPECIAL
DIGITS = re.compile(r"\d+(\.\d+)?")


def digits(word: str | None) -> bool:
    """Whether a word is a number in digits."""
    return word is not None and DIGITS.fullmatch(word) is not None


def fraction(value: str | int) -> Fraction | None:
    """The number that digits spell; None: none yet ("3.")."""
    try:
        return Fraction(value)
    except ValueError:
        return None


class _Numbers:
    """Reads words one by one; a number that is being said is held until it ends."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.value: int | str | None = None
        self.sign = ""

    def say(self, text: str) -> None:
        self.out.append(self.sign + text)
        self.value, self.sign = None, ""

    def flush(self) -> None:
        if self.value is not None:
            self.say(str(self.value))

    def word(self, before: str | None, word: str, after: str | None) -> bool:
        """Takes a word; True: the one after it was taken too."""
        sign = word[0] if word[0] in BEFORE else ""
        if digits(word[len(sign) :]):
            self.digits(word, sign)
        elif word not in KNOWN:
            self.flush()
            self.say(word)
        elif word in ZEROS:
            self.value = f"{self.value or ''}0"
        elif word in ONES:
            self.value = self.unit(ONES[word], before)
        elif word in ONES_END:
            number, end = ONES_END[word]
            self.say(f"{self.unit(number, before)}{end}")
        elif word in TENS:
            self.value = self.decade(TENS[word])
        elif word in TENS_END:
            number, end = TENS_END[word]
            self.say(f"{self.decade(number)}{end}")
        elif word in TIMES:
            self.value = self.times(TIMES[word])
        elif word in TIMES_END:
            self.ended(*TIMES_END[word])
        elif word in SIGNS:
            self.flush()
            if after in KNOWN or digits(after):
                self.sign = SIGNS[word]
            else:
                self.say(word)
        elif word in MONEY:
            if self.value is not None:
                self.sign = MONEY[word]
                self.flush()
            else:
                self.say(word)
        elif word in ("per", "percent"):
            return self.share(word, after)
        else:
            return self.special(before, word, after)
        return False

    def digits(self, word: str, sign: str) -> None:
        if isinstance(self.value, str) and self.value.endswith("."):
            self.value += word
            return
        self.flush()
        self.sign = sign or self.sign
        number = Fraction(word[len(sign) :])
        self.value = number.numerator if number.denominator == 1 else word[len(sign) :]

    def unit(self, number: int, before: str | None) -> int | str:
        """The held number and one below twenty."""
        value = self.value
        if value is None:
            return number
        if isinstance(value, str) or before in ONES:
            if before in TENS and number < 10:
                return f"{str(value)[:-1]}{number}"
            return f"{value}{number}"
        return value + number if value % (10 if number < 10 else 100) == 0 else f"{value}{number}"

    def decade(self, number: int) -> int | str:
        """The held number and a multiple of ten."""
        value = self.value
        if value is None:
            return number
        if isinstance(value, str) or value % 100:
            return f"{value}{number}"
        return value + number

    def times(self, by: int) -> int:
        """The held number so many times; said before, where that would be no whole number."""
        value = self.value
        if value is None:
            return by
        if isinstance(value, str) or value == 0:
            whole = fraction(value)
            if whole is not None and (whole * by).denominator == 1:
                return (whole * by).numerator
            self.flush()
            return by
        return value // 1000 * 1000 + value % 1000 * by

    def ended(self, by: int, end: str) -> None:
        """As `times`, the number ends here."""
        value = self.value
        if isinstance(value, int):
            self.say(f"{value // 1000 * 1000 + value % 1000 * by}{end}")
            return
        self.say(f"{self.times(by)}{end}")

    def share(self, word: str, after: str | None) -> bool:
        """ "per cent" and "percent" behind a number."""
        if self.value is None:
            self.say(word)
        elif word == "percent" or after == "cent":
            self.say(f"{self.value}%")
            return word == "per"
        else:
            self.flush()
            self.say(word)
        return False

    def special(self, before: str | None, word: str, after: str | None) -> bool:
        """ "and", "double", "triple", "point": inside a number they are no words."""
        if after not in KNOWN and not digits(after):
            self.flush()
            self.say(word)
        elif word == "and":
            if before not in TIMES:
                self.flush()
                self.say(word)
        elif word == "point":
            if after in DECIMALS or digits(after):
                self.value = f"{self.value or ''}."
        elif after is not None and (after in ONES or after in ZEROS):
            often = 2 if word == "double" else 3
            self.value = f"{self.value or ''}{str(ONES.get(after, 0)) * often}"
            return True
        else:
            self.flush()
            self.say(word)
        return False


def numbers_to_digits(text: str) -> str:
    """A text in lower case with its numbers in digits."""
    words = _prepared(text).split()
    reader = _Numbers()
    skip = False
    for place, word in enumerate(words):
        if skip:
            skip = False
            continue
        before = words[place - 1] if place else None
        after = words[place + 1] if place + 1 < len(words) else None
        skip = reader.word(before, word, after)
    reader.flush()
    return _finished(" ".join(reader.out))


def _prepared(text: str) -> str:
    """Halves as "point five"; letters and digits apart, but for the ends of ordinals."""
    parts = re.split(r"\band\s+a\s+half\b", text)
    out = []
    for place, part in enumerate(parts):
        if not part.strip():
            continue
        out.append(part)
        if place < len(parts) - 1:
            last = part.rsplit(maxsplit=2)[-1]
            out.append("point five" if last in DECIMALS or last in TIMES else "and a half")
    text = " ".join(out)
    text = re.sub(r"([a-z])([0-9])", r"\1 \2", text)
    text = re.sub(r"([0-9])([a-z])", r"\1 \2", text)
    return re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", text)


def _finished(text: str) -> str:
    """Cents joined to their dollars; a lone 1 as "one"."""
    text = re.sub(
        r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b",
        lambda m: f"{m.group(1)}{m.group(2)}.{int(m.group(3)):02d}",
        text,
    )
    text = re.sub(r"[€£$]0.([0-9]{1,2})\b", lambda m: f"¢{int(m.group(1))}", text)
    return re.sub(r"\b1(s?)\b", r"one\1", text)
