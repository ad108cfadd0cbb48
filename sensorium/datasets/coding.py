"""A programming problem: what a model is asked, and how what it writes is tested."""

from typing import NamedTuple


class Coding(NamedTuple):
    """One problem of HumanEval or MBPP, or of a set of the same form.

    Attributes:
        id: its name in samples files.
        prompt: what is put to a model that completes; its last newline is the file's own.
        text: the same in words, for models that are talked to.
        entry: the function that is asked for; "" where only the tests name it.
        before: trusted text that the tests need: helper functions, imports, set-up.
        head: what a program needs in front of a whole function: imports, helpers; "" if nothing.
        tests: text that runs through when the program is right.
        names: functions of the program that the tests call.
        reference: a program that is right, whole.
        completes: whether a completion goes on from `prompt` (else it is a program by itself).
        together: the tests need the program's own objects, so that both run in one process.
        cpu: seconds of CPU that a right program may need; 0: the usual limit.
        stops: where completions are cut, of a model that only goes on.
    """

    id: str
    prompt: str
    text: str
    entry: str
    before: str
    head: str
    tests: str
    names: tuple[str, ...]
    reference: str
    completes: bool
    together: bool
    cpu: float
    stops: tuple[str, ...]
