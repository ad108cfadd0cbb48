"""Drawings as pictures: SVG rendered to PNG by an installed renderer, once, and then kept.

Uses cairosvg if it is installed, else the program rsvg-convert. Neither is given a file name or
an address, so a drawing cannot make them read other files or fetch anything.
"""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, final

from sensorium.data.errors import DataError
from sensorium.datasets.files import Rows, read
from sensorium.datasets.shard_index import write_aside
from sensorium.types import Captioned

LARGEST_SVG = 16 * 2**20
SECONDS = 60


class Renderer(NamedTuple):
    """What renders: the path of a program, or "" for the package cairosvg; and its version."""

    program: str
    version: str


def renderer() -> Renderer:
    """The renderer that is installed, or an error that says what to install."""
    try:
        return Renderer("", "cairosvg " + importlib.metadata.version("cairosvg"))
    except importlib.metadata.PackageNotFoundError:
        pass
    program = shutil.which("rsvg-convert")
    if program is None:
        raise DataError(
            "rendering SVG drawings needs cairosvg (pip install cairosvg) or the program "
            "rsvg-convert (Debian: apt-get install librsvg2-bin)"
        )
    said = subprocess.run([program, "--version"], capture_output=True, check=True, timeout=SECONDS)
    return Renderer(program, said.stdout.decode().strip())


def cache_folder() -> Path:
    """Where rendered drawings are kept: $XDG_CACHE_HOME/sensorium/svg, ~/.cache without it."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "sensorium" / "svg"


@final
class Drawings(Rows[Captioned]):
    """Files below `root` with their texts; .svg is rendered when read, `side` pixels at most on
    white, into `cache`."""

    def __init__(
        self,
        root: str | Path,
        files: Sequence[str],
        texts: Sequence[tuple[str, ...]],
        tool: Renderer | None,
        side: int,
        cache: str | Path | None,
    ):
        self.root, self.files, self.ids, self.texts = str(root), files, files, texts
        self.tool, self.side = tool, side
        self.cache = cache_folder() if cache is None else Path(cache)

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, i: int) -> Captioned:
        data = read(self.root, self.files[i])
        if self.tool is not None and self.files[i].endswith(".svg"):
            data = rendered(f"{self.root}/{self.files[i]}", data, self.side, self.tool, self.cache)
        return Captioned(data, self.texts[i], self.files[i])


def rendered(where: str, svg: bytes, side: int, tool: Renderer, cache: Path) -> bytes:
    """A PNG of at most side x side pixels on white, from the cache if it is there.

    The cache's key is the drawing, the side and the renderer's version. Raises DataError for
    what cannot be rendered within a minute; OSError if the cache cannot be written.
    """
    key = hashlib.sha256(f"{tool.version}\n{side}\n".encode() + svg).hexdigest()
    kept = cache / key[:2] / f"{key}.png"
    if kept.is_file():
        return kept.read_bytes()
    if len(svg) > LARGEST_SVG:
        raise DataError(f"{where}: larger than {LARGEST_SVG >> 20} MiB, so it is not rendered")
    png = by_program(where, svg, side, tool) if tool.program else by_package(where, svg, side)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(kept) as file:
        file.write(png)
    return png


def by_program(where: str, svg: bytes, side: int, tool: Renderer) -> bytes:
    """Render with rsvg-convert, through pipes."""
    size = ["--width", str(side), "--height", str(side), "--keep-aspect-ratio"]
    command = [tool.program, *size, "--background-color", "white", "--format", "png"]
    try:
        done = subprocess.run(command, input=svg, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise DataError(f"{where}: not rendered within {SECONDS} s; leave it out") from None
    if done.returncode or not done.stdout.startswith(b"\x89PNG"):
        reason = done.stderr.decode("utf-8", "replace").strip()[:200] or "no picture came out"
        raise DataError(f"{where}: cannot be rendered: {reason}; leave it out")
    return done.stdout


def by_package(where: str, svg: bytes, side: int) -> bytes:
    """Render with cairosvg (which refuses entities and outside files unless told otherwise)."""
    import cairosvg  # type: ignore[import-not-found]

    try:
        png = cairosvg.svg2png(
            bytestring=svg, output_width=side, output_height=side, background_color="white"
        )
    except (ValueError, SyntaxError, TypeError, KeyError, AttributeError, OSError) as error:
        raise DataError(f"{where}: cannot be rendered: {error}; leave it out") from None
    return png


def held_out(name: str) -> bool:
    """Whether a file belongs to the test list: one in ten, by the SHA-256 of its name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10 == 0
