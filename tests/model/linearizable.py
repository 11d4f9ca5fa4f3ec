"""Whether what concurrent clients saw of one key can have happened in some order (Wing and Gong's search, with memory).

Each operation took effect at one moment between its invocation and its return; one whose outcome nobody knows took
effect at any moment after its invocation, or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import inf

Value = int | None
"""Which write's body is there; None when the object is not."""
CONFIGURATIONS_MAX = 3_000_000


class Kind(Enum):
    READ = "saw the value"
    WRITE = "wrote the value"
    DELETE = "removed what was there"


class Condition(Enum):
    NONE = "none"
    ABSENT = "only if there is no object"
    EXPECTED = "only if the value is the expected one"


@dataclass(frozen=True, slots=True)
class Operation:
    """`invoked` and `returned` on one monotonic clock; `returned` is infinite when the outcome is not known."""

    kind: Kind
    value: Value
    """Seen or written."""
    invoked: float
    returned: float = inf
    condition: Condition = Condition.NONE
    expected: Value = None
    refused: bool = False
    """The condition did not hold: nothing was written."""
    client: str = ""

    @property
    def known(self) -> bool:
        return self.returned != inf

    @property
    def changes_nothing(self) -> bool:
        return self.kind is Kind.READ or self.refused

    def fits(self, state: Value) -> bool:
        """Whether it can have answered so while `state` was there."""
        if self.kind is Kind.READ:
            return state == self.value
        if self.kind is Kind.DELETE:
            return state is not None
        holds = {
            Condition.NONE: True,
            Condition.ABSENT: state is None,
            Condition.EXPECTED: state == self.expected,
        }[self.condition]
        return holds is not self.refused


class Undecided(Exception):
    """Too many orders to try."""


def is_linearizable(operations: Sequence[Operation], *, initial: Value = None) -> bool:
    """Each write has a value of its own. Raises Undecided."""
    settled = settle(operations)
    # Writes that nobody saw may never have happened; without them there is much less to search.
    seen = [each for each in settled if each.known or each.value is None]
    return has_order(seen, initial) or (len(seen) < len(settled) and has_order(settled, initial))


def settle(operations: Sequence[Operation]) -> list[Operation]:
    """Writes without a known outcome that somebody saw had happened by the time he knew."""
    moments: dict[Value, float] = {}
    for operation in operations:
        witnessed = operation.value if operation.kind is Kind.READ else operation.expected
        if operation.known and not operation.refused:
            moments[witnessed] = min(operation.returned, moments.get(witnessed, inf))
    return [
        replace(each, returned=moments.get(each.value, inf))
        if each.kind is Kind.WRITE and each.value is not None and not each.known
        else each
        for each in operations
    ]


def has_order(operations: Sequence[Operation], initial: Value) -> bool:
    ordered = sorted(operations, key=lambda operation: operation.invoked)
    pending = [(0, 0, initial)]
    tried = set(pending)
    while pending:
        configuration = pending.pop()
        if is_complete(ordered, *configuration[:2]):
            return True
        for following in successors(ordered, *configuration):
            if following not in tried:
                tried.add(following)
                pending.append(following)
        if len(tried) > CONFIGURATIONS_MAX:
            raise Undecided(f"{len(operations)} operations")
    return False


def is_complete(ordered: Sequence[Operation], first: int, done: int) -> bool:
    return not any(
        ordered[index].known and not done >> (index - first) & 1 for index in range(first, len(ordered))
    )


def successors(
    ordered: Sequence[Operation], first: int, done: int, state: Value
) -> Iterator[tuple[int, int, Value]]:
    """Every operation before `first` is done, and of those from there on the ones whose bit is set. Whoever comes last
    is tried first, hence the operations without a known outcome come before the others."""
    fitting = [index for index in candidates(ordered, first, done) if ordered[first + index].fits(state)]
    for index in fitting:
        if ordered[first + index].changes_nothing:
            # Whatever order there is, this one may go first: it stands in nobody's way.
            yield advanced(first, done | 1 << index, state)
            return
    for index in sorted(fitting, key=lambda index: -ordered[first + index].returned):
        operation = ordered[first + index]
        yield advanced(first, done | 1 << index, operation.value if operation.kind is Kind.WRITE else None)


def candidates(ordered: Sequence[Operation], first: int, done: int) -> list[int]:
    """Those that began before any other that is not done had returned; counted from `first`."""
    found: list[int] = []
    earliest = inf
    for index in range(len(ordered) - first):
        operation = ordered[first + index]
        if operation.invoked > earliest:
            break
        if not done >> index & 1:
            found.append(index)
            earliest = min(earliest, operation.returned)
    return found


def advanced(first: int, done: int, state: Value) -> tuple[int, int, Value]:
    """The same, with `first` past all that is done."""
    passed = (~done & (done + 1)).bit_length() - 1
    return first + passed, done >> passed, state
