"""The checker of histories: what can have happened passes, what cannot is found."""

from __future__ import annotations

import random

import pytest

from model.linearizable import Condition, Kind, Operation, is_linearizable


def write(value: int, begin: float, end: float = float("inf")) -> Operation:
    return Operation(Kind.WRITE, value, begin, end)


def read(value: int | None, begin: float, end: float) -> Operation:
    return Operation(Kind.READ, value, begin, end)


def delete(begin: float, end: float = float("inf")) -> Operation:
    return Operation(Kind.DELETE, None, begin, end)


def create(value: int, begin: float, end: float, *, refused: bool = False) -> Operation:
    return Operation(Kind.WRITE, value, begin, end, Condition.ABSENT, refused=refused)


def swap(expected: int, value: int, begin: float, end: float, *, refused: bool = False) -> Operation:
    return Operation(Kind.WRITE, value, begin, end, Condition.EXPECTED, expected, refused)


POSSIBLE = {
    "nothing": [],
    "a read sees the write before it": [write(1, 0, 1), read(1, 2, 3)],
    "a read during a write sees the old or the new": [
        write(1, 0, 1),
        write(2, 2, 9),
        read(1, 3, 4),
        read(2, 5, 6),
        read(2, 7, 8),
    ],
    "writes at once end in either order": [write(1, 0, 5), write(2, 0, 5), read(1, 6, 7)],
    "an unknown write may show late": [write(1, 0, 1), write(2, 2), read(1, 5, 6), read(2, 7, 8)],
    "an unknown write may never show": [write(1, 0, 1), write(2, 2), read(1, 50, 60)],
    "an unknown delete may have happened": [write(1, 0, 1), delete(2), read(None, 3, 4)],
    "a creation wins and another loses": [create(1, 0, 5), create(2, 0, 5, refused=True), read(1, 6, 7)],
    "a creation after a delete": [write(1, 0, 1), delete(2, 3), create(2, 4, 5), read(2, 6, 7)],
    "a creation is refused because of an unknown write that nobody read": [
        write(1, 0),
        create(2, 1, 2, refused=True),
    ],
    "a swap of what an unknown write left": [write(1, 0), swap(1, 2, 1, 2), read(2, 3, 4)],
    "a swap of what is there": [write(1, 0, 1), swap(1, 2, 2, 3), swap(1, 3, 4, 5, refused=True)],
}
IMPOSSIBLE = {
    "a stale read": [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)],
    "a read of what nobody wrote": [write(1, 0, 1), read(2, 2, 3)],
    "a read from the future": [read(1, 0, 1), write(1, 2, 3)],
    "new, then old": [write(1, 0, 1), write(2, 2, 9), read(2, 3, 4), read(1, 5, 6)],
    "an acknowledged write is lost": [write(1, 0, 1), read(None, 2, 3)],
    "a deleted object comes back": [write(1, 0, 1), delete(2, 3), read(1, 4, 5)],
    "two creations win": [create(1, 0, 5), create(2, 0, 5)],
    "two swaps of the same win": [write(1, 0, 1), swap(1, 2, 2, 5), swap(1, 3, 2, 5)],
    "a creation is refused where nothing is": [create(1, 0, 1, refused=True)],
    "a delete finds what was never there": [delete(0, 1)],
    "an unknown write shows and goes": [write(1, 0, 1), write(2, 2), read(2, 3, 4), read(1, 5, 6)],
    "an unknown write shows before it began": [read(2, 0, 1), write(2, 2)],
}


@pytest.mark.parametrize("history", POSSIBLE.values(), ids=list(POSSIBLE))
def test_what_can_have_happened_passes(history: list[Operation]) -> None:
    assert is_linearizable(history)


@pytest.mark.parametrize("history", IMPOSSIBLE.values(), ids=list(IMPOSSIBLE))
def test_what_cannot_have_happened_is_found(history: list[Operation]) -> None:
    assert not is_linearizable(history)


def made_history(chance: random.Random, length: int) -> list[Operation]:
    """Of clients at once: each operation takes effect at a whole number and lasts around it; some get no answer."""
    state: int | None = None
    history = []
    for moment in range(length):
        begin, end = moment - chance.random() * 4, moment + chance.random() * 4
        end = float("inf") if chance.random() < 0.02 else end
        match chance.choice(["read", "write", "delete", "create"]):
            case "write":
                state = moment
                history.append(write(moment, begin, end))
            case "create":
                history.append(create(moment, begin, end, refused=state is not None))
                state = moment if state is None else state
            case "delete" if state is not None:
                state = None
                history.append(delete(begin, end))
            case _:
                history.append(read(state, begin, moment + chance.random() * 4))
    return [operation for operation in history if operation.known or not operation.refused]


def test_many_writes_without_an_answer_are_soon_decided() -> None:
    history = [write(number, number) for number in range(60)]
    history += [read(number, number + 10, number + 11) for number in range(0, 60, 7)]
    assert is_linearizable(history)


@pytest.mark.parametrize("seed", range(20))
def test_long_histories_that_happened_pass_and_with_a_lost_write_fail(seed: int) -> None:
    history = made_history(random.Random(seed), 150)
    assert is_linearizable(history)
    end = 10_000.0
    assert not is_linearizable([*history, write(-1, end, end + 1), read(-2, end + 2, end + 3)])
