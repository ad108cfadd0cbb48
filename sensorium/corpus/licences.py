"""Which licences a project's files say it has, as SPDX identifiers, and which are permissive.

A licence is known by phrases of its text that all must be there; texts are compared as words in
lower case. A file keeps to The Stack's rule: every licence that is found for it is permissive.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

PERMISSIVE = frozenset(json.loads((Path(__file__).parent / "tables/permissive.json").read_text()))
"""What counts as permissive: of the Blue Oak list, what our packages have been seen to use."""

LARGEST = 1 << 19  # bytes of a licence file or a manifest that are read

TEXTS = re.compile(r"(?:un)?licen[cs]e|copying|copyright|mit-licen[cs]e|legal$", re.I)
MANIFESTS = ("package.json", "composer.json", "Cargo.toml", "pyproject.toml", "PKG-INFO",
             "METADATA", "DESCRIPTION", "setup.cfg")  # fmt: skip


class Rule(NamedTuple):
    """A licence and the phrases of which all, and the phrases of which none, are in its text."""

    spdx: str
    phrases: tuple[str, ...]
    without: tuple[str, ...] = ()


_BSD = "redistribution and use in source and binary forms with or without modification"
_MIT = "permission is hereby granted free of charge to any person obtaining a copy"
_ISC = "permission to use copy modify and or distribute this software for any purpose with or"
_ISC2 = "permission to use copy modify and distribute this software for any purpose with or"
_NAMES = "endorse or promote products derived from"
_KEEP = "above copyright notice and this permission notice"

RULES = (
    Rule("MIT", (_MIT, _KEEP), ("university of illinois", "x consortium shall not")),
    Rule("MIT-0", (_MIT, "without limitation the rights"), (_KEEP,)),
    Rule("X11", (_MIT, _KEEP, "x consortium shall not")),
    Rule("NCSA", (_MIT, "university of illinois", _NAMES)),
    Rule("BSD-4-Clause", (_BSD, "all advertising materials mentioning")),
    Rule("BSD-3-Clause", (_BSD, _NAMES), ("all advertising materials mentioning",)),
    Rule("BSD-2-Clause", (_BSD, "redistributions in binary form must"), (_NAMES,)),
    Rule("ISC", (_ISC, "copyright notice and this permission notice appear in all copies")),
    Rule("ISC", (_ISC2, "copyright notice and this permission notice appear in all copies")),
    Rule("0BSD", (_ISC, "author disclaims all warranties"), ("permission notice appear",)),
    Rule("Apache-2.0", ("apache license version 2 0",)),
    Rule("Apache-1.1", ("apache software license version 1 1",)),
    Rule("Zlib", ("this software is provided as is without any express or implied warranty",
                  "altered source versions must be plainly marked")),
    Rule("BSL-1.0", ("boost software license version 1 0",)),
    Rule("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    Rule("CC0-1.0", ("cc0 1 0 universal",)),
    Rule("CC0-1.0", ("creative commons legal code cc0 1 0",)),
    Rule("CC-BY-4.0", ("creative commons attribution 4 0 international",)),
    Rule("PSF-2.0", ("python software foundation license version 2",)),
    Rule("Artistic-2.0", ("the artistic license 2 0",)),
    Rule("Artistic-1.0", ("the artistic license", "preamble"), ("artistic license 2 0",)),
    Rule("PostgreSQL", ("permission to use copy modify and distribute this software and its "
                        "documentation for any purpose without fee and without a written",)),
    Rule("HPND", ("permission to use copy modify distribute and sell this software and its",)),
    Rule("HPND", ("permission to use copy modify and distribute this software and its "
                  "documentation for any purpose and without fee is hereby granted",)),
    Rule("curl", ("permission to use copy modify and distribute this software for any purpose "
                  "with or without fee is hereby granted provided that the above",
                  "shall not be used in advertising"), ("appear in all copies and that",)),
    Rule("TCL", ("existing copyright notices are retained in all copies", "restricted rights")),
    Rule("OpenSSL", ("openssl toolkit", "all advertising materials")),
    Rule("WTFPL", ("do what the fuck you want to public license",)),
    Rule("OFL-1.1", ("sil open font license version 1 1",)),
    Rule("BlueOak-1.0.0", ("blue oak model license",)),
    Rule("UPL-1.0", ("universal permissive license",)),
    Rule("Vim", ("vim license",)),
    Rule("AFL-3.0", ("academic free license", "3 0")),
    Rule("MS-PL", ("microsoft public license",)),
    Rule("Ruby", ("ruby is copyrighted free software",)),
    Rule("GPL-3.0", ("gnu general public license version 3 29 june 2007",)),
    Rule("GPL-2.0", ("gnu general public license version 2 june 1991",)),
    Rule("GPL-1.0", ("gnu general public license version 1 february 1989",)),
    Rule("LGPL-3.0", ("gnu lesser general public license version 3 29 june 2007",)),
    Rule("LGPL-2.1", ("gnu lesser general public license version 2 1 february 1999",)),
    Rule("LGPL-2.0", ("gnu library general public license version 2 june 1991",)),
    Rule("AGPL-3.0", ("gnu affero general public license version 3 19",)),
    Rule("LGPL", ("under the terms of the gnu lesser general public license",)),
    Rule("LGPL", ("under the terms of the gnu library general public license",)),
    Rule("GPL", ("under the terms of the gnu general public license",)),
    Rule("MPL-2.0", ("mozilla public license version 2 0",)),
    Rule("MPL-1.1", ("mozilla public license version 1 1",)),
    Rule("EPL-2.0", ("eclipse public license v 2 0",)),
    Rule("EPL-1.0", ("eclipse public license v 1 0",)),
    Rule("CDDL-1.0", ("common development and distribution license",)),
    Rule("EUPL-1.2", ("european union public licence",)),
    Rule("SSPL-1.0", ("server side public license",)),
    Rule("BUSL-1.1", ("business source license",)),
    Rule("CC-BY-SA-4.0", ("creative commons attribution sharealike",)),
    Rule("CC-BY-NC-4.0", ("creative commons attribution noncommercial",)),
    Rule("GFDL-1.3", ("gnu free documentation license",)),
    Rule("LicenseRef-public-domain", ("public domain",), (_BSD, _MIT, _ISC, "unencumbered", "cc0",
                                                          "general public", "apache license")),
)  # fmt: skip

LOOSE = {
    "mit": "MIT", "mit license": "MIT", "the mit license": "MIT", "expat": "MIT",
    "bsd": "LicenseRef-BSD", "bsd license": "LicenseRef-BSD", "new bsd": "BSD-3-Clause",
    "bsd_3_clause": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause", "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0", "apache software license": "Apache-2.0", "isc license": "ISC",
    "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0",
    "mit + file license": "MIT", "mit/x11": "MIT", "psf": "PSF-2.0", "public domain":
    "LicenseRef-public-domain", "python software foundation license": "PSF-2.0",
}  # fmt: skip
"""How manifests write licences that have a proper name."""

_WORDS = re.compile(r"[a-z0-9]+")
_HEADER = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n*\"'<>]{2,200})")
_GNU = re.compile(r"GNU\s+(?:Lesser\s+|Library\s+|Affero\s+)?General\s+Public\s+Licen[cs]e|"
                  r"Mozilla\s+Public\s+Licen[cs]e|Eclipse\s+Public\s+Licen[cs]e")  # fmt: skip
_MARKS = re.compile(r"[/*#;%!|]+|--+|dnl\b")


def is_licence(path: str) -> bool:
    """Whether a file may say which licence a project has: a licence text or a manifest."""
    name = path.rpartition("/")[2]
    return name in MANIFESTS or bool(TEXTS.match(name)) or name.endswith((".gemspec", ".cabal"))


def texts(content: str) -> tuple[str, ...]:
    """The licences whose texts a text holds, without their versions' order, each once."""
    said = " ".join(_WORDS.findall(content.lower()))
    found = [r.spdx for r in RULES if _fits(r, said)]
    if "LGPL-3.0" in found and "version 3 29 june 2007" in said:
        found = [f for f in found if f != "GPL-3.0" or "terms and conditions 0" in said]
    return tuple(dict.fromkeys(found))


