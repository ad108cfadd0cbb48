"""The command line, from the outside: results, exit codes, one JSON object on the last line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 210), "grey": (128,) * 3}


def sensorium(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sensorium", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )


def result(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of four colours at several sizes, with a list of captions."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for i in range(40):
        name, colour = list(COLOURS.items())[i % 4]
        shade = tuple(int(c * (0.7 + 0.3 * (i // 4) / 10)) for c in colour)
        Image.new("RGB", (40 + i, 50), shade).save(folder / f"{i:02d}.jpg")
        rows.append(json.dumps({"image": f"{i:02d}.jpg", "text": f"a {name} square number {i}"}))
    (folder / "captions.jsonl").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A run of the main recipe on those pictures, three steps long."""
    out = tmp_path_factory.mktemp("run") / "run"
    words = ("--data", pictures, "--steps", 3, "--batch", 8, "--out", out, "--json")
    return result(sensorium("train", "clip", *words))


def test_training_on_your_own_pictures_gives_scores_a_checkpoint_and_a_report(
    trained: dict,
) -> None:
    assert {"R@1", "R@5", "R@10"} <= trained["scores"]["text_to_image"].keys()
    assert trained["scores"].keys() == trained["intervals"].keys()
    assert Path(trained["report"]).stat().st_size > 10_000
    assert (Path(trained["checkpoint"]) / "manifest.json").exists()


def test_a_finished_run_is_scored_again_with_the_same_numbers(trained: dict) -> None:
    again = result(sensorium("resume", trained["run"], "--json"))
    assert again["scores"] == trained["scores"]


def test_a_second_run_does_not_overwrite_the_first(trained: dict) -> None:
    done = sensorium("train", "clip", "--out", trained["run"])
    assert done.returncode == 1 and "sensorium resume" in done.stderr


def test_verify_proves_the_checkpoint_and_a_changed_byte_is_seen(
    trained: dict, tmp_path: Path
) -> None:
    found = result(sensorium("verify", trained["checkpoint"], "--json"))
    assert found["holds"] and found["largest"]["float32"] <= 1e-5
    copy = tmp_path / "renamed, with a space"
    copy.mkdir()
    for file in Path(trained["checkpoint"]).iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert result(sensorium("verify", copy, "--json"))["holds"]
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 0xFF
    weights.write_bytes(bytes(data))
    done = sensorium("verify", copy)
    assert done.returncode == 1 and "model.safetensors" in done.stderr


def test_classify_embed_and_evaluate(trained: dict, pictures: Path, tmp_path: Path) -> None:
    image, model = pictures / "00.jpg", trained["checkpoint"]
    found = result(sensorium("classify", model, image, "--labels", "red,green,blue", "--json"))
    assert sum(found[str(image)].values()) == pytest.approx(1.0, abs=1e-4)
    at = tmp_path / "vectors.npy"
    assert result(sensorium("embed", model, "--texts", "a", "b c", "--out", at, "--json"))
    vectors = np.load(at, allow_pickle=False)
    assert vectors.shape[0] == 2 and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    found = result(sensorium("evaluate", model, "retrieval", "--data", pictures, "--json"))
    assert found["queries"]["text_to_image"]["R@1"] == 40


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("fly",),
        ("train",),
        ("train", "clip", "--nonsense", "1"),
        ("train", "clip", "--steps", "x"),
    ],
    ids=["nothing", "unknown", "no recipe", "unknown flag", "not a number"],
)
def test_wrong_use_exits_with_2(words: tuple) -> None:
    assert sensorium(*words).returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "nothing"), "there are: "),
        (("resume", "nowhere"), "nowhere holds no run"),
        (("evaluate", "nowhere", "retrieval"), "nowhere"),
        (("verify", "nowhere"), "nowhere"),
        (("train", "clip", "--data", "nowhere"), "nowhere"),
        (("train", "clip", "--batch", "100000"), "lower --batch"),
        (("train", "clip", "--held-out", "apple"), "apple"),
        (("models", "perceptron"), "there are: "),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_what_cannot_be_done_exits_with_1_and_says_why(
    words: tuple, said: str, tmp_path: Path
) -> None:
    done = sensorium(*words, cwd=tmp_path)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["models", "recipes", "datasets", "doctor"])
def test_lists_are_json_when_asked(command: str) -> None:
    assert result(sensorium(command, "--json"))
