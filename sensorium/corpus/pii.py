"""Personal data by pattern: e-mail addresses, IP addresses, keys and names, replaced in the text.

What counts follows StarCoder's rules (Li et al., 2023, section 3.4; bigcode-dataset's redaction):
an IP address only in the open net and no public name server, a key only where it looks random, a
name only of two words or more; values of at most three characters never. StarCoder found them with
a trained model; these are patterns, so that a name is found only beside a word that announces one
or an address: how many are found and missed is measured in docs/code_data.md.

The same value gets the same replacement within a file: <EMAIL>, <KEY>, <PASSWORD>, <NAME>, and for
addresses one of five private ones of the same family.
"""

import json
from pathlib import Path
from typing import NamedTuple

import regex

from sensorium.corpus.document import Document
from sensorium.corpus.kinds import looks_random, own_ipv4, own_ipv6, public_domain_name

FOUR = ("172.16.31.10", "172.16.58.3", "172.16.17.32", "192.168.127.12", "192.168.3.11")
SIX = (
    "fd00:c2b6:b24b:be67:2827:688d:e6a1:6a3b",
    "fd00:a516:7c1b:17cd:6d81:2137:bd2a:2c5b",
    "fc00:e968:6179::de52:7100",
    "fc00:db20:35b:7399::5",
    "fdf8:f53e:61e4::18",
)
"""The replacements of bigcode-dataset (pii/replacements.json, Apache-2.0)."""


class Span(NamedTuple):
    """A find: its place in the text and its kind (EMAIL, IP, KEY, PASSWORD, NAME)."""

    start: int
    end: int
    kind: str


EMAIL = regex.compile(
    r"(?<![\w.+%@-])([\p{L}\d][\p{L}\d._+-]*)@((?:[\p{L}\d](?:[\p{L}\d-]*[\p{L}\d])?\.)+"
    r"(\p{L}{2,24}))(?![\p{L}\d@])(?!-[\p{L}\d])"
)
USERINFO = regex.compile(r"://[^\s/@]*$")
MESSAGE = regex.compile(r"(?i)(?:message-id|references|in-reply-to|content-id)\W")

FOUR_PLACES = regex.compile(
    r"(?<![\w.:-])\d{1,3}(?:\.\d{1,3}){3}(?:(?![\w:.-]*\w)|(?=:\d{1,5}(?!\d)|\.(?:\s|$)))"
)
SIX_GROUPS = regex.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:.])")
VERSION = regex.compile(
    r"(?i)(?:versions?|release[ds]?|changes? in|revision|build|section|§|rev|clang|macos|xcode|"
    r"iso|standard|chapter|figure|table|rfc|python|pypi|oid|[<>=~^]=?|\bv)"
    r"[\W_]{0,4}(?:\w{1,12}\W{1,2})?$"
)
NETWORK = regex.compile(
    r"(?i)\b(?:ips?|ipv4|hosts?|addr\w*|remote\w*|forwarded|servers?|clients?|connect\w*|listen\w*|"
    r"bind|ping|dns|proxy|gateway|net\w*|subnet|peer|port|https?|ftp|ssh|tcp|udp|socket)\b|://|_ip\b"
)
SMALL = 31  # a quad of numbers below this reads like a version unless the line is about networks

BLOCK = regex.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(.{16,20000}?)-----END ", regex.S
)
PREFIXED = regex.compile(
    r"(?<![\w])(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,}|glpat-[\w-]{20}|"
    r"xox[abprs]-[\w-]{20,}|sk_live_\w{20,}|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}|"
    r"SG\.[\w-]{20,}\.[\w-]{40,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,})(?!\w)"
)
ASSIGNED = regex.compile(
    r"(?i)(?<![a-z])(?:[\w-]*[_-])?(?:api[_-]?key|key|secret|token|passw(?:or)?d|passwd|pwd|"
    r"credentials?|auth)[\"']?\s*(?:=>|:=|[:=])\s*[\"']?([A-Za-z0-9+/_.~-]{16,}={0,2})(?![\w(])"
)
IN_URL = regex.compile(r"://[^\s/:@\"'<>]{1,64}:([^\s/@\"'<>{}$]{8,128})@[\w.-]+\.\w")
HASHES = regex.compile(r"(?i)sha\d*|md5|hash|checksum|digest|integrity|fingerprint|bytes?\b|etag")

_WORD = (
    r"(?:\p{Lu}[\p{L}\p{M}'’-]*\.?|\p{Lu}\.(?:\p{Lu}\.)*|"
    r"(?:de|van|von|der|den|la|le|di|da|bin|al|el|dos|ter)\b)"
)
_FULL = (
    r"\p{Lu}(?:[\p{L}\p{M}'’-]*\.?|\.(?:\p{Lu}\.)*)(?:[ \t]+\(\p{Lu}\p{L}+\))?"
    rf"(?:[ \t]+{_WORD}){{1,4}}(?<![.'’-])"
)
_LIST = rf"{_FULL}(?:(?:,?[ \t]+(?:and|&)|,)[ \t]+{_FULL})*"
ANNOUNCED = regex.compile(
    r"(?:(?i:@?authors?|maintain(?:er|ed by)|written by|contribut(?:or|ed by)|patch by|"
    r"report(?:er|ed by)|thanks to|created by|by|signed-off-by|translator|copyright holder|"
    r"acked-by|reviewed-by|co-authored-by|credit)s?\b[\"']?[ \t]*[:=]{0,2}[ \t]*[\[(\"'`@]{0,2}"
    r"|(?i:copyright|\(c\)|©|&copy;)(?:[\s,:;–-]|\(c\)|(?i:by)|©|&copy;|&ndash;|\d{1,4}|present)*)"
    rf"(?P<names>{_LIST})(?![\p{{L}}\w])"
)
BESIDE = regex.compile(rf"(?P<names>{_FULL})[\"']?[ \t,]*(?:[<(\[]|&lt;)\s*(?:mailto:)?[\w.+-]+@\w")
HANDLED = regex.compile(rf"(?:@[\w-]+|`[\w-]+) \((?P<names>{_FULL})[ )]")
BETWEEN = regex.compile(r",?[ \t]+(?:and|&)[ \t]+|,[ \t]*")
NO_PERSON = frozenset(
    " ".join(
        json.loads((Path(__file__).parent / "tables/no_person.json").read_text())["words"]
    ).split()
)


