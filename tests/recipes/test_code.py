"""A code model trained on a folder of source, gone on with, and asked for samples."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sensorium
from sensorium.claims.programs import problem, several
from sensorium.data.errors import DataError
from sensorium.datasets.humaneval import CodingSet
from sensorium.nn.generate.loop import read as read_all
from sensorium.nn.generate.speaks import How, Request
from sensorium.recipes import code, code_texts
from sensorium.recipes.code_samples import Asking, Front, common, write_samples
from sensorium.recipes.execute import start
from sensorium.recipes.plan import plan
from sensorium.tasks.code.samples import read
from sensorium.tasks.records import TaskError
from sensorium.verbs.model import Model

FEW: dict[str, Any] = dict(size="tiny", length=64, steps=2, batch=2)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawn programs, with some that are no Python."""
    folder = tmp_path_factory.mktemp("code")
    for number, one in enumerate(several(400, (5,), held=False)):
        body = one.text.replace("def f", f"def f{number}")
        folder.joinpath(f"m{number}.py").write_text(body * 2 + f"# {number}\n")
    folder.joinpath("a.c").write_text("int main(void) { return 0; }\n")
    return folder


@pytest.fixture(scope="module")
def trained(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe."""
    table = tmp_path_factory.mktemp("table") / "all.jsonl"
    rows = [{"content": at.read_text(), "path": at.name} for at in sorted(files.iterdir())]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path_factory.mktemp("run") / "run"
    start("code.train", FEW | dict(data=str(table)), out, lambda text: None)
    return out


def test_a_run_is_planned_trained_scored_and_gone_on_with(
    trained: Path, files: Path, tmp_path: Path
) -> None:
    found = json.loads((trained / "scores.json").read_text())
    assert 0 < found["held out"]["loss"] < 10 and found["documents"]["held out"] > 5
    model = sensorium.load(trained / "checkpoint")
    assert model.words is not None and model.words.eos == 0
    made = plan(
        "code.python",
        dict(start=str(trained / "checkpoint"), data=str(files), steps=2, length=64, batch=2),
    )
    assert made["steps"] == 2
    again = start(
        "code.python",
        dict(start=str(trained / "checkpoint"), data=str(files), steps=2, length=64, batch=2),
        tmp_path / "on",
        lambda text: None,
    )
    assert 0 < again["held out"]["loss"] < 10
    with pytest.raises(ValueError, match="context"):
        start(
            "code.python",
            dict(start=str(trained / "checkpoint"), data=str(files), length=128),
            tmp_path / "no",
            lambda text: None,
        )


def test_masks_keep_documents_apart_and_change_nothing_else(trained: Path) -> None:
    """With masks each document is read as if alone."""
    model = sensorium.load(trained / "checkpoint")
    words = model.words
    assert words is not None
    parts = [[*words.encode(text), 0] for text in ("a = 1\n", "b = 2\n")]
    item = code.Sample(tuple(i for one in parts for i in one), sum(map(len, parts)))
    apart = code.Collated(code.Look(code.Fim(), 64, True), words)([item])  # type: ignore[arg-type]
    assert apart.text.lengths.tolist() == [len(one) for one in parts]
    whole = code.Collated(code.Look(code.Fim(), 64, False), words)([item])  # type: ignore[arg-type]
    assert whole.text.lengths.tolist() == [len(item.ids)]
    assert torch.equal(apart.text.ids, whole.text.ids)


def test_held_out_texts_are_the_same_share_whatever_the_order(files: Path) -> None:
    every = list(code_texts.documents(str(files), ".py"))
    held = [one for one in every if code_texts.held(one)]
    assert len(every) == 400 and 8 <= len(held) <= 40
    with pytest.raises(DataError, match="does not exist"):
        list(code_texts.documents(str(files / "nothing"), None))


# --- samples ------------------------------------------------------------------------------------


def asking(**more: Any) -> Asking:
    return Asking(n=2, temperature=0.8, max_tokens=6)._replace(**more)


def problems(count: int = 3) -> CodingSet:
    drawn = several(count, (6,), held=True, least=2)
    return CodingSet([problem(one, i) for i, one in enumerate(drawn)], "drawn", "0", False)


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return sensorium.load(trained / "checkpoint")


@pytest.fixture
def wide(model: Model) -> Model:
    """Prompts of about 60 tokens do not fit into a context of 64: positions are repeated."""
    net: Any = model.net
    net.length = 512
    if net.embed.pos.shape[0] < 512:
        net.embed.pos = torch.nn.Parameter(net.embed.pos.detach().repeat(8, 1))
    return model


def test_samples_depend_on_their_problem_and_number_alone(wide: Model, tmp_path: Path) -> None:
    data = problems()
    write_samples(wide, data, asking(), tmp_path / "a.jsonl", rows=48)
    write_samples(wide, data, asking(), tmp_path / "b.jsonl", rows=1)
    one, other = (read(tmp_path / name, data.problems) for name in ("a.jsonl", "b.jsonl"))
    assert one == other and len(one) == 6
    fewer = problems(2)
    write_samples(wide, fewer, asking(), tmp_path / "c.jsonl")
    assert read(tmp_path / "c.jsonl", fewer.problems) == one[:4]


def test_a_run_that_was_stopped_goes_on_and_other_settings_are_refused(
    wide: Model, tmp_path: Path
) -> None:
    data, at = problems(), tmp_path / "a.jsonl"
    told: list[int] = []
    write_samples(wide, data, asking(), at, rows=2, progress=lambda done, of: told.append(done))
    whole = at.read_bytes()
    assert told == [2, 4, 6]
    lines = whole.splitlines(keepends=True)
    at.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # a torn line, too
    told.clear()
    write_samples(wide, data, asking(), at, rows=2, progress=lambda done, of: told.append(done))
    assert at.read_bytes() == whole and told == [5, 6]
    with pytest.raises(TaskError, match="temperature"):
        write_samples(wide, data, asking(temperature=0.5), at)
    at.write_text('{"task_id": "drawn/0", "completion": ""}\n')
    with pytest.raises(TaskError, match="line 1"):
        write_samples(wide, data, asking(), at)


def test_a_line_says_its_settings_and_stops_are_left_out(wide: Model, tmp_path: Path) -> None:
    data, at = problems(1), tmp_path / "a.jsonl"
    found = write_samples(wide, data, asking(temperature=0.0, n=1), at)
    row = json.loads(at.read_text())
    assert row["settings"]["temperature"] == 0.0 and row["settings"]["data"] == "drawn"
    assert row["end"] in ("length", "stop", "end") and found["ends"] == {row["end"]: 1}
    assert "\ndef" not in row["completion"] and row["tokens"] <= 6
    ast.parse(data.problems[0].reference)


def test_what_prompts_share_is_read_once_and_gives_the_same(wide: Model) -> None:

    net: Any = wide.net
    shared = tuple(range(20, 40))
    prompts = [(*shared, 50, 51), (*shared, 60), (*shared, 50, 51)]
    assert common(prompts) == 20 and common([(1, 2), (1, 2)]) == 1 and common([]) == 0
    requests = [Request(ids, How(4)) for ids in prompts]
    front = Front(net, prompts)
    assert front.cache is not None
    slow, fast = read_all(net, requests).scores, front.read(requests).scores
    assert float((slow - fast).abs().max()) < 1e-4
