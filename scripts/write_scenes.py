"""Writes nlvr's scenes in the published formats of other sets, with statements of their objects.

    python scripts/write_scenes.py DATA/nlvr OUT

A scene has three boxes of 100 x 100 pixels; each is a picture here. OUT/nlvr2 holds statements on
two of them, OUT/snli_ve sentences about one, OUT/refcoco expressions that mean one object,
OUT/karpathy captions; each set in the files of its name, with a train and a dev (RefCOCO: val,
Karpathy: test) part from nlvr's own two parts.
"""

import argparse
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

COLOURS, SHAPES, SIZES = ("black", "blue", "yellow"), ("circle", "square", "triangle"), (10, 20, 30)
BIG = {10: "small", 20: "medium", 30: "big"}
Kind = tuple[str, str]
STEP, SIDE = 150, 100  # pixels from one box of a scene to the next, and of a box


class Thing(NamedTuple):
    """An object of a picture; `box` is x, y, width, height."""

    colour: str
    shape: str
    size: str
    box: tuple[int, int, int, int]


class Picture(NamedTuple):
    """A box of a scene."""

    name: str
    image: Image.Image
    things: tuple[Thing, ...]


def pictures(folder: Path, part: str) -> Iterator[Picture]:
    """The boxes of a part's scenes."""
    for line in (folder / f"pairs.{part}.jsonl").read_text().splitlines():
        row = json.loads(line)
        scene = Image.open(folder / row["image"]).convert("RGB")
        for number in range(3):
            things = []
            for one in row["objects"]:
                if one["box"] == number:
                    x, y, w, h = one["bbox"]
                    size = BIG[min(SIZES, key=lambda s, w=w: abs(s - w))]
                    box = (x - STEP * number, y, w, h)
                    things.append(Thing(one["color"], one["type"], size, box))
            left = STEP * number
            cut = scene.crop((left, 0, left + SIDE, SIDE))
            yield Picture(f"{row['id']}-{number}", cut, tuple(things))


