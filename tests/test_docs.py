"""The documentation is true: its commands parse, its code runs, its tables are the code's.

A block of Python runs, in the order of its page, in a folder that holds a tiny checkpoint and some
pictures; one with a title is a file of the library and is put there. Of a block of shell every
`sensorium` command must parse; after <!-- run --> it runs as well.
"""

import importlib
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium import cli
from sensorium.data.tokenizers import ClipBPE
from sensorium.media import canvas, transform
from sensorium.models.clip import TINY
from sensorium.models.layouts import LAYOUTS
from sensorium.recipes.find import recipe
from sensorium.recipes.flags import parse
from sensorium.verbs.load import load_folder
from sensorium.verbs.prove import probes_of
from sensorium.weights import folder as folders
from tests.test_layers import ALL, ALLOWED

HERE = Path(__file__).parent.parent
PAGES = [HERE / "README.md", HERE / "CONTRIBUTING.md", *sorted((HERE / "docs").glob("*.md"))]
RUN = [page for page in PAGES if re.search(r"^```python|<!-- run -->", page.read_text(), re.M)]
GROWN = ("datasets", "models", "objectives", "recipes", "tasks")
COLOURS = {
    "red": (220, 30, 30),
    "blue": (30, 60, 220),
    "green": (20, 160, 60),
    "gold": (240, 190, 0),
}


class Block(NamedTuple):
    """A fenced block: its language, title ("" where there is none), text, and whether it is run."""

    language: str
    title: str
    text: str
    run: bool


def blocks(page: Path) -> Iterator[Block]:
    fence = r"(<!-- run -->\n)?^```(\w+)(?: title=\"([^\"]*)\")?\n(.*?)^```$"
    for run, language, title, text in re.findall(fence, page.read_text(), flags=re.M | re.S):
        yield Block(language, title, text, bool(run) or language == "python")


def commands(block: Block) -> Iterator[list[str]]:
    """The words behind `sensorium` of every command of a block of shell; none of another block."""
    if block.language != "sh":
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        for one in line.split("&&"):
            words = shlex.split(one, comments=True)
            if words[:1] == ["sensorium"]:
                yield words[1:]


