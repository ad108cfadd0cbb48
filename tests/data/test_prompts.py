"""The zero-shot tables: counts of the paper, and nothing lost or broken on the way."""

import hashlib
import re
from importlib.resources import files

import pytest

from sensorium.data import prompts
from sensorium.data.errors import DataError


def test_counts_are_those_of_the_paper():
    assert len(prompts.names()) == 28
    for name, classes, templates in (
        ("imagenet", 1000, 80),
        ("imagenet7", 1000, 7),
        ("cifar10", 10, 18),
        ("cifar100", 100, 18),
        ("food101", 101, 1),
        ("eurosat", 10, 3),
        ("ucf101", 101, 48),
        ("kinetics700", 700, 28),
        ("sun397", 397, 2),
        ("stanfordcars", 196, 8),
    ):
        assert (len(prompts.classes(name)), len(prompts.templates(name))) == (classes, templates)


@pytest.mark.parametrize("name", prompts.names())
def test_every_table_can_be_filled_in(name):
    assert all(t.count("{}") == 1 for t in prompts.templates(name))
    assert len(set(prompts.templates(name))) == len(prompts.templates(name))
    for called in prompts.aliases(name):
        assert called and all(n and n == n.strip() for n in called)
        assert all(n in t.format(n) for n in called for t in prompts.templates(name))
    twice = {n for n in prompts.classes(name) if prompts.classes(name).count(n) > 1}
    assert twice == ({"missile", "sunglasses"} if name.startswith("imagenet") else set())


def test_spot_checks():
    assert prompts.classes("imagenet")[:2] == ("tench", "goldfish")
    assert prompts.classes("imagenet")[-1] == "toilet paper"
    assert prompts.templates("imagenet7") == (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    )
    assert set(prompts.templates("imagenet7")) < set(prompts.templates("imagenet"))
    assert prompts.templates("mnist") == ('a photo of the number: "{}".',)
    assert prompts.aliases("facialemotionrecognition2013")[3] == ("happy", "smiling")
    assert prompts.classes("facialemotionrecognition2013")[3] == "happy"


def test_files_are_those_listed_with_their_source():
    tables = files("sensorium.data.prompts") / "tables"
    source = (tables / "SOURCE.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| (\w+)\.json .*\| (\w{64}) \|$", source, re.MULTILINE))
    assert tuple(sorted(listed)) == prompts.names()
    for name, digest in listed.items():
        assert hashlib.sha256((tables / f"{name}.json").read_bytes()).hexdigest() == digest
    assert "MIT License" in (tables / "LICENSE").read_text("utf-8")


def test_an_unknown_name_lists_candidates():
    with pytest.raises(DataError, match=r"'ImageNet'; did you mean imagenet.* there are: birdsnap"):
        prompts.templates("ImageNet")
    with pytest.raises(DataError, match=r"no prompts called '\.\./x'; there are"):
        prompts.classes("../x")
