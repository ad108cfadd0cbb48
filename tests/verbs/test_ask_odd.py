"""Odd questions, pictures and region files as `sensorium ask` meets them: a line, or an answer."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.cli import main
from sensorium.data.tokenizers import WordPiece, train_wordpiece
from sensorium.datasets.region_files.record import Seen
from sensorium.datasets.region_files.tsv import butd_line
from sensorium.recipes.answerers import Wanted, answerer
from sensorium.verbs.ask import Asking
from sensorium.weights import folder as folders

WIDTH = 8  # of the regions' features
QUESTION = "is it red?"


def checkpoint(at: Path, system: str, feature: int | None = None) -> str:
    """An untrained net that answers."""
    torch.manual_seed(0)
    words: WordPiece = train_wordpiece([QUESTION, "yes no red ?"], 60, 16)
    how = answerer(system, Wanted(words.vocab, 16, 3, 32, 2, 32, 8, 128, feature))
    scores = "decoder" if system == "albef" else "softmax"
    manifest = {
        "model": how.model.spec(),
        "transform": how.look and how.look.spec,
        "tokenizer": words.spec(),
        "labels": ["yes", "no", "red"],
        "asking": Asking(how.sees, "vqa", scores).spec(),
    }
    tensors = how.model.build().state_dict()
    folders.save(at, tensors, manifest, {str(words.spec()["file"]): words.data()})
    return str(at)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("nets")
    return {
        "vilt": checkpoint(root / "vilt", "vilt"),
        "albef": checkpoint(root / "albef", "albef"),
        "crops": checkpoint(root / "crops", "uniter"),
        "features": checkpoint(root / "features", "lxmert", WIDTH),
    }


def picture(at: Path, size: tuple[int, int] = (80, 60)) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, "PNG")
    at.write_bytes(file.getvalue())
    return str(at)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["ask", *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("sensorium: ") and "Traceback" not in said
    return said


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["ask", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    shares = list(found["answers"].values())
    assert np.isfinite(shares).all() and sum(shares) == pytest.approx(1, abs=1e-4)
    return found


def test_questions(nets: dict[str, str], tmp_path: Path, capsys) -> None:
    image = picture(tmp_path / "a.png")
    for net in ("vilt", "albef"):
        assert "the question is empty" in refused(capsys, nets[net], image, " ")
        said = refused(capsys, nets[net], image, "red " * 10_000)
        assert "has 10002 tokens" in said and "reads 16: shorten it" in said and len(said) < 300
        answered(capsys, nets[net], image, "qqq zzz xxx")  # unknown words, all of them


@pytest.mark.parametrize("size", [(1, 60), (80, 1), (1, 1)])
def test_pictures_of_one_pixel(nets: dict[str, str], size, tmp_path: Path, capsys) -> None:
    image = picture(tmp_path / "thin.png", size)
    for net in ("vilt", "albef"):
        answered(capsys, nets[net], image, QUESTION, "--show", str(tmp_path / "out.png"))
    answered(capsys, nets["crops"], image, QUESTION, "--boxes", f"0,0,{size[0]},{size[1]}")


def test_boxes(nets: dict[str, str], tmp_path: Path, capsys) -> None:
    image = picture(tmp_path / "a.png")
    for box in ("5,5,5,9", "9,9,5,5", "200,0,210,9", "nan,0,9,9", "0,0,inf,9"):
        said = refused(capsys, nets["crops"], image, QUESTION, "--boxes", box)
        assert "has no area in a picture of 80 x 60 pixels" in said
    assert "four numbers" in refused(capsys, nets["crops"], image, QUESTION, "--boxes", "1,2,3")
    many = [f"{i % 70},{i % 50},{i % 70 + 9},{i % 50 + 9}" for i in range(300)]
    assert answered(capsys, nets["crops"], image, QUESTION, "--boxes", *many)["regions"] == 300


def region_file(at: Path, one: Seen) -> str:
    at.write_bytes(butd_line(one))
    beside = at.with_name(at.name + ".regions.json")
    beside.write_text(json.dumps({"kind": "tsv", "detector": "x"}))
    return str(at)


def regions(n: int = 4, width: int = WIDTH, **change: np.ndarray) -> Seen:
    rng = np.random.default_rng(n)
    low = rng.uniform(0, 30, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 20, (n, 2))], axis=1).astype(np.float32)
    one = Seen("a", (80.0, 60.0), boxes, rng.random((n, width)).astype(np.float32), "x")
    return one._replace(**change)


def test_region_files(nets: dict[str, str], tmp_path: Path) -> None:
    """In a process of its own: here type checks read a row of every file that is opened.

    A line of no boxes is an answer from the words alone, as it is in every batch.
    """
    image, net = picture(tmp_path / "a.png"), nets["features"]
    outside, flat = np.array([[70, 5, 99, 20]], "f4"), np.array([[9, 9, 9, 20]], "f4")
    nan = np.full((4, WIDTH), np.nan, "f4")
    bad = [
        (regions(features=nan), "features hold NaN or infinity (region 0)"),
        (regions(width=6), "features of width 6, the model reads 8"),
        (regions(1, boxes=outside), "a box leaves the picture of 80 x 60 by 19"),
        (regions(1, boxes=flat), "boxes have no area"),
        (regions()._replace(id="b"), "holds no regions of a picture named 'a'"),
    ]
    good = [0, 1, 300]
    files = [one for one, _ in bad] + [regions(n) for n in good]
    names = [region_file(tmp_path / f"f{i}.tsv", one) for i, one in enumerate(files)]
    names.append(str(tmp_path / "none.tsv"))
    found = several([["ask", "--json", net, image, QUESTION, "--regions", at] for at in names])
    for (code, _, said), (_, why), name in zip(found, bad, names, strict=False):
        assert code == 1 and why in said and Path(name).name in said and "Traceback" not in said
    for (code, out, said), n in zip(found[len(bad) : -1], good, strict=True):
        assert code == 0, said
        got = json.loads(out.splitlines()[-1])
        assert got["regions"] == n and sum(got["answers"].values()) == pytest.approx(1, abs=1e-4)
    assert found[-1][0] == 1 and "there is no such file" in found[-1][2]


def several(commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """(code, output, errors) of several commands."""
    program = """
import contextlib, io, json, sys
from sensorium.cli import main
found = []
for words in json.loads(sys.argv[1]):
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = main(words)
    found.append((code, out.getvalue(), said.getvalue()))
print(json.dumps(found))
"""
    words = [sys.executable, "-c", program, json.dumps(commands)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    return [tuple(one) for one in json.loads(ran.stdout)]
