"""What the listing of published layouts is made of: a layout's rules, and how a file is understood.

Names and shapes tell a model's size; they do not tell its activation, the eps of its norms, its
transform or (in general) its heads. Those a layout's definition fixes, or a configuration file
beside the weights says, or the caller says. Nothing of it is guessed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from sensorium.data.tokenizers.words import Words
from sensorium.media.specs import Spec
from sensorium.models.declaration import Declaration
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

Shapes = Mapping[str, Sequence[int]]


class Said(NamedTuple):
    """What is known beside the tensors: `beside` are the JSON files in the same folder, by name."""

    act: str | None = None
    eps: float | None = None
    heads: int | None = None
    beside: Mapping[str, Mapping[str, Any]] = {}


class Told(NamedTuple):
    """Files of an export by name, and notes of what they do not say."""

    files: dict[str, bytes]
    notes: tuple[str, ...] = ()


class Understood(NamedTuple):
    """A published file as a model of ours, with every liberty taken in `notes`.

    A model that reads no pictures has no transform. `table` is the file of a language model's
    tokenizer, `chat` the name of its chat template.
    """

    declaration: Declaration
    transform: Spec | None
    tokenizer: Mapping[str, Any] | None = None
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    table: bytes | None = None
    chat: str | None = None


class Part(NamedTuple):
    """A file of weights: its name, its tensors, and the JSON files that lie beside it, by name."""

    file: str
    tensors: Mapping[str, Tensor]
    beside: Mapping[str, Mapping[str, Any]] = {}


class Published(NamedTuple):
    """A published layout.

    Attributes:
        about: one line for people who must choose.
        maps: the rules of every form its files take; they say whether a file's names fit.
        understand: shapes by name, and what was said, to a model; raises WeightsError, which says
            what is missing and what the choices are.
        keymap: the rules for one model.
        files: the files beside the weights on export, given the model's manifest; raises
            WeightsError when the layout cannot hold the model.
        weights: name of the file of weights.
        words: the files of a language model's tokenizer and of the chat template of that name.
        parts: what files that hold a part of a model leave to be had elsewhere, by name.
        join: such a file with its parts, to the whole; raises WeightsError where they do not fit.
    """

    name: str
    about: str
    maps: tuple[KeyMap, ...]
    understand: Callable[[Shapes, Said], Understood]
    keymap: Callable[[Declaration], KeyMap]
    files: Callable[[Declaration, Mapping[str, Any]], dict[str, bytes]]
    weights: str = "model.safetensors"
    words: Callable[[Words, str | None], Told] | None = None
    parts: tuple[str, ...] = ()
    join: Callable[[Part, Mapping[str, Part]], Part] | None = None

    def fits(self, names: Sequence[str]) -> bool:
        """Whether every name has its rule here; it says nothing of what the weights mean."""
        return any(one.reads(names) for one in self.maps)


def shape(shapes: Shapes, key: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor that tells a size.

    Raises:
        WeightsError: the file does not have it, or with other axes.
    """
    if key not in shapes:
        raise WeightsError(f"no tensor {key}, from which the size is read: another layout?")
    if len(shapes[key]) != axes or min(shapes[key], default=1) < 1:
        raise WeightsError(f"{key} is {tuple(shapes[key])}, {axes} axes, none empty, are expected")
    return tuple(shapes[key])


def layers(shapes: Shapes, pattern: str) -> int:
    """How many layers the names count; `pattern` has one `{i}`.

    Raises:
        WeightsError: there are none, or some between them are missing.
    """
    left, right = (re.escape(part) for part in pattern.split("{i}"))
    hits = (re.fullmatch(f"{left}(\\d{{1,6}}){right}", key) for key in shapes)
    found = {int(hit.group(1)) for hit in hits if hit}
    if not found or found != set(range(len(found))):
        numbers = sorted(set(range(max(found, default=0))) - found) or "none at all"
        raise WeightsError(f"layers named {pattern} are missing: {numbers}"[:200])
    return len(found)


