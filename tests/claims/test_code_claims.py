"""The experiments on code models at toy size, from drawn programs to page."""

import ast
from pathlib import Path
from typing import Any

import pytest

from sensorium.claims import codex, programs, starcoder
from sensorium.claims.lesson import Effort
from sensorium.claims.reproduce import SYSTEMS, measure
from sensorium.data.fim import marks, restored
from sensorium.models.gpt_bigcode import Size, gpt_bigcode

TEACH = Effort(2, 4, 1e-3)
DESIGNS: dict[str, Any] = {
    "codex": codex.FULL._replace(
        seeds=(0, 1), taught=8, test=4, problems=6, samples=10, teach=TEACH
    ),
    "starcoder": starcoder.FULL._replace(
        seeds=(0, 1), size=(16, 1, 2), taught=8, test=4, asked=2, teach=TEACH
    ),
}


@pytest.mark.parametrize("name", [pytest.param("codex", marks=pytest.mark.slow), "starcoder"])
def test_a_design_is_measured_and_written(name: str, tmp_path: Path) -> None:
    found = measure(name, DESIGNS[name], tmp_path, lambda text: None, workers=0)
    assert {v["word"] for v in found["verdicts"]} <= {"holds", "fails", "inconclusive"}
    page = (tmp_path / "README.md").read_text()
    assert all(v["claim"] in page for v in found["verdicts"]) and "{" not in page
    assert (tmp_path / "claim.png").read_bytes().startswith(b"\x89PNG")
    jobs = SYSTEMS[name][0].jobs(DESIGNS[name])
    again = SYSTEMS[name][0].work(DESIGNS[name], jobs[-1])
    assert f'"loss": {again["loss"]}' in (tmp_path / "results.jsonl").read_text().splitlines()[-1]


def test_drawn_programs_do_what_their_tests_ask_and_held_chains_are_not_drawn() -> None:
    taught = programs.several(200, (0,), held=False)
    held = programs.several(200, (1,), held=True, least=2)
    for number, one in enumerate(held[:40]):
        problem = programs.problem(one, number)
        own: dict[str, Any] = {}
        exec(compile(f"{problem.before}\n{one.text}\n{problem.tests}", "drawn", "exec"), own)
    longer = {one.doc for one in taught if one.steps > 1}
    assert longer.isdisjoint(one.doc for one in held)
    assert all(isinstance(ast.parse(one.text), ast.Module) for one in taught)
    assert {one.steps for one in held} == {2, 3, 4}


def test_a_wrong_program_fails_its_tests() -> None:
    one = programs.several(1, (1,), held=True, least=2)[0]
    problem = programs.problem(one, 0)
    wrong = f"{one.prompt}\n    return 0\n"
    with pytest.raises(AssertionError):
        exec(compile(f"{problem.before}\n{wrong}\n{problem.tests}", "drawn", "exec"), {})


def test_texts_come_back_from_ids_and_prompts_hold_both_sides() -> None:
    words = programs.words()
    assert words.vocab == programs.VOCAB
    for one in programs.several(50, (2,), held=True, least=2):
        assert words.decode(words.encode(one.text)) == one.text
        middle = words.encode(one.doc)
        for prompt in (starcoder.psm(one), starcoder.spm(one)):
            whole = restored([*prompt[1:], *middle], marks(words))
            assert words.decode(whole) == one.text
            assert len(prompt) + len(middle) < programs.LENGTH


def test_a_nets_log_probability_is_that_of_the_middle_alone() -> None:
    """The slow twin: pair by pair, the difference of two readings."""
    net = gpt_bigcode(Size(16, 1, 2), programs.VOCAB, programs.LENGTH).eval()
    some = programs.several(3, (3,), held=True, least=2)
    pairs = [(starcoder.psm(one), programs.words().encode(one.doc)) for one in some]
    total = count = 0.0
    for prompt, middle in pairs:
        whole = codex.lesson([[*prompt, *middle]])
        said = codex.NextToken().encode(net, whole).chance[len(prompt) :]
        total, count = total + float(said.sum().detach()), count + len(middle)
    assert abs(starcoder.likely(net, pairs) - total / count) < 1e-5
