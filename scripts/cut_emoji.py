"""Cut the emoji data set that travels inside the package, from published packages of drawings.

    npm pack emoji-datasource-google@16.0.0     (and the others named in PACKAGES; unpack each)
    python scripts/cut_emoji.py --packages DIR --out sensorium/datasets/emoji_data

DIR holds one folder for each name in PACKAGES, as unpacked (so DIR/emoji-datasource-google/
package.json exists). Needs Pillow and `rsvg-convert`. The same input and the same versions of
these two give the same bytes; `sources.json` records what went in.

What is kept: the base emoji (no skin tones) that Noto, Twemoji and OpenMoji all draw, less those
that are drawn exactly like another one (`same_drawing`). Sides are SIDE pixels, the background
stays transparent.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from PIL import Image
from PIL import __version__ as pillow_version

SIDE = 64
# A palette of 128 colours (alpha among them) packed as lossless WebP is smaller than lossy WebP of
# quality 75 and nearer to the original: 3 against 6 grey levels of root mean square error.
COLOURS = 128
LANGUAGES = ("en", "de", "es", "fr", "pt", "pl", "tr", "ru", "zh", "ja", "ko", "ar", "hi", "sw")
PACKAGES = {
    "emoji-datasource-google": "16.0.0",
    "emoji-datasource-twitter": "16.0.0",
    "openmoji": "17.0.0",
    "iconify-json-fluent-emoji-flat": "1.2.6",
    "lobehub-fluent-emoji-3d": "1.1.0",
    "iconify-json-emojione": "1.2.3",
    "iconify-json-fxemoji": "1.2.2",
    "cldr-annotations-full": "48.2.0",
    "cldr-annotations-derived-full": "48.2.0",
}
DRAWN_BY_ALL = ("noto", "twemoji", "openmoji")
# Territories that fly another land's flag: Heard (AU), Bouvet and Svalbard (NO), Clipperton and
# St Martin (FR), Diego Garcia (IO), Ceuta (ES), the outlying islands (US). Sark is in the source
# with a wrong picture.
FLAGS_OF_ANOTHER = {"HM", "BV", "SJ", "CP", "MF", "DG", "EA", "UM", "CQ"}


def plain(code: str) -> str:
    """The code points as the vendors' file names agree on them: no U+FE0F, small, unpadded."""
    points = [p.lstrip("0") for p in code.lower().split("-")]
    return "-".join(p for p in points if p != "fe0f")


def same_drawing(code: str) -> bool:
    """Whether the vendors draw this emoji just like another one that is kept."""
    points = [int(p, 16) for p in code.split("-")]
    if all(0x1F1E6 <= p <= 0x1F1FF for p in points):
        return "".join(chr(p - 0x1F1E6 + ord("A")) for p in points) in FLAGS_OF_ANOTHER
    child = {0x1F466, 0x1F467} & set(points[1:])
    # Families are outlines since Emoji 15.1: "man, girl" and "adult, child" are one picture, and
    # so are "family" and "two adults, child".
    return bool(child) or points == [0x1F9D1, 0x200D, 0x1F9D1, 0x200D, 0x1F9D2]


def render(svg: bytes) -> Image.Image:
    """An SVG drawing at SIDE pixels."""
    done = subprocess.run(
        ["rsvg-convert", "-w", str(SIDE), "-h", str(SIDE), "-a"],
        input=svg,
        capture_output=True,
        check=True,
    )
    return Image.open(io.BytesIO(done.stdout))


class Used:
    """Reads files, and remembers a digest of all it has read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.digests: dict[str, str] = {}

    def __call__(self, *parts: str) -> bytes:
        path = self.root.joinpath(*parts)
        data = path.read_bytes()
        self.digests[path.relative_to(self.root).as_posix()] = hashlib.sha256(data).hexdigest()
        return data

    def digest(self, package: str) -> str:
        """sha256 over the lines `sha256  path` of the files used from one package, by path."""
        lines = [
            f"{d}  {p}\n" for p, d in sorted(self.digests.items()) if p.split("/")[0] == package
        ]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


# --- one function a vendor: the pictures by plain code ------------------------------------------


def datasource(
    read: Used, package: str, folder: str, rows: list[dict]
) -> Iterator[tuple[str, Image.Image]]:
    """PNG files of 64 pixels, named as the table says."""
    for row in rows:
        if row[f"has_img_{folder}"]:
            data = read(package, "img", folder, "64", row["image"])
            yield plain(row["unified"]), Image.open(io.BytesIO(data))


def openmoji(read: Used, rows: list[dict]) -> Iterator[tuple[str, Image.Image]]:
    """SVG files, named by code points with U+FE0F here and there."""
    folder = ("openmoji", "color", "svg")
    files = {plain(p.stem): p.name for p in read.root.joinpath(*folder).glob("*.svg")}
    for row in rows:
        name = files.get(plain(row["unified"]))
        if name is not None:
            yield plain(row["unified"]), render(read(*folder, name))


def iconify(
    read: Used, package: str, named: Callable[[dict], Iterable[str | None]], rows: list[dict]
) -> Iterator[tuple[str, Image.Image]]:
    """One JSON with the bodies of SVG drawings by name; `named` guesses the names of a row."""
    icons = json.loads(read(package, "icons.json"))
    aliases = icons.get("aliases", {})
    known = {squeeze(name): name for name in [*aliases, *icons["icons"]]}
    for row in rows:
        names = [known[squeeze(n)] for n in named(row) if n and squeeze(n) in known]
        if names:
            icon = icons["icons"][aliases.get(names[0], {}).get("parent", names[0])]
            w, h = icon.get("width", icons["width"]), icon.get("height", icons["height"])
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" '
                'xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {w} {h}">{icon["body"]}</svg>'
            )
            yield plain(row["unified"]), render(svg.encode())


def squeeze(name: str) -> str:
    """A name as small ASCII letters and digits alone."""
    ascii_name = unicodedata.normalize("NFKD", name.replace("&", "and")).encode("ascii", "ignore")
    return re.sub(r"[^a-z0-9]", "", ascii_name.decode().lower())


def fluent(read: Used, rows: list[dict]) -> Iterator[tuple[str, Image.Image]]:
    """Microsoft's flat drawings; the package has a table from code points to names."""
    package = "iconify-json-fluent-emoji-flat"
    names = {plain(code): name for code, name in json.loads(read(package, "chars.json")).items()}
    return iconify(read, package, lambda row: [names.get(plain(row["unified"]))], rows)


