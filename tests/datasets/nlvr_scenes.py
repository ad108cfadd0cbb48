"""Scenes as nlvr has them, drawn by seed, and the same scenes written in other sets' formats."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"black": (20, 20, 20), "blue": (0, 100, 220), "yellow": (240, 220, 30)}
SHAPES = ("circle", "square", "triangle")
TEN = (("yes",) * 10, ("yes",) * 7 + ("no",) * 3, ("yes", "no", "Yes.") * 3 + ("the yes",))


class Scene(NamedTuple):
    """A picture's bytes and its objects: (colour, shape, [x, y, width, height])."""

    png: bytes
    objects: list[tuple[str, str, list[int]]]


def drawn(count: int, seed: int = 0) -> list[Scene]:
    """Scenes of three boxes side by side, 400 x 100, with one to four objects in each."""
    rng, out = np.random.default_rng(seed), []
    for _ in range(count):
        picture = Image.new("RGB", (400, 100), (230, 230, 230))
        pen, objects = ImageDraw.Draw(picture), []
        for box in range(3):
            left = 150 * box
            pen.rectangle((left, 0, left + 99, 99), fill=(200, 200, 200))
            for slot in rng.permutation(9)[: rng.integers(1, 5)]:
                colour, shape = str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))
                size = int(rng.choice([10, 20, 30]))
                x, y = left + 33 * int(slot % 3), 33 * int(slot // 3)
                at = (x, y, x + size - 1, y + size - 1)
                if shape == "circle":
                    pen.ellipse(at, fill=COLOURS[colour])
                elif shape == "square":
                    pen.rectangle(at, fill=COLOURS[colour])
                else:
                    pen.polygon(
                        [(x, at[3]), (at[2], at[3]), ((x + at[2]) // 2, y)], fill=COLOURS[colour]
                    )
                objects.append((colour, shape, [x, y, size, size]))
        file = io.BytesIO()
        picture.save(file, "PNG")
        out.append(Scene(file.getvalue(), objects))
    return out


def from_catalogue(root: Path, count: int) -> list[Scene]:
    """The first scenes of the real set."""
    out = []
    for line in (root / "nlvr" / "pairs.test.jsonl").read_text().splitlines()[:count]:
        row = json.loads(line)
        objects = [(o["color"], o["type"], o["bbox"]) for o in row["objects"]]
        out.append(Scene((root / "nlvr" / row["image"]).read_bytes(), objects))
    return out


def put(folder: Path, name: str, data: bytes) -> None:
    at = folder / name
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_bytes(data)


def said(scene: Scene) -> tuple[str, bool]:
    """A question that the scene answers, in turn with yes and with no."""
    first = scene.objects[0]
    there = len(scene.png) % 2 == 0
    colour = first[0] if there else next((c for c in COLOURS if all_not(scene, c)), "purple")
    return f"Is there a {colour} thing?", there


def all_not(scene: Scene, colour: str) -> bool:
    return all(own != colour for own, _, _ in scene.objects)


# --- the formats --------------------------------------------------------------------------------


def as_vqa_v2(scenes: list[Scene], folder: Path) -> tuple[Path, Path]:
    questions, annotations = [], []
    for i, scene in enumerate(scenes):
        put(folder / "val2014", f"COCO_val2014_{i:012d}.jpg", scene.png)
        text, there = said(scene)
        answers = TEN[i % 3] if there else ("no",) * 10
        questions.append({"question_id": 1000 + i, "image_id": i, "question": text})
        annotations.append(
            {
                "question_id": 1000 + i,
                "image_id": i,
                "question_type": "is there a",
                "answer_type": "yes/no",
                "multiple_choice_answer": answers[0],
                "answers": [
                    {"answer_id": k + 1, "answer": a, "answer_confidence": "yes"}
                    for k, a in enumerate(answers)
                ],
            }
        )
    about = {"info": {}, "license": {}, "data_type": "mscoco", "data_subtype": "val2014"}
    paths = folder / "questions.json", folder / "annotations.json"
    paths[0].write_text(json.dumps({**about, "questions": questions}))
    paths[1].write_text(json.dumps({**about, "annotations": annotations}))
    return paths


def as_nlvr2(scenes: list[Scene], folder: Path) -> Path:
    """Two scenes a statement, two pairs a sentence, as dev.json."""
    lines = []
    for i in range(0, len(scenes) - 1, 2):
        group, pair = divmod(i // 2, 2)
        stem = f"dev-{group}-{pair}"
        for side in (0, 1):
            put(folder / "dev", f"{stem}-img{side}.png", scenes[i + side].png)
        counts = [len(scenes[i + side].objects) for side in (0, 1)]
        lines.append(
            {
                "validation": {"61": "False"},
                "sentence": "There are more things in the left picture.",
                "label": str(counts[0] > counts[1]),
                "identifier": f"{stem}-0",
                "synset": "shape",
            }
        )
    path = folder / "dev.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def as_refcoco(scenes: list[Scene], folder: Path, save: Callable[[Path, list], Path]) -> tuple:
    """One reference a scene, to its first object, with two sentences."""
    images, annotations, refs = [], [], []
    for i, scene in enumerate(scenes):
        name = f"COCO_train2014_{i:012d}.jpg"
        put(folder / "train2014", name, scene.png)
        images.append({"id": i, "file_name": name, "width": 400, "height": 100})
        for j, (_, _, bbox) in enumerate(scene.objects):
            annotations.append(
                {"id": 100 * i + j, "image_id": i, "category_id": 1, "bbox": bbox, "iscrowd": 0}
            )
        colour, shape, _ = scene.objects[0]
        texts = [f"the {colour} {shape}", f"{colour} one"]
        sentences = [
            {"tokens": t.split(), "raw": t, "sent_id": 2 * i + k, "sent": t}
            for k, t in enumerate(texts)
        ]
        refs.append(
            {
                "ref_id": i,
                "ann_id": 100 * i,
                "image_id": i,
                "category_id": 1,
                "file_name": name.replace(".jpg", f"_{i}.jpg"),
                "split": "val" if i % 4 else "testA",
                "sent_ids": [2 * i, 2 * i + 1],
                "sentences": sentences,
            }
        )
    categories = [{"id": 1, "name": "thing"}]
    instances = folder / "instances.json"
    said = {"images": images, "annotations": annotations, "categories": categories}
    instances.write_text(json.dumps(said))
    return save(folder, refs), instances


def pickled(protocol: int) -> Callable[[Path, list], Path]:
    def save(folder: Path, refs: list) -> Path:
        path = folder / "refs(unc).p"
        path.write_bytes(pickle.dumps(refs, protocol=protocol))
        return path

    return save


def as_snli_ve(scenes: list[Scene], folder: Path) -> Path:
    lines = []
    for i, scene in enumerate(scenes):
        put(folder / "flickr30k", f"{100 + i}.jpg", scene.png)
        text, there = said(scene)
        gold = "entailment" if there else "contradiction"
        lines.append(
            {
                "annotator_labels": [gold],
                "Flikr30kID": str(100 + i),
                "captionID": f"{100 + i}.jpg#0",
                "gold_label": "-" if i % 50 == 7 else gold,
                "pairID": f"{100 + i}.jpg#0r1",
                "sentence1": "A scene.",
                "sentence2": text.replace("Is there", "There is").replace("?", "."),
            }
        )
    path = folder / "snli_ve_dev.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def as_vcr(scenes: list[Scene], folder: Path) -> Path:
    lines = []
    for i, scene in enumerate(scenes):
        stem = f"scenes/{i:04d}"
        put(folder / "vcr1images", f"{stem}.jpg", scene.png)
        boxes = [[x, y, x + w, y + h, 0.9] for _, _, (x, y, w, h) in scene.objects]
        names = [shape for _, shape, _ in scene.objects]
        meta = {"boxes": boxes, "segms": [[]] * len(boxes), "names": names}
        put(folder / "vcr1images", f"{stem}.json", json.dumps(meta).encode())
        colours = ["black", "blue", "yellow", "purple"]
        right = colours.index(scene.objects[0][0])
        lines.append(
            {
                "movie": "scenes",
                "objects": names,
                "img_fn": f"{stem}.jpg",
                "metadata_fn": f"{stem}.json",
                "question": ["What", "colour", "is", [0], "?"],
                "answer_choices": [[[0], "is", colour, "."] for colour in colours],
                "answer_label": right,
                "rationale_choices": [["I", "see", colour, "."] for colour in colours],
                "rationale_label": right,
                "annot_id": f"val-{i}",
                "img_id": f"val-{i}",
                "question_number": i,
            }
        )
    path = folder / "val.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