def _fits(rule: Rule, said: str) -> bool:
    return all(p in said for p in rule.phrases) and not any(p in said for p in rule.without)


def manifest(path: str, content: str) -> str:
    """The licence expression that a manifest names; "" where it names none."""
    name = path.rpartition("/")[2]
    if name in ("package.json", "composer.json"):
        return _from_json(content)
    if name in ("Cargo.toml", "pyproject.toml"):
        match = re.search(r'^license\s*=\s*(?:\{\s*text\s*=\s*)?"([^"\n]{1,200})"', content, re.M)
    elif name.endswith(".gemspec"):
        match = re.search(r"\.licenses?\s*=\s*\[?\s*[\"']([^\"'\n]{1,80})", content)
    else:
        match = re.search(
            r"^license(?:-expression)?\s*[:=]\s*([^\n]{1,200})$", content, re.M | re.I
        )
    return match[1].strip() if match else ""


def _from_json(content: str) -> str:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    one = said.get("license", said.get("licenses", "")) if isinstance(said, dict) else ""
    if isinstance(one, dict):
        one = one.get("type", "")
    if isinstance(one, list):
        one = " OR ".join(str(o.get("type", "") if isinstance(o, dict) else o) for o in one)
    return one[:200] if isinstance(one, str) else ""


def expressed(expression: str) -> tuple[str, ...]:
    """The licences of an SPDX expression (or of what people write for one).

    Of alternatives (OR, and the slash of older Rust) the permissive ones count, where there are
    any; exceptions (WITH) are left out.
    """
    plain = expression.strip().strip("()\"',. ")
    if plain.lower() in LOOSE:
        return (LOOSE[plain.lower()],)
    options = [
        tuple(_name(p) for p in re.split(r"\s+and\s+|&", option, flags=re.I) if p.strip(" ()"))
        for option in re.split(r"\s+or\s+|\s*/\s*|\s*\|\s*", plain, flags=re.I)
        if option.strip(" ()")
    ]
    good = [option for option in options if permissive(option)]
    return tuple(dict.fromkeys(name for option in good or options for name in option))


