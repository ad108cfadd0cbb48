"""Captions in Karpathy's files: `dataset_coco.json`, `dataset_flickr30k.json` and so on.

Karpathy and Li, "Deep Visual-Semantic Alignments for Generating Image Descriptions" (2015). Their
splits are those on which retrieval is reported: 1,000 pictures of Flickr30k, 5,000 of COCO.
"""

from pathlib import Path

from sensorium.data.errors import DataError
from sensorium.datasets.asked import field, items, there, unique, whole
from sensorium.datasets.files import Pictures

SPLITS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}


def karpathy(path: str | Path, pictures: str | Path, split: str) -> Pictures:
    """The pictures of one split with their captions; "restval" belongs to the training part.

    Args:
        path: the file.
        pictures: the folder of the pictures; COCO's may lie in its folders (`filepath`).
        split: "train", "val" or "test".

    Raises:
        DataError: a file of another form, a split without pictures, a picture without a caption, a
            missing picture.
    """
    path = Path(path)
    if split not in SPLITS:
        raise DataError(f"{path}: split {split!r} is none of {', '.join(SPLITS)}")
    files: list[str] = []
    texts: list[tuple[str, ...]] = []
    ids: list[str] = []
    named, seen = [], set()
    for where, row in items(path, whole(path), "images"):
        own = field(where, row, "split")
        seen.add(own)
        if own not in SPLITS[split]:
            continue
        file, below = field(where, row, "filename"), row.get("filepath")
        if isinstance(below, str) and Path(pictures, below).is_dir():
            file = f"{below}/{file}"
        named.append((where, file))
        files.append(file)
        texts.append(tuple(field(at, one, "raw") for at, one in items(path, row, "sentences")))
        ids.append(field(where, row, "imgid"))
    if not files:
        raise DataError(f"{path}: no picture is of the split {split!r}; there are {sorted(seen)}")
    unique(path, ids)
    there(path, pictures, named)
    return Pictures(pictures, files, texts, ids)
