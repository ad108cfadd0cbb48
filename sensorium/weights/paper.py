"""Follows a pickle on paper: what it would build, with nothing built, called or looked up.

A pickle is a program for a small stack machine. Here a name stays a name and a call stays a note of
what would have been called, whatever the file asks for; only the notes that spell "a tensor over
such bytes" are understood. Names that are neither containers nor tensors are refused, so that the
user hears of them. No torch: this runs in the limited child of `pickled`.
"""

import pickletools
from io import BufferedIOBase
from typing import IO, Any, NamedTuple, cast

from sensorium.weights.errors import WeightsError

STEPS_MAX = 20_000_000

DTYPES = {  # torch name: (storage class, safetensors name, numpy type)
    "float64": ("DoubleStorage", "F64", "<f8"),
    "float32": ("FloatStorage", "F32", "<f4"),
    "float16": ("HalfStorage", "F16", "<f2"),
    "bfloat16": ("BFloat16Storage", "BF16", "<u2"),
    "int64": ("LongStorage", "I64", "<i8"),
    "int32": ("IntStorage", "I32", "<i4"),
    "int16": ("ShortStorage", "I16", "<i2"),
    "int8": ("CharStorage", "I8", "i1"),
    "uint8": ("ByteStorage", "U8", "u1"),
    "bool": ("BoolStorage", "BOOL", "u1"),
    "uint16": ("UInt16Storage", "U16", "<u2"),
    "uint32": ("UInt32Storage", "U32", "<u4"),
    "uint64": ("UInt64Storage", "U64", "<u8"),
    "float8_e4m3fn": ("Float8_e4m3fnStorage", "F8_E4M3", "u1"),
    "float8_e5m2": ("Float8_e5m2Storage", "F8_E5M2", "u1"),
}
STORAGES = {storage: name for name, (storage, _, _) in DTYPES.items()}
HARMLESS = {  # names that files of weights mention; they stay names
    "torch._utils": {
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    },
    "torch": {*DTYPES, *STORAGES, "Size", "device"},
    "torch.storage": {"UntypedStorage", "TypedStorage"},
    "torch.jit._pickle": {
        "build_tensorlist",
        "build_intlist",
        "build_doublelist",
        "build_boollist",
        "restore_type_tag",
    },
    "collections": {"OrderedDict", "defaultdict", "Counter"},
    "argparse": {"Namespace"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"scalar", "_reconstruct"},
    "numpy._core.multiarray": {"scalar", "_reconstruct"},
    "_codecs": {"encode"},
    "pathlib": {"PosixPath", "WindowsPath", "Path", "PurePosixPath"},
    "builtins": {"set", "frozenset", "list", "dict", "tuple", "int", "float", "bool", "complex"},
    "__builtin__": {"set", "frozenset", "list", "dict", "tuple", "long", "int", "float", "bool"},
}


class Name(NamedTuple):
    """A global that the pickle mentions. It is never looked up."""

    module: str
    name: str


class Call:
    """A note that `name` would have been called, and with what state it would have been filled."""

    def __init__(self, name: Name, args: Any):
        self.name, self.args = name, args
        self.state: Any = None


class Storage(NamedTuple):
    """Bytes beside the pickle, by key; `length` elements of `dtype` ("" when it does not say)."""

    dtype: str
    key: str
    length: int


class Array(NamedTuple):
    """A tensor: a strided view of a storage, checked to lie inside it."""

    dtype: str
    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


