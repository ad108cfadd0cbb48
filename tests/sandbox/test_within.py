"""The parts of the sandbox that run inside, each beside a slow and obvious twin."""

import os
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.sandbox.within import seccomp
from sensorium.sandbox.within.frames import exactly, of, packed, receive, send
from sensorium.sandbox.within.plain import Handle, decode, encode

ALLOW, STOP, GONE = seccomp.ALLOW, seccomp.REFUSE | 1, seccomp.REFUSE | 38


def filtered(steps: list[seccomp.Step], data: bytes) -> int:
    """What a filter returns, by an interpreter of the few operations it has."""
    place, held = 0, 0
    while True:
        code, yes, no, k = steps[place]
        place += 1
        if code == seccomp.LOAD:
            (held,) = struct.unpack_from("<I", data, k)
        elif code == seccomp.AND:
            held &= k
        elif code == seccomp.RETURN:
            return k
        else:
            held_is = {
                seccomp.EQUAL: held == k,
                seccomp.AT_LEAST: held >= k,
                seccomp.ANY_BIT: held & k != 0,
            }[code]
            place += yes if held_is else no


def wanted(machine: str, number: int, first: int, second: int) -> int:
    """What the filter is meant to return."""
    own = seccomp.SPECIAL[machine]
    if machine == "x86_64" and number >= 0x40000000:
        return seccomp.KILL
    if number >= seccomp.KNOWN or number == own["clone3"]:
        return GONE
    if str(number) in {numbers[machine] for numbers in seccomp.REFUSED.values()}:
        return STOP
    wrong = {
        own["clone"]: first & seccomp.NEW != 0,
        own["socket"]: first not in (1, 2, 10) or second & 0xF == 3,
        own["socketpair"]: first not in (1, 2, 10) or second & 0xF == 3,
        own["ioctl"]: second in (0x5412, 0x541C),
        own["setpriority"]: (first, second) != (0, 0),
    } | dict.fromkeys(seccomp.OF_ITSELF[machine], first != 0)
    return STOP if wrong.get(number, False) else ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_answers_every_call_as_it_is_meant_to(machine: str) -> None:
    steps = seccomp.program(machine)
    words = (0, 1, 2, 3, 10, 16, 40, 0x5412, 0x541C, 0x11, 0x10000011, 0x00020000, 0x80003)
    judged = {*seccomp.SPECIAL[machine].values(), *seccomp.OF_ITSELF[machine]}
    calls = [*range(460), 999, 0x40000000, 0x40000001]
    for number in calls:
        pairs = [(a, b) for a in words for b in words] if number in judged else [(1, 2)]
        for first, second in pairs:
            data = struct.pack("<IIQQQ", number, seccomp.AUDIT[machine], 0, first, second)
            assert filtered(steps, data) == wanted(machine, number, first, second), number
    other = struct.pack("<IIQQQ", 1, seccomp.AUDIT[machine] ^ 1, 0, 0, 0)
    assert filtered(steps, other) == seccomp.KILL
    assert len(seccomp.encoded(steps)) == 8 * len(steps) < 8 * 4096
    for place, (code, yes, no, _) in enumerate(steps):
        assert code == seccomp.RETURN or place + 1 + max(yes, no) < len(steps)


def nothing_else(value: object) -> object:
    raise AssertionError(f"{value!r} is no plain value")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers(),
    lambda some: (
        st.lists(some)
        | st.lists(some).map(tuple)
        | st.dictionaries(st.text() | st.integers(), some)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.integers())
    ),
    max_leaves=12,
)


@given(plain)
def test_plain_values_arrive_as_they_were_sent(value: object) -> None:
    reader, writer = os.pipe()
    threading.Thread(
        target=lambda: (send(writer, encode(value, nothing_else)), os.close(writer))
    ).start()
    got = decode(receive(of(reader)), nothing_else)
    os.close(reader)
    assert shown(got) == shown(value)


def shown(value: object) -> str:
    """A value in words, sets in one order."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({sorted(map(repr, value))})"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({[shown(one) for one in value]})"
    if isinstance(value, dict):
        return str([(repr(k), shown(v)) for k, v in value.items()])
    return repr(value)


def test_what_lies_about_itself_arrives_as_what_it_holds() -> None:
    class Liar(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    got = decode(encode([Liar(7), {Liar(1): (Liar(2),)}], nothing_else), nothing_else)
    assert got == [7, {1: (2,)}] and type(got[0]) is int

    class Odd:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    sent = encode(Odd(), lambda value: {"h": [0, type(value).__name__]})
    got = decode(sent, lambda one: Handle(*one["h"]))
    assert got != 42 and got != Odd.__name__ and repr(got) == "<Odd in the program>"


@pytest.mark.parametrize(
    "sent", [{"t": 1}, {"i": "zz"}, {}, {"a": 1, "b": 2}, {"r": ["x"]}, {"s": [[1]]}]
)
def test_answers_that_are_no_values_are_refused(sent: object) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError, AssertionError)):
        decode(sent, nothing_else)


def test_frames_are_whole_or_an_error() -> None:
    text = packed({"a": "\ud800"})
    for end in range(len(text)):
        reader, writer = os.pipe()
        os.write(writer, text[:end])
        os.close(writer)
        with pytest.raises(EOFError):
            receive(of(reader))
        os.close(reader)
    with pytest.raises(ValueError, match="too long"):
        receive(lambda length: b"\xff" * length)
    with pytest.raises(EOFError):
        exactly(lambda length: b"", 1)
