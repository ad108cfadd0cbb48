"""Made statements: what is said of a scene is true or false as asked, and new scenes are exact."""

import re

import numpy as np
import pytest

from sensorium.datasets.asked import Questions
from sensorium.datasets.nlvr import ANSWERS
from sensorium.media import open_image
from sensorium.recipes import made as making
from sensorium.recipes.execute import finish
from sensorium.recipes.made import INK, Part, drawn, entry, groups, made, parts_of
from sensorium.recipes.questions import Cut
from sensorium.recipes.statement_parts import COLOURS, Scene, Thing
from sensorium.recipes.statements import LOOSE as LOOSE_FRAMES
from sensorium.recipes.statements import TOWERS as TOWER_FRAMES
from sensorium.recipes.statements import towers
from sensorium.recipes.vqa import Effort, answering
from sensorium.verbs.ask import Asker
from sensorium.verbs.load import load_folder


def block(colour: str, level: int) -> Thing:
    return Thing(colour, "square", (40.0, 80.0 - 21 * level, 60.0, 100.0 - 21 * level))


TOWERS: Scene = (
    (block("blue", 0), block("yellow", 1), block("yellow", 2)),
    (block("black", 0),),
    (block("blue", 0), block("black", 1)),
)
LOOSE: Scene = (
    (
        Thing("yellow", "circle", (0.0, 70.0, 30.0, 100.0)),
        Thing("blue", "triangle", (50.0, 5.0, 60.0, 15.0)),
    ),
    (Thing("black", "square", (30.0, 40.0, 50.0, 60.0)),),
    (
        Thing("black", "circle", (80.0, 10.0, 100.0, 30.0)),
        Thing("black", "circle", (10.0, 2.0, 30.0, 22.0)),
    ),
)
TRUE = {
    "towers": (
        "there are two towers with a blue block at the base",
        "there is 1 tower with a yellow block at the top",
        "there is a yellow block on a blue block",
        "there are 2 yellow blocks",
        "there is no tower with four blocks",
        "there is a black tower",
    ),
    "loose": (
        "there is a yellow circle touching a corner",
        "there is exactly one blue triangle",
        "there are 2 boxes with 2 items",
        "there is a box with only black items",
        "none of the black squares are touching any edge",
    ),
}
FALSE = {
    "towers": (
        "there is a blue block on a yellow block",
        "there is a tower with four blocks",
        "there are 3 yellow blocks",
        "there is 1 tower with a blue block at the base",
        "each tower has a blue block at the base",
    ),
    "loose": (
        "there is a black square touching the wall",
        "there are 2 yellow circles",
        "there is a blue triangle touching any edge",
        "there is a box with 3 items",
        "none of the yellow circles are touching any edge",
    ),
}


SCENES = {"towers": TOWERS, "loose": LOOSE}


@pytest.mark.parametrize("name", SCENES)
def test_statements_hold_where_they_are_true(name: str):
    """Those of the sentences above that come up."""
    rng, met = np.random.default_rng(0), set()
    frames = TOWER_FRAMES if name == "towers" else LOOSE_FRAMES
    truths = dict.fromkeys(TRUE[name], True) | dict.fromkeys(FALSE[name], False)
    for number in range(1500):
        said = frames[number % len(frames)](rng, name == "towers")
        if said.text in truths:
            assert said.fits(SCENES[name]) == truths[said.text], said.text
            met.add(said.text)
    assert met


@pytest.mark.parametrize("name", SCENES)
def test_statements_are_told_of_a_scene_where_they_hold_and_of_one_where_not(name: str):
    other: Scene = (*SCENES[name][1:], SCENES[name][1])
    scenes = [SCENES[name], other]
    rng = np.random.default_rng(3)
    pairs = making.paired(scenes, 10, rng)
    assert len(pairs) == 10 and {(a, b) for _, a, b in pairs} <= {(0, 1), (1, 0)}
    truths = dict.fromkeys(TRUE[name], True) | dict.fromkeys(FALSE[name], False)
    for said, _, true in pairs:
        if plain(said.text) in truths:
            assert truths[plain(said.text)] == (true == 0)


MEANT = {  # of each thing, box by box, whether it is meant and whether its box is
    "there are two towers with a blue block at the base": "tB B B . tB B",
    "there is a yellow block on a blue block": "tB tB B . . .",
    "there are 2 yellow blocks": "B tB tB . . .",
    "there is a black square touching the wall": ". . . . .",
    "there is a yellow circle touching a corner": "tB B . . .",
    "there is exactly one blue triangle": "B tB . . .",
}


@pytest.mark.parametrize("name", SCENES)
def test_what_statements_speak_of(name: str):
    rng, met = np.random.default_rng(0), set()
    frames = TOWER_FRAMES if name == "towers" else LOOSE_FRAMES
    for number in range(3000):
        said = frames[number % len(frames)](rng, name == "towers")
        if said.marks is None:
            continue
        marks = said.marks(SCENES[name])
        assert len(marks) == sum(map(len, SCENES[name]))
        if said.text in MEANT:
            kinds = zip(marks, MEANT[said.text].split(), strict=True)
            for (thing, box), told in kinds:
                assert (thing, box) == ("t" in told, "B" in told), said.text
            met.add(said.text)
    assert met


