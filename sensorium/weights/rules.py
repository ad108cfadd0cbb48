"""Key maps: how a published file's names and shapes become ours, as rules that also run backwards.

A rule names keys on both sides. `{i}` (any lower-case name in braces) stands for an integer, `*`
for one part of a name without `.` or `/`, `**` for the rest of a name whatever is in it. All
wildcards of a rule stand in every pattern of it, so either side can be found from the other:

    OPENAI = KeyMap([
        rename("visual.class_embedding", "image.embed.cls"),
        rename("transformer.resblocks.{i}.ln_1.*", "text.stack.blocks.{i}.attn.norm.*"),
        stack(("layers.{i}.q.*", "layers.{i}.k.*", "layers.{i}.v.*"), "blocks.{i}.qkv.*"),
        transpose("visual_projection.weight", "image.proj"),
        reshape("logit_scale", "log_scale", (), (1,)),
        drop("text_model.embeddings.position_ids"),
    ])

Nothing is guessed: a key no rule speaks of, a key two rules speak of, and a key that is left unset
are errors on either side, all of them in one report. dtypes are never changed.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sensorium.weights import ops
from sensorium.weights.errors import WeightsError, report
from sensorium.weights.ops import Op

Names = str | tuple[str, ...]
Side = Literal["theirs", "ours"]
State = Mapping[str, Tensor]
Restore = Callable[[State], State]
Bound = tuple[tuple[str, str], ...]  # what the wildcards of one match stand for

WILD = re.compile(r"\{([a-z_]+)\}|\*\*|\*")


class Rule(NamedTuple):
    """Keys of theirs, keys of ours, and the steps from the one to the other."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    steps: tuple[Op, ...] = ()


class Drop(NamedTuple):
    """Keys of theirs that carry nothing we keep; `restore(ours)` makes them again for an export."""

    pattern: str
    restore: Restore | None = None


def rule(theirs: Names, ours: Names, *steps: Op) -> Rule:
    """The general rule: `theirs` through `steps`, in order, become `ours`.

    Raises:
        WeightsError: the two sides do not use the same wildcards, or the steps do not fit the keys.
    """
    left = (theirs,) if isinstance(theirs, str) else tuple(theirs)
    right = (ours,) if isinstance(ours, str) else tuple(ours)
    made = Rule(left, right, steps)
    if len({str(sorted(_wildcards(pattern))) for pattern in left + right}) > 1:
        raise WeightsError(f"{_say(made)}: every pattern of a rule must have the same wildcards")
    count = len(left)
    for step in steps:
        try:
            count = step.arity(count)
        except WeightsError as wrong:
            raise WeightsError(f"{_say(made)}: {step.name} {wrong}") from wrong
    if count != len(right):
        raise WeightsError(f"{_say(made)}: {count} tensors come out for {len(right)} keys of ours")
    return made


def rename(theirs: str, ours: str) -> Rule:
    """The same tensor under another name."""
    return rule(theirs, ours)


def split(
    theirs: str, ours: tuple[str, ...], dim: int = 0, sizes: tuple[int, ...] | None = None
) -> Rule:
    """One tensor of theirs is several of ours, end to end along `dim` (equal when no `sizes`)."""
    return rule(theirs, ours, ops.chunk(len(ours), dim, sizes))


def stack(
    theirs: tuple[str, ...], ours: str, dim: int = 0, sizes: tuple[int, ...] | None = None
) -> Rule:
    """Several tensors of theirs, laid end to end along `dim`, are one of ours (q, k, v -> qkv)."""
    return rule(theirs, ours, ops.concat(len(theirs), dim, sizes))


def transpose(theirs: str, ours: str, dims: tuple[int, ...] = (1, 0)) -> Rule:
    """Axis i of ours is axis `dims[i]` of theirs; a kernel (y, x, in, out) needs (3, 2, 0, 1)."""
    return rule(theirs, ours, ops.permute(*dims))


def reshape(
    theirs: str, ours: str, theirs_shape: tuple[int, ...], ours_shape: tuple[int, ...]
) -> Rule:
    """The same elements in another shape; one axis a side may be -1."""
    return rule(theirs, ours, ops.reshape(theirs_shape, ours_shape))


def unbind(theirs: str, ours: str, count: int, *steps: Op) -> Rule:
    """Layers stacked along axis 0 of one tensor become `count` keys: `{i}` of `ours` is 0..count-1.

    `steps` then run on each layer's tensor.
    """
    if "{i}" not in ours:
        raise WeightsError(
            f"unbind {theirs} -> {ours}: ours must say where the layer goes, as {{i}}"
        )
    layers = tuple(ours.replace("{i}", str(i)) for i in range(count))
    return rule(theirs, layers, ops.unbind(count), *steps)


