"""Search in one's own pictures: `index` embeds a folder once, `search` finds by words or a picture.

Indexing is incremental: a second run embeds only contents that it has not seen. Which pictures are
known is told by size and time of change, and for the others by the sha256 of their content, so that
renamed and copied files are not embedded again. Nothing is ever written into the pictures' folder.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.data import prompts
from sensorium.data.errors import DataError
from sensorium.media import FORMATS, Source
from sensorium.verbs.gather import Progress, Run, Unreadable, pictures_below
from sensorium.verbs.model import Model
from sensorium.verbs.near import K, Recall, asked, build, faiss, nearest, opened, recall_of
from sensorium.verbs.store import (
    ANEW,
    MANIFEST,
    Manifest,
    Store,
    add_files,
    add_vectors,
    begin,
    changing,
    clear,
    commit,
    open_store,
    read_manifest,
    read_parts,
    whole,
)
from sensorium.weights.writing import raw

APPROXIMATE_FROM = 200_000  # contents; below, exact search is quick enough (benchmarks/index.py)
PART = 512  # contents after which what was embedded is safe on disk
PARTS = 8  # more than these are merged into one
WORDS = 128  # texts that the recall is measured with


class Report(NamedTuple):
    """What a run did; paths are relative to the pictures' folder."""

    at: Path
    pictures: int  # in the index now
    unchanged: int  # known by size and time of change
    recognised: int  # renamed, copied or touched: known by content
    embedded: int  # contents that the model has looked at in this run
    removed: int  # were in the index and are no longer in the folder
    unreadable: list[Unreadable]
    repaired: list[str]  # files of the index that were damaged, and replaced
    recall: Recall | None  # of the approximate search; None: every search is exact


class Hit(NamedTuple):
    """One result. Equal scores share their place in the order of paths."""

    rank: int  # from 1
    path: Path
    name: str  # relative to the pictures' folder
    score: float  # cosine
    missing: bool  # the file is gone


def index(
    model: Model,
    folder: str | os.PathLike[str],
    at: str | os.PathLike[str],
    progress: Progress = lambda done, total: None,
    approximate_from: int | None = APPROXIMATE_FROM,
    part: int = PART,
) -> Report:
    """Embeds the pictures below `folder` into the index at `at`, made or brought up to date.

    Hidden files and links to folders are passed over; a picture that cannot be read is named in the
    report. May be killed at any moment: run it again and it continues.

    Args:
        progress: called with the pictures looked at and those there are to look at.
        approximate_from: contents from which an approximate index is built too; None: never.
        part: contents after which what was embedded is safe on disk.

    Raises:
        DataError: `folder` is no folder or has no pictures; `at` holds something else, an index of
            another model or of another folder, or is being changed by another process.
        ValueError: the model has no space of pictures and texts.
        OSError: no space, no permission.
    """
    folder, at = Path(os.path.realpath(folder)), Path(os.path.abspath(at))
    found, unreadable = pictures_below(folder, at)
    if not found:
        raise DataError(
            f"{folder}: no pictures below it ({', '.join(FORMATS)}); nothing was changed. An index "
            f"of pictures that are gone for good is a folder to remove: {at}"
        )
    if approximate_from is not None and len(found) >= approximate_from:
        faiss()  # missing, it is missed before the hours of work and not after
    width = model.embed(images=[np.zeros((64, 64, 3), np.uint8)]).shape[1]
    with changing(at):
        old, repaired = reopened(at, begin(identity(model), folder, width, model.folder))
        run = Run(model, old, part, unreadable)
        run.look(found, progress)
        store = run.finish()
        store = merged(store)
        live = int(store.live.sum())
        if approximate_from is None or live < approximate_from:
            store = renewed(store, store.manifest | {"near": None})
        elif stale(store):
            store = renewed(store, build(store, words(model)))
        clear(at, store.manifest)
    near = store.manifest["near"]
    return Report(
        at,
        pictures=len(store.files),
        unchanged=run.unchanged,
        recognised=len(store.files) - run.unchanged - run.embedded,
        embedded=run.embedded,
        removed=len(set(old.files) - set(store.files)),
        unreadable=sorted(run.unreadable),
        repaired=repaired,
        recall=near and Recall(**near["recall"]),
    )


def search(
    model: Model,
    at: str | os.PathLike[str] | Store,
    query: Source | str,
    k: int = 12,
) -> list[Hit]:
    """The k pictures nearest to a query, best first.

    Args:
        at: an index, or what `open_store` gave for it (quicker when asked often).
        query: a `str` is words; a path (`Path`), bytes, PIL image or array is a picture.

    Raises:
        DataError: no index, a damaged one, or one made by another model; with the remedy.
        ValueError: the query is empty, or cannot be read.
    """
    store = at if isinstance(at, Store) else open_store(at)
    refuse_other(store.at, store.manifest, identity(model))
    if k < 1:
        raise DataError(f"k = {k}: at least one result must be asked for")
    if isinstance(query, str):
        if not query.strip():
            raise DataError("the query is empty: say what to look for, or give a picture")
        vector = model.embed(texts=[query])[0]
    else:
        vector = model.embed(images=[query])[0]
    if not store.files:
        raise DataError(f"{store.at}: the index holds no picture; run `sensorium index` on some")
    rows = nearest(store, vector, k)
    scores = dict(zip(rows.tolist(), (store.take(rows) @ vector).tolist(), strict=True))
    names = [(name, scores[f.row]) for name, f in store.files.items() if f.row in scores]
    names.sort(key=lambda pair: (-pair[1], pair[0]))
    root = Path(store.manifest["folder"])
    return [
        Hit(rank, root / name, name, score, missing=not (root / name).is_file())
        for rank, (name, score) in enumerate(names[:k], start=1)
    ]