def grid(rows: int, key: str) -> int:
    """The side of the square of patches that has these positions, one before them for the class.

    Raises:
        WeightsError: not a square.
    """
    side = round((rows - 1) ** 0.5)
    if rows < 2 or side * side != rows - 1:
        raise WeightsError(f"{key} has {rows} rows, which are not 1 and a square of patches")
    return side


def agree(where: str, name: str, told: Any, fixed: Any) -> Any:
    """`fixed`, unless the caller says otherwise, which is refused.

    Raises:
        WeightsError: the caller said another value.
    """
    if told is not None and told != fixed:
        raise WeightsError(f"{name}={told!r} was said, but {where} means {fixed!r}")
    return fixed


def config_of(said: Said, name: str, kinds: Sequence[str]) -> Mapping[str, Any] | None:
    """A configuration file beside the weights, if it is there and of one of these `model_type`s."""
    found = said.beside.get(name)
    if found is None:
        return None
    kind = found.get("model_type")
    if kind not in kinds:
        wanted = " or ".join(map(repr, kinds))
        raise WeightsError(f"{name} beside the file is of model_type {kind!r}, not {wanted}")
    return found


def only(settings: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    """Refuses a setting that changes what the weights mean and is not supported here.

    Args:
        known: the settings that are understood, with the only value accepted (... for any).

    Raises:
        WeightsError: it names the settings.
    """
    odd = [
        f"{key}={value!r}"
        for key, value in settings.items()
        if key not in known or (known[key] is not ... and value != known[key])
    ]
    if odd:
        raise WeightsError(f"{where} asks for {', '.join(odd)}, which this model does not have")


def part(settings: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """An object inside a configuration.

    Raises:
        WeightsError: it is not there.
    """
    found = settings.get(key)
    if not isinstance(found, Mapping):
        raise WeightsError(f"{where} has no object {key!r}")
    return found


def whole(settings: Mapping[str, Any], key: str, default: int, where: str) -> int:
    """A whole number above 0 in a configuration.

    Raises:
        WeightsError: it is something else.
    """
    found = settings.get(key, default)
    if type(found) is not int or found < 1:
        raise WeightsError(f"{where}: {key} is {found!r}, not a whole number above 0")
    return found


def number(settings: Mapping[str, Any], key: str, default: float, where: str) -> float:
    """A finite number above 0 in a configuration.

    Raises:
        WeightsError: it is something else.
    """
    found = settings.get(key, default)
    if type(found) not in (int, float) or not 0 < found < 1e9:
        raise WeightsError(f"{where}: {key} is {found!r}, not a number above 0")
    return float(found)


def normaliser(settings: Mapping[str, Any], mean: str, std: str, where: str) -> dict[str, Any]:
    """`mean` and `std` of a transform, as far as a configuration gives them under those keys.

    Raises:
        WeightsError: they are not three numbers, or a std is not above 0.
    """
    out = {}
    for ours, key in (("mean", mean), ("std", std)):
        if key in settings:
            three = settings[key]
            sound = isinstance(three, list) and len(three) == 3
            if not sound or not all(type(x) in (int, float) and abs(x) < 1e9 for x in three):
                raise WeightsError(f"{where}: {key} is {three!r}, not three numbers")
            if ours == "std" and min(three) <= 0:
                raise WeightsError(f"{where}: {key} is {three!r}, not above 0")
            out[ours] = list(three)
    return out


def matches(settings: Mapping[str, Any], sizes: Mapping[str, Any], where: str) -> None:
    """Refuses a configuration whose sizes are not those of the weights beside it.

    Raises:
        WeightsError: it names the first size that differs.
    """
    for key, size in sizes.items():
        if key in settings and settings[key] not in (size, [size, size]):
            raise WeightsError(
                f"{where}: {key} is {settings[key]!r}, but the weights beside it have {size}:"
                " it belongs to another file"
            )


def must(condition: bool, layout: str, why: str) -> None:
    """Refuses an export that the layout cannot hold."""
    if not condition:
        raise WeightsError(f"layout {layout} cannot hold this model: {why}")


def built(declaration: Declaration, function: Callable[..., nn.Module]) -> bool:
    """Whether the declaration is of that model function."""
    return declaration.function is function