def picture(colour: tuple[int, int, int]) -> bytes:
    file = BytesIO()
    Image.new("RGB", (40, 40), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of few numbers that has learnt nothing, with probes."""
    at = tmp_path_factory.mktemp("docs") / "checkpoint"
    torch.manual_seed(0)
    tensors = TINY.build().state_dict()
    look, words = transform(canvas(TINY.args["image"].pixels)), ClipBPE(77)
    manifest = {"model": TINY.spec(), "transform": look.spec, "tokenizer": words.spec()}
    manifest |= {"data": "none", "licence": "Apache-2.0"}
    folders.save(at, tensors, manifest)
    pictures = [picture(colour) for colour in COLOURS.values()]
    probes = probes_of(load_folder(at), pictures, list(COLOURS), "own first run")
    return folders.save(at, tensors, manifest, probes=probes)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> Path:
    """The folder that the pages suppose: a checkpoint, captioned, sorted and named pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/clip").mkdir(parents=True)
    (tmp_path / "runs/clip/checkpoint").symlink_to(checkpoint)
    for folder in ("pictures", "named", *(f"photos/{name}" for name in COLOURS)):
        (tmp_path / folder).mkdir(parents=True)
    for (name, colour), file in zip(COLOURS.items(), "abcd", strict=True):
        (tmp_path / f"pictures/{file}.png").write_bytes(picture(colour))
        (tmp_path / f"pictures/{file}.txt").write_text(f"all {name}")
        (tmp_path / f"photos/{name}/1.png").write_bytes(picture(colour))
        for share in (4, 6, 8, 10):
            shade = picture(tuple(int(c) * share // 10 for c in colour))  # type: ignore[arg-type]
            (tmp_path / f"named/{name}-{share}.png").write_bytes(shade)
    return tmp_path


@pytest.fixture
def grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files count as modules of the library, as if they had been put there."""
    for name in GROWN:
        (tmp_path / "sensorium" / name).mkdir(parents=True)
        package = importlib.import_module(f"sensorium.{name}")
        added = str(tmp_path / "sensorium" / name)
        monkeypatch.setattr(package, "__path__", [*package.__path__, added])
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            package, _, last = name.rpartition(".")
            del sys.modules[name], vars(sys.modules[package])[last]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_what_a_page_shows_runs(page: Path, place: Path, grown: Path) -> None:
    names: dict[str, object] = {"__name__": "a_page"}
    found = list(blocks(page))
    for block in found:
        if block.title:
            (grown / block.title).write_text(block.text)
    for number, block in enumerate(found, 1):
        if block.run and block.language == "python" and not block.title:
            exec(compile(block.text, f"{page.name}, block {number}", "exec"), names)
        elif block.run:
            for words in commands(block):
                assert cli.main(words) == 0, f"{page.name}: sensorium {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_parses(page: Path) -> None:
    known = {title for b in blocks(page) for title in [Path(b.title).stem] if "recipes/" in b.title}
    for block in blocks(page):
        for words in commands(block):
            options, rest = cli.parser().parse_known_args(words)
            if options.command == "train" and options.recipe not in known:
                parse(options.recipe, recipe(options.recipe), rest)
            else:
                known_rest = not rest or options.command in ("train", "ask")
                assert known_rest, f"{page.name}: {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_nothing_is_fetched(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for link in re.findall(r"!?\[[^]]*\]\(([^)#\s]+)", text):
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    assert not re.search(r"<(script|link|iframe)\b|src=.https?:", text)


def test_the_command_line_page_is_what_the_parser_says() -> None:
    made = runpy.run_path(str(HERE / "scripts/cli_page.py"))["page"]()
    shown = (HERE / "docs/cli.md").read_text()
    assert shown == made, "docs/cli.md is out of date: python scripts/cli_page.py"


def test_the_table_of_arrows_is_the_one_that_is_enforced() -> None:
    text = (HERE / "docs/architecture.md").read_text()
    table = text.split("## Folders and arrows")[1].split("\n## ")[0]
    found = {}
    for package, may in re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", table, flags=re.M):
        named = set(re.findall(r"`(\w+)`", may))
        found[package] = ALL if may == "all" else named
        assert named or may in ("all", "nothing"), may
    assert found == ALLOWED


def test_every_page_is_in_the_contents() -> None:
    nav = (HERE / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    listed = set(re.findall(r": (\S+\.md)$", nav, flags=re.M))
    assert listed == {page.name for page in (HERE / "docs").glob("*.md")}


def test_every_folder_is_in_the_readme() -> None:
    text = (HERE / "README.md").read_text()
    for package in sorted(ALL - {"types"}):
        assert re.search(rf"^ *{package}/ ", text, flags=re.M), f"README.md does not name {package}"


def test_the_requirements_are_exact_and_hold_the_declared_bounds() -> None:
    pins = {}
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (HERE / name).read_text().splitlines():
            if line and not line.startswith(("#", "-")):
                package, equals, version = line.partition("==")
                assert equals and re.fullmatch(r"[\w.]+", version), f"{name}: {line} is not exact"
                assert package.lower() not in pins, f"{package} is pinned twice"
                pins[package.lower()] = version
    bounds = re.findall(r'"([\w-]+)>=([\w.]+)"', (HERE / "pyproject.toml").read_text())
    assert bounds
    for package, least in bounds:
        if package in pins:
            now, then = (np.array([*map(int, v.split("."))][:2]) for v in (pins[package], least))
            assert tuple(now) >= tuple(then), f"{package} {pins[package]} is below {least}"
    assert not {"torchvision", "torchaudio", "timm", "open-clip-torch"} & set(pins)


def test_every_published_layout_is_listed() -> None:
    table = (HERE / "docs/checkpoints.md").read_text()
    for layout in LAYOUTS.values():
        assert f"| `{layout.name}` | {layout.about} |" in table
