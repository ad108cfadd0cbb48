"""The Stack's languages: told by extension and name, by content only where extensions clash.

The table is StarCoder's: 86 languages with JSON and YAML, and for each extension the limits that
people set after looking at samples (Li et al., 2023, section 3; `visual_inspection.csv`). An
extension that is not in it belongs to no language.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from sensorium.corpus.document import Document, Dropped, extension

_READ = json.loads((Path(__file__).parent / "tables/languages.json").read_text())["languages"]


class Limits(NamedTuple):
    """What a file may be: longest line, least share of alphanumeric and of alphabetic characters.

    None: not tested. Where the longest line is tested, so is the mean: at most 100.
    """

    line: float | None
    alnum: float | None
    alpha: float | None


TABLE = {(lang, ext): Limits(*v) for lang, row in _READ.items() for ext, v in row.items()}
LANGUAGES = tuple(_READ)

NAMED = {
    "Dockerfile": "Dockerfile",
    "Containerfile": "Dockerfile",
    "Makefile": "Makefile",
    "makefile": "Makefile",
    "GNUmakefile": "Makefile",
    "CMakeLists.txt": "CMake",
    "Rakefile": "Ruby",
    "Gemfile": "Ruby",
    "SConstruct": "Python",
    "BUILD": "Python",
    "BUILD.bazel": "Python",
}
"""Files that are known by their whole name."""

FIRST = {
    r"python[\d.]*": "Python",
    r"(?:ba|da|z|k|a)?sh|bats": "Shell",
    r"t?csh": "Tcsh",
    r"perl[\d.]*": "Perl",
    r"ruby[\d.]*": "Ruby",
    r"node(?:js)?": "JavaScript",
    r"php[\d.]*": "PHP",
    r"lua[\d.]*|texlua": "Lua",
    r"(?:tcl|wi)sh[\d.]*": "Tcl",
    r"Rscript": "R",
    r"[gmn]?awk": "Awk",
    r"escript": "Erlang",
    r"elixir": "Elixir",
    r"make": "Makefile",
}
"""Interpreters of a first line that begins with #!, for files without an extension."""

_FIRST = [(re.compile(pattern), lang) for pattern, lang in FIRST.items()]
_SHEBANG = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+|\w+=\S*\s+)*)?([\w.+-]+)")

_CLASHES = {
    "h": [
        ("C++", re.compile(r"^\s*(?:namespace\s+\w|template\s*<|class\s+\w+[^;]*$)|\bstd::", re.M))
    ],
    "fs": [("GLSL", re.compile(r"^\s*(?:#version\s+\d|precision\s+\w+p\s)|\bgl_Frag", re.M))],
    "pl": [("Prolog", re.compile(r"^:-\s*\w|^[a-z]\w*\(.*\)\s*:-", re.M))],
    "t": [("", re.compile(r"\A(?!.*\b(?:use|my|plan|ok)\b)", re.S))],
    "ts": [("", re.compile(r"\A\s*(?:<\?xml|<!DOCTYPE TS)"))],
}
"""Extensions of several languages: the first language whose pattern is found, else the table's.
"": it is of none of them (Turing's .t, Qt's translations)."""

_BY_EXT: dict[str, str] = {}
for _lang, _ext in TABLE:
    if _ext not in ("", "1", "3", "txt", "mustache"):  # of Dockerfile and Makefile: known by name
        _BY_EXT.setdefault(_ext, _lang)
_BY_EXT["cmake"] = "CMake"


def detect(path: str, content: str) -> str:
    """The language of a file, by The Stack's name; "" where it is none of its 88.

    By the whole name, then by the extension as it is written and in lower case; a clash is settled
    by the content; a file without an extension is known by its #! line.
    """
    name = path.rpartition("/")[2]
    if name in NAMED:
        return NAMED[name]
    if name.startswith(("Dockerfile.", "Makefile.")):
        return name.partition(".")[0] if extension(path) not in ("in", "am") else "Makefile"
    ext = extension(path)
    if not ext:
        match = _SHEBANG.match(content[:200])
        found = [lang for pattern, lang in _FIRST if match and pattern.fullmatch(match[1])]
        return found[0] if found else ""
    known = ext if ext in _BY_EXT else ext.lower()
    for lang, pattern in _CLASHES.get(known, ()):
        if pattern.search(content):
            return lang
    return _BY_EXT.get(known, "")


def limits(lang: str, ext: str) -> Limits | None:
    """The limits for files of a language with an extension; None: such files are left out.

    A file that was known by its name or its content has the usual limits of its language.
    """
    for key in ((lang, ext), (lang, ext.lower()), (lang, "")):
        if key in TABLE:
            return TABLE[key]
    return USUAL if lang in LANGUAGES else None


USUAL = Limits(1000.0, 0.25, None)


def tell(document: Document, only: tuple[str, ...]) -> Document | Dropped:
    """The document with its language; dropped where that is not one of `only`."""
    lang = detect(document.path, document.content)
    if not lang:
        return Dropped("no known language", document.ext)
    if lang not in only:
        return Dropped("another language", lang)
    return document._replace(lang=lang)