def emojione(read: Used, rows: list[dict]) -> Iterator[tuple[str, Image.Image]]:
    """EmojiOne 2, named by the CLDR short names of its day."""
    short = {code: name for code, (name, _) in texts(read, "en", rows).items()}

    def named(row: dict) -> list[str | None]:
        name = short[plain(row["unified"])]
        return [name, name.replace("flag: ", "flag for "), row["name"]]

    # The game under "cricket", and "up button" for "UP! button".
    rows = [row for row in rows if plain(row["unified"]) not in {"1f997", "1f199"}]
    return iconify(read, "iconify-json-emojione", named, rows)


def fxemoji(read: Used, rows: list[dict]) -> Iterator[tuple[str, Image.Image]]:
    """Firefox OS emoji, named by Unicode's names of the characters."""
    # A piano under "keyboard", a face under "kiss", and a tram car that comes out black.
    rows = [row for row in rows if plain(row["unified"]) not in {"2328", "1f48f", "1f68b"}]
    return iconify(read, "iconify-json-fxemoji", lambda row: [row["name"]], rows)


def fluent3d(read: Used, rows: list[dict]) -> Iterator[tuple[str, Image.Image]]:
    """WebP files of 256 pixels. Flags of lands are left out: they are not Microsoft's drawings."""
    folder = ("lobehub-fluent-emoji-3d", "assets")
    files = {plain(p.stem): p.name for p in read.root.joinpath(*folder).glob("*.webp")}
    for row in rows:
        name = files.get(plain(row["unified"]))
        if name is not None and row["subcategory"] not in {"country-flag", "subdivision-flag"}:
            yield plain(row["unified"]), Image.open(io.BytesIO(read(*folder, name)))


# --- encoding and writing -----------------------------------------------------------------------