def find(text: str) -> list[Span]:
    """What a text holds of personal data, in order, without overlaps.

    Where finds overlap, keys come first, then addresses, then names.
    """
    spans = [*keys(text), *emails(text), *addresses(text), *names(text)]
    kept: list[Span] = []
    for span in spans:
        if all(span.end <= one.start or one.end <= span.start for one in kept):
            kept.append(span)
    return sorted(kept)


def emails(text: str) -> list[Span]:
    """E-mail addresses that somebody could have; no URL's user, message's name or checkout."""
    found = []
    if "@" not in text:
        return found
    for match in EMAIL.finditer(text):
        before = text[max(0, match.start() - 80) : match.start()].rpartition("\n")[2]
        if not public_domain_name(match[2]) or USERINFO.search(before) or MESSAGE.search(before):
            continue
        if match[1] in ("git", "hg", "svn") and text[match.end() : match.end() + 1] in (":", "/"):
            continue
        found.append(Span(match.start(), match.end(), "EMAIL"))
    return found


def addresses(text: str) -> list[Span]:
    """IP addresses in the open net; a quad that reads like a version is none."""
    found = []
    for match in FOUR_PLACES.finditer(text):
        if own_ipv4(match[0]) and not _is_version(text, match.start(), match.end()):
            found.append(Span(match.start(), match.end(), "IP"))
    for match in SIX_GROUPS.finditer(text) if "::" in text or text.count(":") > 6 else ():
        if own_ipv6(match[0]):
            found.append(Span(match.start(), match.end(), "IP"))
    return found


def _is_version(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - 60) : start].rpartition("\n")[2]
    line = before + text[start : end + 60].partition("\n")[0]
    if "://" in before[-8:] or text[end : end + 1] == "/":
        return False
    if VERSION.search(before):
        return True
    small = all(int(part) < SMALL for part in text[start:end].split("."))
    return small and not NETWORK.search(line)


def keys(text: str) -> list[Span]:
    """Private keys, tokens of known services, random values called keys, and passwords in URLs."""
    found = []
    if "PRIVATE KEY" in text:
        found += [Span(m.start(1), m.end(1), "KEY") for m in BLOCK.finditer(text)]
    for match in PREFIXED.finditer(text):
        if "EXAMPLE" not in match[0]:
            found.append(Span(match.start(), match.end(), "KEY"))
    for match in ASSIGNED.finditer(text):
        if looks_random(match[1]) and not HASHES.search(_line(text, match.start(1))):
            found.append(Span(match.start(1), match.end(1), "KEY"))
    for match in IN_URL.finditer(text) if "://" in text else ():
        value = match[1]
        if any(c.isdigit() for c in value) and any(c.isalpha() for c in value):
            found.append(Span(match.start(1), match.end(1), "PASSWORD"))
    return found


def _line(text: str, place: int) -> str:
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    return text[start : len(text) if end < 0 else end][:1000]


def names(text: str) -> list[Span]:
    """People's names of two words or more, beside a word that announces one, or an address."""
    found = []
    for pattern in (ANNOUNCED, BESIDE, HANDLED):
        if pattern is BESIDE and "@" not in text:
            continue
        for match in pattern.finditer(text):
            start = match.start("names")
            pieces = BETWEEN.split(match["names"])
            place = start
            for piece in pieces:
                place = text.index(piece, place)
                words = regex.findall(r"[\p{L}']+", piece.lower())
                if len(words) > 1 and not NO_PERSON.intersection(words):
                    found.append(Span(place, place + len(piece), "NAME"))
                place += len(piece)
    return found


def redacted(text: str, spans: list[Span]) -> str:
    """A text with its finds replaced; all else stays as it is."""
    out: list[str] = []
    given: dict[str, str] = {}
    place = fours = sixes = 0
    for span in spans:
        value = text[span.start : span.end]
        if value not in given:
            if span.kind != "IP":
                given[value] = f"<{span.kind}>"
            elif ":" in value:
                given[value], sixes = SIX[sixes % len(SIX)], sixes + 1
            else:
                given[value], fours = FOUR[fours % len(FOUR)], fours + 1
        out += [text[place : span.start], given[value]]
        place = span.end
    return "".join([*out, text[place:]])


def redact(document: Document) -> Document:
    """The document without what was found of personal data; `hexsha` stays the original's."""
    spans = find(document.content)
    if not spans:
        return document
    return document._replace(content=redacted(document.content, spans))
