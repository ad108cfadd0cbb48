"""What the command line refuses before it starts: one line that says what to do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.cli import asked, main, names
from sensorium.recipes.execute import refuse_damaged, refuse_odd
from sensorium.recipes.find import arguments, checked, recipe, recipes
from sensorium.verbs.save import save_array
from sensorium.weights import folder as folders


def failed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("sensorium: ") and "Errno" not in said
    return said


def test_labels_come_from_a_list_or_a_file_in_any_editors_utf8(tmp_path: Path) -> None:
    assert names("red, green,,") == ["red", "green"]
    (tmp_path / "labels.txt").write_bytes("\ufeffred, dark\r\ngreen\r\n\r\n".encode())
    assert names(str(tmp_path / "labels.txt")) == ["red, dark", "green"]
    assert names("a" * 5000 + ",b")[1] == "b"


def test_labels_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    for said in (tmp_path / "none.txt", "labels.txt", tmp_path):
        with pytest.raises(ValueError, match="no such file of labels"):
            names(str(said))
    with pytest.raises(ValueError, match="names nothing"):
        names(" , ,")
    (tmp_path / "labels.txt").write_bytes("red\ngreen".encode("utf-16"))
    with pytest.raises(ValueError, match="UTF-8"):
        names(str(tmp_path / "labels.txt"))


def test_where_vectors_go_is_known_before_the_model_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.npy").mkdir()
    for out in (tmp_path / "no" / "v.npy", tmp_path / "d.npy", tmp_path / "v.txt"):
        said = failed(capsys, "embed", "nowhere", "--texts", "a", "--out", out)
        assert str(out) in said and "nowhere" not in said
    said = failed(capsys, "embed", "nowhere", "--texts", "a", " ", "--out", tmp_path / "v.npy")
    assert "text 2 is empty" in said
    with pytest.raises(ValueError, match="folder"):
        save_array(tmp_path / "d.npy", np.zeros(3))
    assert [path.name for path in tmp_path.iterdir()] == ["d.npy"]


def test_where_records_go_is_known_before_the_model_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failed(capsys, "evaluate", "nowhere", "retrieval", "--records", tmp_path)
    assert str(tmp_path) in said


@pytest.mark.parametrize(
    "words",
    [
        ("embed", "m", "--out", "v.npy"),
        ("embed", "m", "--out", "v.npy", "--texts", "a", "--images", "b"),
        ("models", "clip", "ViT-B/32", "more"),
    ],
)
def test_wrong_words_exit_with_2(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 2


@pytest.mark.parametrize(
    "given",
    [
        {"steps": 0},
        {"batch": -8},
        {"slices": 0},
        {"slices": -1},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"lr": -1.0},
        {"seed": -1},
        {"seed": 2**70},
        {"batch": 8, "slices": 3},
    ],
    ids=str,
)
def test_numbers_with_which_nothing_is_trained(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(given)):
        refuse_odd(given)


def test_a_run_whose_arguments_were_edited_is_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = tmp_path / "run.json"
    for text in ('{"recipe": "cl', "[]", "{}", '{"recipe": "clip", "arguments": []}'):
        at.write_text(text)
        assert str(at) in failed(capsys, "resume", tmp_path)
    clip = recipe("clip")
    whole = arguments(clip, {})
    assert checked(clip, whole) == whole
    for edit in ({"zzz": 1}, {"steps": "many"}, {"steps": True}, {"precision": "fp9"}):
        with pytest.raises(ValueError, match=next(iter(edit))):
            checked(clip, whole | edit)
    with pytest.raises(ValueError, match="missing"):
        checked(clip, {})


def test_a_run_goes_into_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert "is a file" in failed(capsys, "train", "clip", "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_query_that_names_a_picture_which_is_not_there_is_no_words(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    assert asked(str(tmp_path / "a.png")) == tmp_path / "a.png"
    assert asked("two red hearts " * 1000) == "two red hearts " * 1000
    for said in ("missing.JPG", str(tmp_path)):
        with pytest.raises(ValueError, match="no such picture"):
            asked(said)


def test_a_damaged_checkpoint_is_named_with_the_one_before_it(tmp_path: Path) -> None:
    for step in (2, 4):
        at = tmp_path / "checkpoints" / f"step-{step:08d}"
        folders.save(at, {"w": torch.ones(3)}, {}, {"state/progress.json": b'{"step": 4}'})
    refuse_damaged(tmp_path)
    (at / "state" / "progress.json").write_bytes(b"xxxxxxxxxxx")
    with pytest.raises(ValueError, match=r"step-00000004 away.* from .*step-00000002"):
        refuse_damaged(tmp_path)


def test_what_needs_more_than_words_is_no_recipe() -> None:
    found = dict(recipes())
    assert {"classify", "clip", "detect", "multilingual.train"} <= found.keys()
    helpers = ("contrast", "evaluate", "execute", "finish", "plan", "regions")
    assert not [name for name in found if name.startswith(helpers)]
