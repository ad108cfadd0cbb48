"""The side of the program: it is compiled and run here, asked, and never believed.

By now the process has no rights left, and its descriptors are 0 (nothing to read), 1 and 2 (pipes
to the warden), 3 (questions) and 4 (answers). It holds no tests and no expected values.
"""

import atexit
import os
import sys
import threading
import traceback
import types
from typing import Any, NoReturn

from sensorium.sandbox.within.frames import of, receive, send
from sensorium.sandbox.within.plain import decode, encode

QUESTIONS, ANSWERS = 3, 4
LONG = 500  # characters of an error's text that are told


class Caught:
    """Holds the error that ended a block; whoever opened the block tells it on."""

    error: BaseException | None = None

    def __enter__(self) -> "Caught":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.error = error
        return True


def main(mode: str, source: str | bytes) -> NoReturn:
    """Runs a program as `mode` says and ends the process."""
    try:
        {"run": run, "one": one, "two": two}[mode](source)
    finally:
        os._exit(0)


def run(source: str | bytes) -> None:
    """As a script: its errors are printed, its threads waited for, its exit hooks run."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"], sys.argv = module, ["program.py"]
    error, compiled = executed(source, vars(module))
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):
            sys.stderr.write(f"{error.code}\n")
    elif error is not None:
        send(ANSWERS, told(error, compiled))
        with Caught():
            traceback.print_exception(error)
        code = 1
    with Caught():
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with Caught():
            stream.flush()
    if error is None or isinstance(error, SystemExit):
        send(ANSWERS, {"ended": code & 0xFF})
    os._exit(code & 0xFF)


def one(source: str | bytes) -> None:
    """With its tests in the same text: says that it came to the end, and proves no more."""
    error, compiled = executed(source, fresh())
    if error is not None:
        send(ANSWERS, told(error, compiled))
        return
    send(ANSWERS, {"done": True})
    send(ANSWERS, {"nonce": receive(of(QUESTIONS))})


def two(source: str | bytes) -> None:
    """Without tests: runs, then answers calls of its functions."""
    names, kept = fresh(), []

    def other(value: Any) -> Any:
        kept.append(value)
        return {"h": [len(kept) - 1, type(value).__name__[:LONG]]}

    error, compiled = executed(source, names)
    send(ANSWERS, {"ready": True} if error is None else told(error, compiled))
    if error is not None:
        return
    while True:
        try:
            asked = receive(of(QUESTIONS))
        except EOFError:
            return
        answer: Any = None
        with Caught() as ended:
            words = decode(asked["words"], lambda sent: kept[sent["h"][0]])
            named = decode(asked["named"], lambda sent: kept[sent["h"][0]])
            if asked["name"] not in names:
                raise NameError(f"name {asked['name']!r} is not defined")
            answer = {"value": encode(names[asked["name"]](*words, **named), other)}
        with Caught() as unsent:
            send(ANSWERS, answer if ended.error is None else told(ended.error))
        if unsent.error is not None:
            send(ANSWERS, told(unsent.error))


def fresh() -> dict[str, Any]:
    """The names of a new module that programs are run in; it is not `__main__`."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    return vars(module)


def executed(source: str | bytes, names: dict[str, Any]) -> tuple[BaseException | None, bool]:
    """Runs a module's text over its names: what ended it, and whether it came to run at all."""
    code: types.CodeType | None = None
    with Caught() as ended:
        code = compile(source, "<program>", "exec", dont_inherit=True)
        types.FunctionType(code, names)()  # a module's code knows no locals: names are its globals
    return ended.error, code is not None


def told(error: BaseException, compiled: bool = True) -> dict[str, Any]:
    """An error in words; they are the program's own and mean nothing but what they say."""
    text = ""
    with Caught():
        text = str(error)[:LONG]
    return {"error": type(error).__name__[:LONG], "text": text, "compiled": compiled}
