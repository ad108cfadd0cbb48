"""The emoji that travel inside the package: complete, licensed, and split without leaks."""

import hashlib
import io
import json
import multiprocessing
import pickle
import shutil
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image

from sensorium.datasets import emoji as module
from sensorium.datasets.emoji import (
    HELD_OUT_VENDOR,
    LANGUAGES,
    SIDE,
    VENDORS,
    emoji,
    names,
    unseen,
    verify,
)

DATA = Path(module.__file__).parent / "emoji_data"
SOURCES = json.loads((DATA / "sources.json").read_text())


def test_reads_as_pictures_with_captions():
    first = emoji(["noto"])[0]
    assert first.id == "emoji/noto/1F600"
    assert first.texts[0] == "grinning face"
    assert "cheerful, cheery, face" in first.texts
    assert Image.open(io.BytesIO(first.image)).size == (SIDE, SIDE)


def test_files_are_as_published():
    verify()


def test_a_changed_file_is_named(tmp_path, monkeypatch):
    copy = tmp_path / "emoji_data"
    shutil.copytree(DATA, copy)
    with (copy / "noto" / "pictures.zip").open("ab") as file:
        file.write(b"!")
    monkeypatch.setattr(module, "_DATA", copy)
    with pytest.raises(ValueError, match=r"noto/pictures\.zip: sha256"):
        verify()


def test_counts():
    assert len(names()) == SOURCES["emoji"] > 1850
    for vendor in VENDORS:
        assert len(emoji([vendor])) == SOURCES["pictures"][vendor]
    assert len(emoji()) == sum(SOURCES["pictures"].values())
    for vendor in ("noto", "twemoji", "openmoji"):
        assert len(emoji([vendor])) == len(names())


def test_every_folder_has_its_licence_and_says_where_it_came_from():
    for folder in (*VENDORS, "cldr"):
        for name in ("LICENSE", "ATTRIBUTION", "README.md"):
            assert (DATA / folder / name).stat().st_size > 100, f"{folder}/{name}"
    assert "ShareAlike 4.0" in (DATA / "openmoji" / "LICENSE").read_text()
    assert "Apache License" in (DATA / "noto" / "LICENSE").read_text()


def test_nothing_of_apple_or_facebook():
    given = json.dumps(SOURCES).lower() + " ".join(str(p).lower() for p in DATA.rglob("*"))
    assert "apple" not in given
    assert "facebook" not in given


def test_small_enough_to_travel():
    assert sum(p.stat().st_size for p in DATA.rglob("*") if p.is_file()) <= 12_000_000


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_picture_decodes(vendor):
    for item in emoji([vendor], keywords=False):
        with Image.open(io.BytesIO(item.image)) as image:
            assert image.format == "WEBP"
            assert image.size == (SIDE, SIDE)
            shown = image.convert("RGBA")
        assert shown.getchannel("A").getextrema()[1] > 128, item.id  # something is drawn


def test_no_vendor_repeats_the_drawings_of_another():
    digests = {
        v: {hashlib.sha256(item.image).digest() for item in emoji([v], keywords=False)}
        for v in VENDORS
    }
    for a, b in combinations(VENDORS, 2):
        assert not digests[a] & digests[b], (a, b)


def test_parts_share_no_emoji_and_are_the_same_for_every_vendor():
    for vendor in VENDORS:
        every, train, rest = (keys([vendor], part) for part in ("all", "train", "unseen"))
        assert sorted(train + rest) == sorted(every)
        assert not set(train) & set(rest)
        assert set(rest) <= set(names(part="unseen"))
        assert set(train) <= set(names(part="train"))
    assert 0.08 < len(names(part="unseen")) / len(names()) < 0.13


def test_variants_of_gender_and_direction_stay_together():
    running = ["1F3C3", "1F3C3-200D-2640-FE0F", "1F3C3-200D-2642-FE0F-200D-27A1-FE0F"]
    farmer = ["1F9D1-200D-1F33E", "1F468-200D-1F33E", "1F469-200D-1F33E"]
    for group in (running, farmer):
        assert len({unseen(code) for code in group}) == 1


def test_the_held_out_vendor_comes_only_when_asked_for():
    others = [v for v in VENDORS if v != HELD_OUT_VENDOR]
    data = emoji(others, part="train")
    assert {data.vendor(i) for i in range(len(data))} == set(others)
    assert not any(f"/{HELD_OUT_VENDOR}/" in data[i].id for i in range(len(data)))


def test_key_tells_which_items_show_the_same_emoji():
    data = emoji()
    for i in range(0, len(data), 97):
        assert data[i].id == f"emoji/{data.vendor(i)}/{data.key(i)}"


def test_texts_in_every_language():
    for language in LANGUAGES:
        said = names(language)
        assert list(said) == list(names())
        assert all(name.strip() for name in said.values())
        assert len(set(said.values())) == len(said)  # so that a name names one emoji
    every = emoji(["noto"], LANGUAGES, keywords=False)
    assert every[0].texts == tuple(names(language)["1F600"] for language in LANGUAGES)


def test_a_keyword_caption_fits_one_emoji_only():
    data = emoji(["noto"])
    captions = [text for item in data for text in item.texts[1:]]
    assert len(captions) == len(set(captions)) > len(data)


def test_the_first_text_is_the_name_in_the_first_language():
    for i, item in enumerate(data := emoji(["twemoji"], ["ja", "en"], "unseen")):
        assert item.texts[0] == names("ja")[data.key(i)]
        assert names("en")[data.key(i)] in item.texts


def test_pickles_small_and_reads_the_same_in_another_process():
    data = emoji(["openmoji"], part="unseen")
    assert len(pickle.dumps(data)) < 1000
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(pickle.loads(pickle.dumps(data)).__getitem__, (3,)) == data[3]


def test_is_a_sequence():
    data = emoji(["noto"])
    assert data[-1] == data[len(data) - 1]
    assert data[:2] == (data[0], data[1])
    with pytest.raises(IndexError):
        data[len(data)]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"vendors .*'apple'.* expected one or more of noto"):
        emoji(["apple"])
    with pytest.raises(ValueError, match="languages"):
        emoji(["noto"], ["xx"])
    with pytest.raises(ValueError, match="vendors"):
        emoji([])


def keys(vendors, part):
    data = emoji(vendors, part=part)
    return [data.key(i) for i in range(len(data))]
