"""Reads a pickle of plain values (lists, dictionaries, texts, numbers) without running it.

Some old annotation files exist as pickles alone. A pickle is a program; here its steps are listed
by `pickletools`, which runs nothing, and those that put plain values together are followed. A step
that would look a name up or call something is refused, so nothing the file says can be carried out.
"""

import pickletools
from io import BytesIO
from pathlib import Path
from typing import Any

from sensorium.data.errors import DataError

LARGEST = 1 << 30  # bytes
STEPS = 50_000_000
MARK = object()

VALUE = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
VALUE |= {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"}
CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
GET = {"GET", "BINGET", "LONG_BINGET"}


def plain_pickle(path: str | Path) -> Any:
    """The value that a pickle of plain values spells; byte strings of Python 2 are texts.

    Raises:
        DataError: it would call or look up anything, is damaged, or is too large.
    """
    path = Path(path)
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path}: larger than {LARGEST >> 30} GiB")
    try:
        return _follow(path)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as wrong:
        if isinstance(wrong, DataError):
            raise
        raise DataError(f"{path}: is no whole pickle of plain values ({wrong})") from wrong


def _follow(path: Path) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    steps = pickletools.genops(BytesIO(path.read_bytes()))
    for count, (op, arg, _) in enumerate(steps):
        code = op.name
        if count > STEPS:
            raise DataError(f"{path}: has more than {STEPS} steps")
        if code in VALUE:
            stack.append(arg)
        elif code in CONSTANT:
            stack.append(CONSTANT[code])
        elif code in EMPTY:
            stack.append(EMPTY[code]())
        elif code == "MARK":
            stack.append(MARK)
        elif code in PUT:
            memo[int(arg or 0)] = stack[-1]
        elif code == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif code in GET:
            stack.append(memo[int(arg or 0)])
        elif code == "STOP":
            return stack.pop()
        elif code not in ("PROTO", "FRAME"):
            _build(path, code, stack)
    raise DataError(f"{path}: is cut off")


def _build(path: Path, code: str, stack: list[Any]) -> None:
    """One step that puts values together."""
    if code in ("APPEND", "SETITEM"):
        count = 1 if code == "APPEND" else 2
        found = stack[-count:]
        del stack[-count:]
    elif code in ("APPENDS", "SETITEMS", "LIST", "DICT", "TUPLE"):
        found = []
        while (top := stack.pop()) is not MARK:
            found.append(top)
        found.reverse()
    elif code in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(code[-1])
        stack[-count:] = [tuple(stack[-count:])]
        return
    elif code in ("POP", "POP_MARK", "DUP"):
        raise DataError(f"{path}: has a step {code} that files of plain values do not need")
    else:
        raise DataError(
            f"{path}: would do more than spell plain values ({code}): it is not read. Save the"
            " list as JSON, from a source you trust"
        )
    if code in ("LIST", "TUPLE"):
        stack.append(found if code == "LIST" else tuple(found))
    elif code == "DICT":
        stack.append(dict(zip(found[::2], found[1::2], strict=True)))
    elif code.startswith("APPEND"):
        _of(path, stack[-1], list).extend(found)
    else:
        _of(path, stack[-1], dict).update(zip(found[::2], found[1::2], strict=True))


def _of(path: Path, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise DataError(f"{path}: fills a {type(value).__name__} as if it were a {kind.__name__}")
    return value