def recall(at: str | os.PathLike[str], k: int = K, model: Model | None = None) -> Recall:
    """The recall of an index's search against exact search, measured now.

    Queries are a sample of the stored vectors, each without itself, and with `model` also the names
    of things. An index below `approximate_from` is searched exactly: its recall is 1.
    """
    store = open_store(at)
    texts = None if model is None else words(model)
    if store.manifest["near"] is None:
        return Recall(k, 1.0, None if texts is None else 1.0)
    live = store.live
    return recall_of(store, opened(store), asked(store, texts, live, k), live, k)


def made_with(at: str | os.PathLike[str]) -> str:
    """Where the checkpoint lay that an index was made with.

    Raises:
        DataError: no index, or one whose model was never saved.
    """
    lay = read_manifest(Path(at)).get("checkpoint")
    if not isinstance(lay, str) or not lay:
        raise DataError(f"{at}: the index does not say where its model is; say it with --model")
    return lay


def identity(model: Model) -> str:
    """What vectors depend on: the weights, the transform and the tokenizer, as one sha256."""
    weights = model.fingerprint()
    if weights == "not saved":
        digest = hashlib.sha256()
        for name, tensor in sorted(model.net.state_dict().items()):
            digest.update(name.encode())
            digest.update(raw(tensor))
        weights = digest.hexdigest()
    words = model.tokenizer and dict(model.tokenizer.spec())
    said = [weights, dict(model.transform.spec), words]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def words(model: Model) -> np.ndarray | None:
    """Vectors of names of things, to measure the search for texts with."""
    if model.tokenizer is None:
        return None
    names = dict.fromkeys(prompts.classes("imagenet"))
    chosen = [name for name in names if len(name) < 40]
    return model.embed(texts=chosen[:: max(1, len(chosen) // WORDS)][:WORDS])


# --- the index before and after a run ------------------------------------------------------------


def reopened(at: Path, fresh: Manifest) -> tuple[Store, list[str]]:
    """The index as it is, without the files of it that are damaged, and their names."""
    if not (at / MANIFEST).is_file():
        clear(at, fresh)
        commit(at, fresh)
        return read_parts(at, fresh), []
    manifest = read_manifest(at)
    refuse_other(at, manifest, fresh["model"])
    before = Path(manifest["folder"])
    if before.is_dir() and not before.samefile(fresh["folder"]):
        raise DataError(
            f"{at}: this is the index of {before}, not of {fresh['folder']}; choose another place"
        )
    manifest: Manifest = manifest | {"folder": fresh["folder"]}
    if manifest["width"] != fresh["width"]:
        raise DataError(f"{at / MANIFEST}: width {manifest['width']} is wrong; {ANEW}")
    good = [entry for entry in manifest["vectors"] if whole(at, entry)]
    lost = [entry["name"] for entry in manifest["vectors"] if entry not in good]
    for key in ("files", "near"):
        entry: dict[str, Any] | None = manifest[key]
        if entry and not whole(at, entry):
            lost.append(entry["name"])
            manifest = manifest | {key: None}
    if len(good) < len(manifest["vectors"]):  # rows have moved: the contents say where they are
        manifest = manifest | {"vectors": good, "files": None, "near": None}
    if lost or not before.is_dir():
        commit(at, manifest)
    clear(at, manifest)
    return read_parts(at, manifest), lost


def refuse_other(at: Path, manifest: Manifest, model: str) -> None:
    """Raises DataError if the index was made by another model."""
    if manifest["model"] != model:
        raise DataError(
            f"{at}: this index was made by another model ({manifest['model'][:12]}..., this one is "
            f"{model[:12]}...): load the model that made it, or index into another folder"
        )


def merged(store: Store) -> Store:
    """Many parts, or many vectors that no file has, rewritten as one part in order of the files."""
    live = int(store.live.sum())
    if len(store.vectors) <= PARTS and store.rows - live <= store.rows // 4:
        return store
    rows = np.array(list(dict.fromkeys(f.row for f in store.files.values())), np.int64)
    place = {int(row): i for i, row in enumerate(rows)}
    files = {name: f._replace(row=place[f.row]) for name, f in store.files.items()}
    manifest = store.manifest | {"vectors": [], "near": None}
    if live:
        contents = np.concatenate(store.contents)[rows]
        manifest = add_vectors(store.at, manifest, store.take(rows), contents)
    return renewed(store, add_files(store.at, manifest, files))


def stale(store: Store) -> bool:
    """Whether the approximate index is missing, or a quarter of the rows are newer than it."""
    near: dict[str, Any] | None = store.manifest["near"]
    return near is None or store.rows - near["rows"] > store.rows // 4


def renewed(store: Store, manifest: Manifest) -> Store:
    """The index in another state, which is committed if it is another."""
    if manifest == store.manifest:
        return store
    commit(store.at, manifest)
    return read_parts(store.at, manifest)