def drop(pattern: str, restore: Restore | None = None) -> Drop:
    """Keys of theirs without meaning for us (buffers, sizes written as tensors).

    With `restore`, a function of our tensors that returns {their key: tensor}, an export writes
    them again, and an import refuses a file whose values differ from the restored ones: what is
    dropped is then proved to carry nothing. Without it they are gone from exports.
    """
    _wildcards(pattern)
    return Drop(pattern, restore)


def prefix(rules: Iterable[Rule | Drop], theirs: str = "", ours: str = "") -> list[Rule | Drop]:
    """The same rules for a tower that sits under a prefix on either side.

    A `restore` inside still returns their keys without the prefix and sees ours without it.
    """
    return [_prefixed(one, theirs, ours) for one in rules]


def _prefixed(one: Rule | Drop, theirs: str, ours: str) -> Rule | Drop:
    if isinstance(one, Rule):
        left = tuple(theirs + pattern for pattern in one.theirs)
        return Rule(left, tuple(ours + pattern for pattern in one.ours), one.steps)
    inner = one.restore
    if inner is None:
        return Drop(theirs + one.pattern)

    def restore(state: State) -> State:
        below = {key[len(ours) :]: value for key, value in state.items() if key.startswith(ours)}
        return {theirs + key: value for key, value in inner(below).items()}

    return Drop(theirs + one.pattern, restore)