def lines(at: Path, rows: Sequence[dict[str, Any]]) -> None:
    """JSON lines."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text("".join(json.dumps(row) + "\n" for row in rows))


def put(at: Path, one: Picture) -> None:
    """A picture as PNG, whatever its name says (NLVR2's and COCO's names are fixed)."""
    at.parent.mkdir(parents=True, exist_ok=True)
    one.image.save(at, "PNG")


def kinds(one: Picture) -> set[tuple[str, str]]:
    return {(thing.colour, thing.shape) for thing in one.things}


def by_kind(some: list[Picture], there: bool) -> dict[Kind, list[Picture]]:
    """For each kind of thing the pictures that show it, or those that do not."""
    shown = [(one, kinds(one)) for one in some]
    every = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    return {kind: [one for one, own in shown if (kind in own) == there] for kind in every}


def drawn_kind(rng: np.random.Generator) -> tuple[str, str]:
    return COLOURS[rng.integers(3)], SHAPES[rng.integers(3)]


def nlvr2(parts: dict[str, list[Picture]], out: Path) -> None:
    """Each sentence is asked of four pairs, two of which it is true of."""
    rng = np.random.default_rng(0)
    for part, some in (("train", parts["train"]), ("dev", parts["test"])):
        rows: list[dict[str, Any]] = []
        shown, missed = by_kind(some, True), by_kind(some, False)
        for group in range(len(some) // 3):
            colour, shape = drawn_kind(rng)
            both = bool(rng.integers(2))
            text = f"Both pictures show a {colour} {shape}."
            if not both:
                text = f"Only the left picture shows a {colour} {shape}."
            has, lacks = shown[colour, shape], missed[colour, shape]
            for number in range(4):
                right = number < 2
                first = has if right or rng.integers(2) else lacks
                second = has if both else lacks
                if not right and first is has:
                    second = lacks if both else has
                elif not right:
                    second = (has, lacks)[rng.integers(2)]
                pair = [side[int(rng.integers(len(side)))] for side in (first, second)]
                stem = f"{part}-{group}-{number}"
                for side, one in enumerate(pair):
                    put(out / "nlvr2" / part / f"{stem}-img{side}.png", one)
                rows.append({"sentence": text, "label": str(right), "identifier": f"{stem}-0"})
        lines(out / "nlvr2" / f"{part}.json", rows)


def snli_ve(parts: dict[str, list[Picture]], out: Path) -> None:
    """Entailed, contradicted, or about what no picture shows (who likes it, what it cost)."""
    rng = np.random.default_rng(1)
    tells = ("There is a {}.", "A {} can be seen.", "The picture shows a {}.")
    odd = ("The {} was made by a child.", "A {} costs little.", "Somebody likes the {}.")
    for part, some in (("train", parts["train"]), ("dev", parts["test"])):
        rows, shown = [], set()
        has, lacks = by_kind(some, True), by_kind(some, False)
        for number in range(len(some)):
            kind = drawn_kind(rng)  # first, so that no words go with a label more often
            sides = has[kind], some, lacks[kind]
            for k, label in enumerate(("entailment", "neutral", "contradiction")):
                one = sides[k][int(rng.integers(len(sides[k])))]
                if one.name not in shown:
                    put(out / "snli_ve" / "flickr30k_images" / f"{one.name}.jpg", one)
                shown.add(one.name)
                texts = odd if label == "neutral" else tells
                text = texts[int(rng.integers(3))].format(" ".join(kind))
                row = {"Flikr30kID": one.name, "gold_label": label, "pairID": f"{number}#{k}"}
                rows.append({**row, "sentence1": "A box.", "sentence2": text})
        lines(out / "snli_ve" / f"snli_ve_{part}.jsonl", rows)


def meant(one: Picture) -> list[tuple[int, str]]:
    """The objects that few words tell apart from all others, and those words."""
    found = []
    for k, thing in enumerate(one.things):
        for words in (
            (thing.shape,),
            (thing.colour, thing.shape),
            (thing.size, thing.colour, thing.shape),
        ):
            same = [t for t in one.things if set(words) <= {t.colour, t.shape, t.size}]
            if len(same) == 1:
                found.append((k, f"the {' '.join(words)}"))
                break
    return found


def refcoco(parts: dict[str, list[Picture]], out: Path) -> None:
    """One expression an object that can be told by words; pictures of one object are left out."""
    images, annotations, refs = [], [], []
    for split, some in (("train", parts["train"]), ("val", parts["test"])):
        for one in some:
            if len(one.things) < 2:
                continue
            number = len(images)
            name = f"COCO_train2014_{number:012d}.jpg"
            put(out / "refcoco" / "train2014" / name, one)
            images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
            ids = range(len(annotations), len(annotations) + len(one.things))
            for own, thing in zip(ids, one.things, strict=True):
                row = {"id": own, "image_id": number, "category_id": 1, "bbox": list(thing.box)}
                annotations.append({**row, "iscrowd": 0})
            for place, text in meant(one):
                sentence = {"tokens": text.split(), "raw": text, "sent": text, "sent_id": len(refs)}
                row = {"ref_id": len(refs), "ann_id": ids[place], "image_id": number}
                refs.append({**row, "split": split, "sentences": [sentence]})
    said = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    (out / "refcoco" / "instances.json").write_text(json.dumps(said))
    (out / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def told(one: Picture) -> str:
    """All that stands in a picture, from left to right."""
    ordered = sorted(one.things, key=lambda t: (t.box[0], t.box[1]))
    names = [f"a {t.size} {t.colour} {t.shape}" for t in ordered]
    return f"there is {' and '.join(names) or 'nothing'} ."


def karpathy(parts: dict[str, list[Picture]], out: Path) -> None:
    """A caption a picture; of the test part 250 pictures that no two of share a caption."""
    rows = []
    for split, some in (("train", parts["train"]), ("test", parts["test"])):
        seen: set[str] = set()
        for one in some:
            text = told(one)
            if split == "test" and (text in seen or len(seen) == 250):
                continue
            seen.add(text)
            put(out / "karpathy" / "images" / f"{one.name}.jpg", one)
            sentence = {"raw": text, "tokens": text.split(), "sentid": len(rows)}
            row = {"filename": f"{one.name}.jpg", "split": split, "imgid": len(rows)}
            rows.append({**row, "sentids": [len(rows)], "sentences": [sentence]})
    (out / "karpathy" / "dataset_scenes.json").write_text(
        json.dumps({"images": rows, "dataset": "scenes"})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("nlvr", type=Path, help="the folder of nlvr's scenes")
    parser.add_argument("out", type=Path, help="where the four folders go")
    asked = parser.parse_args()
    parts = {part: list(pictures(asked.nlvr, part)) for part in ("train", "test")}
    for write in (nlvr2, snli_ve, refcoco, karpathy):
        write(parts, asked.out)
        print(write.__name__, "written")


if __name__ == "__main__":
    main()