def encode(image: Image.Image) -> bytes:
    """A picture fitted into a square of SIDE pixels, as WebP with alpha."""
    image = image.convert("RGBA")
    if image.size != (SIDE, SIDE):
        scale = SIDE / max(image.size)
        w, h = (max(1, round(s * scale)) for s in image.size)
        # Pillow weighs colours by alpha only in "RGBa".
        small = image.convert("RGBa").resize((w, h), Image.Resampling.LANCZOS).convert("RGBA")
        image = Image.new("RGBA", (SIDE, SIDE))
        image.paste(small, ((SIDE - w) // 2, (SIDE - h) // 2))
    out = io.BytesIO()
    few = image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE).convert("RGBA")
    few.save(out, "WEBP", lossless=True, quality=100, method=6)
    return out.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write aside, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(data)
    os.replace(aside, path)


def zipped(pictures: dict[str, bytes]) -> bytes:
    """The pictures as an uncompressed zip in order of names, the same bytes on every machine."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        for name, data in sorted(pictures.items()):
            entry = zipfile.ZipInfo(f"{name}.webp", (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            file.writestr(entry, data)
    return out.getvalue()


def texts(read: Used, language: str, rows: list[dict]) -> dict[str, list]:
    """[short name, [keywords]] by plain code, from Unicode CLDR."""
    table: dict[str, dict] = {}
    for package, folder in (
        ("cldr-annotations-full", "annotations"),
        ("cldr-annotations-derived-full", "annotationsDerived"),
    ):
        tree = json.loads(read(package, folder, language, "annotations.json"))[folder][
            "annotations"
        ]
        table |= {key.replace("\ufe0f", ""): value for key, value in tree.items()}
    out = {}
    for row in rows:
        found = table[character(row["unified"]).replace("\ufe0f", "")]
        (name,) = found["tts"]
        out[plain(row["unified"])] = [name, [k for k in found["default"] if k != name]]
    return out


def character(code: str) -> str:
    """The code points as text."""
    return "".join(chr(int(p, 16)) for p in code.split("-"))


FOLDERS = {
    "noto": ("Noto Emoji by Google", "Apache-2.0", "emoji-datasource-google"),
    "twemoji": ("Twemoji", "CC-BY-4.0", "emoji-datasource-twitter"),
    "openmoji": ("OpenMoji", "CC-BY-SA-4.0", "openmoji"),
    "fluent": ("Fluent Emoji, flat, by Microsoft", "MIT", "iconify-json-fluent-emoji-flat"),
    "fluent3d": ("Fluent Emoji, 3D, by Microsoft", "MIT", "lobehub-fluent-emoji-3d"),
    "emojione": ("EmojiOne 2", "CC-BY-4.0", "iconify-json-emojione"),
    "fxemoji": ("Firefox OS Emoji by Mozilla", "Apache-2.0", "iconify-json-fxemoji"),
    "cldr": ("Unicode CLDR annotations", "Unicode-3.0", "cldr-annotations-full"),
}


def readme(folder: str, sources: dict) -> str:
    """What is in a folder of the data set, where it came from, and under which licence."""
    title, licence, package = FOLDERS[folder]
    packages = [package] + (["cldr-annotations-derived-full"] if folder == "cldr" else [])
    lines = [f"# {title}", "", f"* Licence: {licence} (`LICENSE`; credits in `ATTRIBUTION`)"]
    for name in packages:
        used = sources["packages"][name]
        lines.append(
            f"* Source: the npm package `{name}` {used['version']}; sha256 over the list of the "
            f"files used: `{used['sha256_of_files_used']}`"
        )
    for name, file in sources["files"].items():
        if name.split("/")[0] == folder:
            lines.append(f"* `{name.split('/')[1]}`: {file['bytes']:,} bytes, `{file['sha256']}`")
    if folder != "cldr":
        lines.append(
            f"* {sources['pictures'][folder]:,} of {sources['emoji']:,} emoji, {SIDE} x {SIDE} "
            "pixels with alpha, named by code points without U+FE0F"
        )
    return "\n".join([*lines, "", "Cut by `scripts/cut_emoji.py`.", ""])


def main() -> None:
    """Cut, and write what was cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    read = Used(args.packages)
    for name, version in PACKAGES.items():
        found = json.loads((args.packages / name / "package.json").read_text())["version"]
        if found != version:
            sys.exit(f"{name}: version {found}, but this script was written for {version}")

    google, twitter = "emoji-datasource-google", "emoji-datasource-twitter"
    rows = sorted(json.loads(read(google, "emoji.json")), key=lambda row: row["sort_order"])
    rows = [r for r in rows if r["category"] != "Component" and not same_drawing(r["unified"])]
    vendors = {
        "noto": datasource(read, google, "google", rows),
        "twemoji": datasource(read, twitter, "twitter", rows),
        "openmoji": openmoji(read, rows),
        "fluent": fluent(read, rows),
        "fluent3d": fluent3d(read, rows),
        "emojione": emojione(read, rows),
        "fxemoji": fxemoji(read, rows),
    }
    pictures: dict[str, dict[str, bytes]] = {}
    for vendor, drawn in vendors.items():
        pictures[vendor] = {code: encode(image) for code, image in drawn}
        print(vendor, len(pictures[vendor]), file=sys.stderr)
    everywhere = set.intersection(*(set(pictures[v]) for v in DRAWN_BY_ALL))
    rows = [row for row in rows if plain(row["unified"]) in everywhere]

    files: dict[str, bytes] = {}
    for vendor, drawn in pictures.items():
        files[f"{vendor}/pictures.zip"] = zipped(
            {c: d for c, d in drawn.items() if c in everywhere}
        )
    said = {language: texts(read, language, rows) for language in LANGUAGES}
    lines = [
        {
            "code": row["unified"],
            "plain": plain(row["unified"]),
            "char": character(row["unified"]),
            "group": row["category"],
            "subgroup": row["subcategory"],
            "texts": {language: said[language][plain(row["unified"])] for language in LANGUAGES},
        }
        for row in rows
    ]
    body = "".join(
        json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines
    )
    files["cldr/texts.jsonl.gz"] = gzip.compress(body.encode(), 9, mtime=0)
    rsvg = subprocess.run(["rsvg-convert", "--version"], capture_output=True, text=True, check=True)
    sources = {
        "packages": {
            name: {"version": version, "sha256_of_files_used": read.digest(name)}
            for name, version in PACKAGES.items()
        },
        "tools": {"pillow": pillow_version, "rsvg": rsvg.stdout.split()[2]},
        "encoding": {"format": "lossless WebP", "side": SIDE, "colours": COLOURS},
        "emoji": len(rows),
        "pictures": {v: len(set(drawn) & everywhere) for v, drawn in pictures.items()},
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(files.items())
        },
    }
    for name, data in files.items():
        write(args.out / name, data)
    write(args.out / "sources.json", (json.dumps(sources, indent=1) + "\n").encode())
    for folder in FOLDERS:
        write(args.out / folder / "README.md", readme(folder, sources).encode())


if __name__ == "__main__":
    main()