class KeyMap:
    """An ordered set of rules; the order means nothing, for no key may have two.

    Raises:
        WeightsError: two rules name the same pattern.
    """

    def __init__(self, rules: Sequence[Rule | Drop]):
        self.rules = [one for one in rules if isinstance(one, Rule)]
        self.drops = [one for one in rules if isinstance(one, Drop)]
        self._theirs = _compiled([one.theirs for one in self.rules], "theirs")
        self._ours = _compiled([one.ours for one in self.rules], "ours")
        self._drops = [(re.compile(_regex(one.pattern)), one) for one in self.drops]

    def load(
        self, state: State, expected: Mapping[str, Sequence[int]], where: str = "weights"
    ) -> dict[str, Tensor]:
        """Their tensors as ours: exactly the keys and shapes of `expected`.

        Args:
            state: what the file holds.
            expected: our names and shapes, from a net built on the meta device:
                `{name: t.shape for name, t in net.state_dict().items()}`.
            where: names the file in errors.

        Raises:
            WeightsError: one report of every key that is missing, unexpected, in two rules, wrongly
                shaped, or dropped although it carries something.
        """
        found: dict[str, list[str]] = {}
        kept, dropped = self._without_dropped(state, found)
        ours = self._convert(kept, "theirs", found)
        for key, tensor in ours.items():
            if key not in expected:
                note(found, "not in this model", f"{key} (theirs: {self._other(key, 'ours')})")
            elif tuple(tensor.shape) != tuple(expected[key]):
                shapes = f"{tuple(tensor.shape)} in the file, {tuple(expected[key])} in the model"
                note(found, "wrongly shaped", f"{key} {shapes}")
        unset = [key for key in expected if key not in ours]
        for key in unset:
            note(found, "missing", f"{key} (theirs: {self._other(key, 'ours')})")
        if not found:
            self._check_dropped(dropped, ours, found)
        if found:
            raise report(where, found, "Is this the layout and the size of model that was said?")
        return ours

    def save(self, ours: State, where: str = "export") -> dict[str, Tensor]:
        """Our tensors as theirs, with the dropped keys that a rule can restore.

        Raises:
            WeightsError: one report of every key that no rule, or more than one, can write.
        """
        found: dict[str, list[str]] = {}
        theirs = self._convert(ours, "ours", found)
        for pattern, one in self._drops if not found else []:
            for key, tensor in one.restore(ours).items() if one.restore is not None else ():
                if key in theirs or not pattern.fullmatch(key):
                    note(found, "restored under a key that is not the rule's", key)
                theirs[key] = tensor
        if found:
            raise report(where, found, "This layout cannot hold this model.")
        return theirs

    def reads(self, names: Iterable[str]) -> bool:
        """Whether every one of their names has exactly one rule; lists the layouts a file may have.

        It proves nothing about what the weights mean: files of one layout may still differ in what
        no name shows (the activation), so the layout to use must be said, not found this way.
        """
        drops = [pattern for pattern, _ in self._drops]
        counts = (
            len(self._matches(name, "theirs")) + any(bool(drop.fullmatch(name)) for drop in drops)
            for name in names
        )
        return all(count == 1 for count in counts)

    def _without_dropped(
        self, state: State, found: dict[str, list[str]]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        kept: dict[str, Tensor] = {}
        dropped: dict[str, Tensor] = {}
        for key, tensor in state.items():
            if any(pattern.fullmatch(key) for pattern, _ in self._drops):
                dropped[key] = tensor
                if self._matches(key, "theirs"):
                    note(found, "in two rules", key)
            else:
                kept[key] = tensor
        return kept, dropped

    def _check_dropped(self, dropped: State, ours: State, found: dict[str, list[str]]) -> None:
        for pattern, one in self._drops:
            if one.restore is None:
                continue
            made = one.restore(ours)
            for key, tensor in dropped.items():
                if pattern.fullmatch(key) and not (key in made and _equal(tensor, made[key])):
                    note(found, "meant to be dropped, but of another value than expected", key)

    def _convert(self, state: State, side: Side, found: dict[str, list[str]]) -> dict[str, Tensor]:
        parts: dict[tuple[int, Bound], dict[int, Tensor]] = {}
        for key, tensor in state.items():
            matches = self._matches(key, side)
            if len(matches) != 1:
                note(found, "in two rules" if matches else "without a rule", key)
                continue
            index, place, bound = matches[0]
            parts.setdefault((index, bound), {})[place] = tensor
        out: dict[str, Tensor] = {}
        for (index, bound), given in parts.items():
            one = self.rules[index]
            sources, targets = (
                (one.theirs, one.ours) if side == "theirs" else (one.ours, one.theirs)
            )
            names = [_fill(pattern, bound) for pattern in sources]
            absent = [name for place, name in enumerate(names) if place not in given]
            if absent:
                for name in absent:
                    note(found, "missing", f"{name} (belongs with {names[min(given)]})")
                continue
            tensors = tuple(given[place] for place in range(len(sources)))
            try:
                made = _walk(one.steps, tensors, side)
            except WeightsError as wrong:
                note(found, "not as the rule expects", f"{names[0]} {wrong}")
                continue
            for pattern, tensor in zip(targets, made, strict=True):
                name = _fill(pattern, bound)
                if name in out:
                    note(found, "made by two rules", name)
                out[name] = tensor
        return out

    def _matches(self, key: str, side: Side) -> list[tuple[int, int, Bound]]:
        table = self._theirs if side == "theirs" else self._ours
        hits = ((index, place, pattern.fullmatch(key)) for index, place, pattern in table)
        return [(i, p, tuple(sorted(hit.groupdict().items()))) for i, p, hit in hits if hit]

    def _other(self, key: str, side: Side) -> str:
        """The name of a key on the other side, for reports."""
        for index, _, bound in self._matches(key, side):
            one = self.rules[index]
            patterns = one.theirs if side == "ours" else one.ours
            return " + ".join(_fill(pattern, bound) for pattern in patterns)
        return "no rule makes it"


def note(found: dict[str, list[str]], kind: str, what: str) -> None:
    """Adds a finding to a report that is being gathered."""
    found.setdefault(kind, []).append(what)


def _walk(steps: tuple[Op, ...], tensors: tuple[Tensor, ...], side: Side) -> tuple[Tensor, ...]:
    for step in steps if side == "theirs" else reversed(steps):
        tensors = step.load(tensors) if side == "theirs" else step.save(tensors)
    return tensors


def _compiled(
    sides: Sequence[tuple[str, ...]], side: Side
) -> list[tuple[int, int, re.Pattern[str]]]:
    seen: set[str] = set()
    table: list[tuple[int, int, re.Pattern[str]]] = []
    for index, patterns in enumerate(sides):
        for place, pattern in enumerate(patterns):
            regex = _regex(pattern)
            shape = re.sub(r"\?P<\w+>|\(\?P=\w+\)", "", regex)
            if shape in seen:
                raise WeightsError(f"two rules speak of {side} {pattern}")
            seen.add(shape)
            table.append((index, place, re.compile(regex)))
    return table


def _wildcards(pattern: str) -> set[str]:
    found = [hit.group(1) or hit.group(0) for hit in WILD.finditer(pattern)]
    if sum(name.startswith("*") for name in found) > 1:
        raise WeightsError(f"pattern {pattern}: at most one * or **")
    if re.search(r"[{}]", WILD.sub("", pattern)):
        raise WeightsError(
            f"pattern {pattern}: a wildcard is a lower-case name in braces, as {{i}}"
        )
    return set(found)


def _regex(pattern: str) -> str:
    out, at, seen = "", 0, set[str]()
    for hit in WILD.finditer(pattern):
        name = hit.group(1)
        out += re.escape(pattern[at : hit.start()])
        if name is None:
            out += "(?P<STAR>.+)" if hit.group(0) == "**" else r"(?P<STAR>[^./]+)"
        elif name in seen:
            out += f"(?P={name})"
        else:
            out += f"(?P<{name}>[0-9]+)"
            seen.add(name)
        at = hit.end()
    return out + re.escape(pattern[at:])


def _fill(pattern: str, bound: Bound) -> str:
    values = dict(bound)
    return WILD.sub(lambda hit: values[hit.group(1) or "STAR"], pattern)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a.to(b.dtype), b))


def _say(one: Rule) -> str:
    return f"rule {' + '.join(one.theirs)} -> {' + '.join(one.ours)}"