def _name(text: str) -> str:
    text = re.split(r"\s+with\s+", text.strip(" ()\"',"), flags=re.I)[0].strip(" ()")
    return LOOSE.get(text.lower(), text)


def permissive(names: Iterable[str]) -> bool:
    """Whether there is a licence, and every one is permissive."""
    names = tuple(names)
    return bool(names) and all(name in PERMISSIVE for name in names)


def project(files: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The licences of each folder that has licence texts or a manifest ("" is the top).

    A manifest counts where its folder has no text that is known, and where it leaves a choice.
    """
    by_folder: dict[str, tuple[list[str], list[str]]] = {}
    for path, content in sorted(files.items()):
        folder, _, name = path.rpartition("/")
        said, named = by_folder.setdefault(folder, ([], []))
        if TEXTS.match(name) and name not in MANIFESTS:
            said += texts(content)
        elif one := manifest(path, content):
            named.append(one)
    found = {}
    for folder, (said, named) in by_folder.items():
        chosen = [
            e for e in named if re.search(r"\s+or\s+|/", e, re.I) and permissive(expressed(e))
        ]
        names = expressed(chosen[0]) if chosen else said or [n for e in named for n in expressed(e)]
        if names:
            found[folder] = tuple(dict.fromkeys(names))
    return found


def of_file(path: str, folders: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The licences of a file: those of all folders around it."""
    parts = path.split("/")[:-1]
    around = ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
    return tuple(dict.fromkeys(name for folder in around for name in folders.get(folder, ())))


def header(content: str) -> tuple[str, ...]:
    """The licences that a file's own head names: SPDX's line, or the name of a copyleft licence."""
    head = content[:4000]
    match = _HEADER.search(head)
    if match:
        return expressed(match[1].strip().removesuffix("-->").strip())
    match = _GNU.search(" ".join(_MARKS.sub(" ", head).split()))
    return (" ".join(match[0].split()),) if match else ()