def plain(text: str) -> str:
    return text.lower().replace("atleast", "at least").rstrip(".")


def test_kinds_of_scenes():
    assert towers(TOWERS) and not towers(LOOSE)


def painted(scene: Scene) -> list[Part]:
    """Boxes in which every thing fills its own box."""
    parts = []
    for group in scene:
        pixels = np.full((100, 100, 3), 211, dtype=np.uint8)
        ink = np.zeros((100, 100), dtype=np.uint8)
        for one in group:
            x1, y1, x2, y2 = (int(x) for x in one.box)
            ink[y1:y2, x1:x2] = 1 + COLOURS.index(one.colour)
        pixels[ink > 0] = INK[ink[ink > 0]]
        parts.append(Part(pixels, ink, group))
    return parts


def questions(folder) -> Questions:
    entries = []
    for name, scene in (("towers", TOWERS), ("loose", LOOSE)):
        parts = painted(scene)
        (folder / name).write_bytes(drawn(parts))
        entries += [
            entry(name, parts, text, ANSWERS[truth])._replace(id=f"{name}-{truth}-{i}")
            for truth, some in enumerate((FALSE, TRUE))
            for i, text in enumerate(some[name])
        ]
    return Questions(folder, entries)


def test_new_scenes_show_what_their_boxes_say(tmp_path):
    some = made(questions(tmp_path), 0, scenes=6, each=4, anew=2)
    assert len(some) == 21 * 3 + 6 * 4
    for one in [*some]:
        pixels = np.asarray(open_image(one.images[0], name=one.id))
        assert pixels.shape == (100, 400, 3)
        for (x1, y1, x2, y2), name in zip(one.boxes[0], one.names[0], strict=True):
            shown = pixels[int(y1) + 1 : int(y2) - 1, int(x1) + 1 : int(x2) - 1]  # a pixel off
            assert (shown == INK[1 + COLOURS.index(name.split()[0])]).all()
    count = [one.answers[0] for one in some.entries if one.id.startswith("made")]
    assert count.count("true") == count.count("false") == 12
    assert made(questions(tmp_path), 0, scenes=6, each=4, anew=2).entries == some.entries


def test_peoples_statements_told_anew_keep_their_truth(tmp_path):
    """What is counted in a new scene is what the exchanged words say."""
    of = questions(tmp_path)
    some = made(of, 1, scenes=0, each=0, anew=20)
    counted = re.compile(r"there are (2|3) yellow blocks")
    for number, colour in enumerate(COLOURS):
        text = f"there are 2 {colour} blocks"
        found = [one for one in some.entries if one.text == text and "+" in one.id]
        assert found, number
        for one in found:
            assert one.answers == ("true",)
            assert sum(name.startswith(colour) for name in one.names[0]) == 2
    assert any(counted.match(one.text) for one in some.entries)


def test_a_scene_is_read_back(tmp_path):
    of = questions(tmp_path)
    back = groups(parts_of(of[0]))
    assert [len(group) for group in back] == [3, 1, 2]
    assert back[0][0].colour == "blue" and back[0][-1].colour == "yellow"  # the lowest first


def test_sides_are_kept_where_words_speak_of_them(tmp_path):
    one = questions(tmp_path)[0]
    parts = parts_of(one)
    rng = np.random.default_rng(0)
    for _ in range(20):
        again, _ = making.told_anew(parts, "a block at the left wall", rng)
        assert {thing.box[0] for part in again for thing in part.group} == {40.0}


def test_uniter_learns_what_statements_speak_of(tmp_path):
    """From made statements to a checkpoint that is asked as any other is."""
    some = made(questions(tmp_path), 0, scenes=6, each=4, anew=2)
    known = [name for name in (one.id for one in some.entries) if name in some.marks]
    assert known and all(name.startswith("made") for name in known)
    for one in some.entries:
        assert len(some.marks.get(one.id, one.boxes[0])) == len(one.boxes[0])
    parts = Cut(some, questions(tmp_path), (100, 10, 400))
    effort = Effort(2, 16, 1e-3, "float32", 0, meant=True)
    run = answering("uniter", lambda: parts, lambda: None, None, effort, {})
    found = finish(run, tmp_path / "run", lambda text: None)
    assert found["queries"]["accuracy"]["all"] == 21
    model = load_folder(tmp_path / "run" / "checkpoint")
    asker = Asker(model.net, model.tokenizer, model.manifest)
    assert asker.shares([parts.test[0]]).shape == (1, 2)
    again = answering(
        "uniter", lambda: parts, lambda: None, str(tmp_path / "run/checkpoint"), effort, {}
    )
    assert again.net().state_dict().keys() == model.net.state_dict().keys()
