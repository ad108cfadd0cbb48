"""Samples of a language model for programming problems: what `sensorium score code` scores.

Every sample has its own draws, by the seed, its problem and its number, so that none depends on
which others are written with it. What all prompts share (MBPP's three examples) is read once, a
problem's prompt once for all of its samples. Samples are kept as they come: a run that was stopped
goes on, and a file that was begun with other settings is refused.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from sensorium.data.chat import Message, encode
from sensorium.data.conversations import stops as stops_of
from sensorium.data.conversations import template_of
from sensorium.datasets.coding import Coding
from sensorium.datasets.humaneval import CodingSet
from sensorium.nn.generate.loop import Start, read
from sensorium.nn.generate.nucleus import nucleus
from sensorium.nn.generate.pick import Dice, Rule
from sensorium.nn.generate.speaks import How, Request, Speaks, check, laid
from sensorium.nn.lowbit import lowered
from sensorium.nn.slots import Cache
from sensorium.nn.swift import swift
from sensorium.tasks.records import TaskError
from sensorium.verbs.model import Model
from sensorium.verbs.speak import Reply, endings, ids_of, say, speaker

SHARED = 16  # tokens that all prompts must have in common to be read once


class Asking(NamedTuple):
    """How a model is asked.

    Attributes:
        n: samples a problem.
        prompt: "file" (as it stands there), "strip" (without white space at its end) or "chat" (the
            problem in words, by a chat template).
        template: the chat template's name, where the checkpoint names none.
    """

    n: int = 10
    temperature: float = 0.2
    top_p: float = 0.95
    max_tokens: int = 512
    seed: int = 0
    prompt: str = "file"
    template: str | None = None


class Job(NamedTuple):
    """One sample to be written: a problem, its prompt, and which of its samples."""

    problem: Coding
    ids: tuple[int, ...]
    number: int


def write_samples(
    model: Model,
    data: CodingSet,
    asked: Asking,
    out: Path,
    bits: int | None = None,
    rows: int = 48,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Writes `asked.n` samples of every problem, JSON lines in the order of the problems.

    Args:
        bits: the weights are kept in so few for saying (`Model.quicken`).
        rows: how many are written together.

    Returns:
        The settings, and how many samples ended how.

    Raises:
        TaskError: the file was begun with other settings, or holds something else.
        ValueError: a setting means nothing; a prompt is too long; the model is no language model.
    """
    settings = facts(model, data, asked, bits)
    how = How(asked.max_tokens, asked.temperature, seed=asked.seed)
    how.check()
    if rows < 1 or asked.n < 1:
        raise ValueError(f"{asked.n} samples in batches of {rows}: both must be at least 1")
    rules = [nucleus(asked.top_p, asked.temperature)] if asked.temperature else []
    net, done = quick(model, bits), Kept(out, settings)
    prompts = [prompted(model, one, asked) for one in data.problems]
    front = Front(net, prompts)
    jobs = [
        Job(problem, ids, number)
        for problem, ids in zip(data.problems, prompts, strict=True)
        for number in range(asked.n)
    ]
    left = [job for job in jobs if (job.problem.id, job.number) not in done.lines]
    for at in range(0, len(left), rows):
        batch = left[at : at + rows]
        stop = stopping(batch[0].problem, model, asked)
        for place, reply in written(model, net, front, batch, how, rules, stop):
            done.add(batch[place].problem.id, batch[place].number, reply)
        done.keep()
        if progress is not None:
            progress(len(jobs) - len(left) + at + len(batch), len(jobs))
    ends = done.finish([(job.problem.id, job.number) for job in jobs])
    return {"samples": str(out), "count": len(jobs), "ends": ends, "settings": settings}


def written(
    model: Model,
    net: Speaks,
    front: "Front",
    batch: Sequence[Job],
    how: How,
    rules: Sequence[Rule],
    stop: Sequence[str],
) -> Iterator[tuple[int, Reply]]:
    """The replies of a batch as they end, each with its place."""
    names = () if model.manifest.get("chat") is None else template_of(model.manifest["chat"]).ends
    ends = endings(model.words, names)
    requests = [Request(job.ids, how, ends) for job in batch]
    dice = [Dice(drawn(how.seed, job.problem.id), job.number) for job in batch]
    start = front.read(requests)
    for bit in say(net, model.words, requests, stop, start, dice, rules):
        if bit.reply is not None:
            yield bit.row, bit.reply


def quick(model: Model, bits: int | None) -> Speaks:
    """What samples are said by: the kernel where there is one, the net where there is none."""
    net = speaker(model.net) if bits is None else speaker(lowered(model.net, bits).net)
    assert isinstance(net, nn.Module)
    return speaker(swift(net) or net)


def drawn(seed: int, problem: str) -> int:
    """The seed of a problem's draws."""
    told = hashlib.sha256(f"{seed} {problem}".encode()).digest()
    return int.from_bytes(told[:8], "little")