SAME = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
SAME |= {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
SAME |= {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
MARK = object()


def follow(file: BufferedIOBase, storages: dict[str, Storage] | None = None) -> Any:
    """The object that one pickle spells, with notes in place of calls.

    `storages`, when given, is filled with every storage that the pickle mentions, by key.

    Raises:
        WeightsError: a step or a name that files of weights do not need.
        ValueError, IndexError, KeyError: the steps make no sense (a damaged file).
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for count, (op, arg, _) in enumerate(pickletools.genops(cast(IO[bytes], file))):
        code = op.name
        if count > STEPS_MAX:
            raise WeightsError(f"the pickle has more than {STEPS_MAX} steps")
        if code in SAME:
            stack.append(arg)
        elif code in CONSTANT:
            stack.append(CONSTANT[code])
        elif code in ("PROTO", "FRAME"):
            pass
        elif code == "STOP":
            return stack.pop()
        elif code == "MARK":
            stack.append(MARK)
        elif code in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}.get(code, list)())
        elif code in ("TUPLE", "LIST"):
            stack.append((tuple if code == "TUPLE" else list)(_since_mark(stack)))
        elif code == "FROZENSET":
            stack.append(_since_mark(stack))
        elif code == "DICT":
            stack.append(_fill({}, _since_mark(stack)))
        elif code in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [stack.pop() for _ in range(int(code[-1]))]
            stack.append(tuple(reversed(items)))
        elif code in ("APPEND", "APPENDS", "ADDITEMS"):
            items = [stack.pop()] if code == "APPEND" else _since_mark(stack)
            if isinstance(stack[-1], list):
                stack[-1].extend(items)
            elif not isinstance(stack[-1], Call):
                raise WeightsError("it appends to what is no list")
        elif code in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if code == "SETITEM" else _since_mark(stack)
            if isinstance(stack[-1], dict):
                _fill(stack[-1], items)
            elif not isinstance(stack[-1], Call):
                raise WeightsError("it sets items of what is no dictionary")
        elif code in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[arg] = stack[-1]
        elif code == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif code in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[arg])
        elif code == "POP":
            stack.pop()
        elif code == "GLOBAL":
            module, _, name = str(arg).partition(" ")
            stack.append(_name(module, name))
        elif code == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(_name(module, name))
        elif code in ("REDUCE", "NEWOBJ"):
            args, name = stack.pop(), stack.pop()
            stack.append(_call(name, args))
        elif code == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Call):
                stack[-1].state = state
            elif not isinstance(stack[-1], dict):
                raise WeightsError("it gives a state to what has none")
        elif code == "BINPERSID":
            storage = _storage(stack.pop())
            stack.append(storage)
            if storages is not None:
                storages[storage.key] = storage
        else:
            raise WeightsError(
                f"it uses the pickle step {code}, which files of weights do not need"
            )
    raise WeightsError("the pickle ends early")


def _since_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (item := stack.pop()) is not MARK:
        items.append(item)
    return items[::-1]


def _fill(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise WeightsError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int | float | bytes | None):
            raise WeightsError("a dictionary key is no text or number")
        target[key] = value
    return target


def _name(module: Any, name: Any) -> Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise WeightsError("a name is no text")
    if module.split(".")[0] != "__torch__" and name not in HARMLESS.get(module, ()):
        raise WeightsError(
            f"it asks for {f'{module}.{name}'[:120]!r}, which is no part of a tensor. It was not"
            " run; save the weights alone (a state dict of tensors), best as safetensors"
        )
    return Name(module, name)


def _call(name: Any, args: Any) -> Any:
    if not isinstance(name, Name) or not isinstance(args, tuple):
        raise WeightsError("it calls what is no name")
    if name.name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
        return _array(name.name, args)
    if name.name in ("_rebuild_parameter", "_rebuild_parameter_with_state") and args:
        return args[0]
    if name == Name("collections", "OrderedDict"):
        pairs = args[0] if args else []
        if isinstance(pairs, list) and all(
            isinstance(p, list | tuple) and len(p) == 2 for p in pairs
        ):
            return _fill({}, [part for pair in pairs for part in pair])
        raise WeightsError("an OrderedDict is made of something else than pairs")
    return Call(name, args)


def _storage(pid: Any) -> Storage:
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
        raise WeightsError("a reference is no torch storage")
    kind, key, count = pid[1], pid[2], pid[4]
    view = pid[5] if len(pid) == 6 else None
    if not isinstance(kind, Name) or not isinstance(key, str) or not _whole(count):
        raise WeightsError("a storage is described wrongly")
    if view is not None:
        raise WeightsError(
            "a storage is a view of another, as torch before 0.4 wrote; save it again"
        )
    if kind.name != "UntypedStorage" and kind.name not in STORAGES:
        raise WeightsError(f"storages of type {kind.name} are not supported")
    return Storage(STORAGES.get(kind.name, ""), key, count)


def _array(how: str, args: tuple[Any, ...]) -> Array:
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise WeightsError("a tensor is described wrongly")
    storage, offset, shape, strides = args[:4]
    dtype, count = storage.dtype, storage.length
    if how == "_rebuild_tensor_v3":
        named = args[6] if len(args) > 6 else None
        if not isinstance(named, Name) or named.name not in DTYPES:
            raise WeightsError("a tensor's dtype is not supported")
        before = width(dtype) if dtype else 1
        dtype, count = named.name, count * before // width(named.name)
    sound = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    if not dtype or not sound or not all(_whole(n) for n in (offset, *shape, *strides)):
        raise WeightsError("a tensor's shape is described wrongly")
    if len(shape) > 32:
        raise WeightsError("a tensor has more than 32 axes")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 not in shape and last >= count:
        raise WeightsError(f"a tensor {shape} reaches past its storage {storage.key!r}")
    return Array(dtype, storage.key, offset, shape, strides)


def _whole(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 48


def width(dtype: str) -> int:
    """Bytes of one number."""
    return int(DTYPES[dtype][2][-1])


def elements(array: Array) -> int:
    """How many numbers an array has."""
    total = 1
    for length in array.shape:
        total *= length
    return total
