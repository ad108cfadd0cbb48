"""`sensorium data inspect`: what a training would learn, shown and counted before it starts."""

import json
from pathlib import Path

import pytest

from sensorium import cli
from sensorium.recipes.audit import Wanted, inspect
from sensorium.verbs.exchange import save_model
from tests.datasets.test_llava import GOOD, turns, written
from tests.verbs.test_shown import WORDS, model_of

PATCHES = 9


def quiet(done: int, total: int) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(model_of(), tmp_path_factory.mktemp("audit") / "tiny")


def test_trained_and_masked_tokens_are_counted_and_shown(folder: Path, tmp_path: Path) -> None:
    at = written(tmp_path, GOOD)
    found, lines = inspect(at, folder, None, Wanted(("a", "1")), False, quiet)
    answers = ["An <image>.", "Hello", "Bye", "2"]
    learnt = sum(len(WORDS.encode(one)) + 1 for one in answers)
    assert found["trained"] == learnt and found["padded"] == 0 and not found["refused"]
    assert found["pictures"] == 3 * PATCHES and found["template"] == "chatml"
    assert "[+An <image>.<|im_end|>+]" in lines[1] and f"<a picture, {PATCHES} tokens>" in lines[1]
    assert "[+Hello<|im_end|>+]" in lines[3] and "[+Bye<|im_end|>+]" in lines[3]
    _, coloured = inspect(at, folder, None, Wanted(("a",)), True, quiet)
    assert "\x1b[32mAn <image>.<|im_end|>\x1b[0m" in coloured[1]
    with pytest.raises(ValueError, match="'nobody'"):
        inspect(at, folder, None, Wanted(("nobody",)), False, quiet)


def test_what_would_be_refused_is_named_and_fails(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"id": "long", "conversations": turns("Tell me.", "all of it " * 99)}
    at = str(written(tmp_path, [*GOOD, long]))
    words = ["data", "inspect", at, "--checkpoint", str(folder), "--json"]
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    found = json.loads(out.splitlines()[-1])
    assert "answer 1 of 1 would be cut" in found["refused"]["long"] and "1 conversations" in err
    assert cli.main([*words, "--template", "vicuna"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(found["refused"]) == 4 and "no token of this tokenizer" in found["refused"]["a"]