def prompted(model: Model, problem: Coding, asked: Asking) -> tuple[int, ...]:
    """The ids of a problem's prompt."""
    if asked.prompt == "chat":
        if model.words is None:
            raise ValueError("this model has no tokenizer: it cannot be asked in words")
        how = template_of(asked.template or model.manifest.get("chat"))
        parts = how.parts([Message("user", problem.text)], True)
        return tuple(encode(parts, model.words)[0])
    text = problem.prompt.rstrip() if asked.prompt == "strip" else problem.prompt
    return tuple(ids_of(text, model.words))


def stopping(problem: Coding, model: Model, asked: Asking) -> tuple[str, ...]:
    """Texts before which a sample ends: the data set's own, or the template's."""
    if asked.prompt == "chat":
        return stops_of(asked.template or model.manifest.get("chat"))
    return problem.stops


def facts(model: Model, data: CodingSet, asked: Asking, bits: int | None) -> dict[str, Any]:
    """What a sample depends on, as every line of the file says."""
    precision = str(next(model.net.parameters()).dtype).removeprefix("torch.")
    file = model.manifest.get("imported", {}).get("sha256")
    saved = model.fingerprint() if model.folder is not None else file
    own = asked._asdict() | {"model": saved, "name": model.manifest.get("name")}
    return own | {"data": data.name, "sha256": data.sha256, "precision": precision, "bits": bits}


class Front:
    """What all prompts begin with, read once."""

    def __init__(self, net: Speaks, prompts: Sequence[tuple[int, ...]]):
        self.net, self.cache = net, None
        self.shared = common(prompts)
        if self.shared >= SHARED and len(set(prompts)) > 1:
            self.cache = self._first(prompts[0][: self.shared])

    @torch.inference_mode()
    def _first(self, ids: tuple[int, ...]) -> Cache:
        cache = self.net.blank(1, len(ids))
        self.net.extend(laid([ids], cache.layers[0].k.device), cache)
        return cache

    @torch.inference_mode()
    def read(self, requests: Sequence[Request]) -> Start:
        """As `nn.generate.loop.read`."""
        if self.cache is None:
            return read(self.net, requests)
        room, first = check(self.net, requests), dict[tuple[int, ...], int]()
        index = [first.setdefault(tuple(one.ids), len(first)) for one in requests]
        cache = self.cache.take([0] * len(first), room)
        rest = [ids[self.shared :] for ids in first]
        scores = self.net.extend(laid(rest, cache.layers[0].k.device), cache)
        return Start(cache.take(index), scores[index])


def common(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all prompts begin with; each has at least one more."""
    low, high = min(prompts, default=()), max(prompts, default=())
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    return min(same, min(map(len, prompts), default=1) - 1)


class Kept:
    """The file of samples: what it holds, and what is added to it."""

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path, self.settings = path, settings
        self.lines: dict[tuple[str, int], dict[str, Any]] = {}
        self.fresh: list[dict[str, Any]] = []
        if path.exists():
            whole = path.read_bytes().rpartition(b"\n")  # a torn last line is written anew
            for number, line in enumerate(whole[0].splitlines(), start=1):
                self._read(number, line)
            os.truncate(path, len(whole[0]) + len(whole[1]))

    def _read(self, number: int, line: bytes) -> None:
        where = f"{self.path}: line {number}"
        try:
            row = json.loads(line)
            name = row["task_id"], row["sample"]
            said = row["settings"]
        except (ValueError, TypeError, KeyError) as error:
            raise TaskError(f"{where}: no sample of ours ({error}); name another file") from error
        own = json.loads(json.dumps(self.settings))
        if said != own:
            odd = sorted(key for key in {*said, *own} if said.get(key) != own.get(key))
            text = f"{where}: written with other settings ({', '.join(odd)})"
            raise TaskError(f"{text}; give the same, or name another file")
        self.lines[name] = row

    def add(self, task: str, number: int, reply: Reply) -> None:
        """One more sample."""
        row = {"task_id": task, "completion": reply.text, "sample": number, "end": reply.end}
        row |= {"tokens": len(reply.ids), "logprob": round(sum(reply.logprobs), 4)}
        self.fresh.append(row | {"settings": self.settings})

    def keep(self) -> None:
        """Puts what was added onto the disk."""
        with self.path.open("ab") as file:
            for row in self.fresh:
                file.write(json.dumps(row).encode() + b"\n")
                self.lines[row["task_id"], row["sample"]] = row
            file.flush()
            os.fsync(file.fileno())
        self.fresh = []

    def finish(self, order: Sequence[tuple[str, int]]) -> dict[str, int]:
        """Writes all samples in order, and counts how they ended."""
        aside = self.path.with_name(f".{self.path.name}.part")
        ends: dict[str, int] = {}
        with aside.open("wb") as file:
            for name in order:
                row = self.lines[name]
                ends[row["end"]] = ends.get(row["end"], 0) + 1
                file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path)
        return ends
