"""How often each fault of the contract has been tried, and what came of it.

A test of faults is marked `@pytest.mark.fault(id="F1")` and takes `fault_run`: the seed, the time box, and what counts.
Each run becomes a line of the report, in a temporary file unless SHOAL_FAULT_REPORT names another.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from math import inf
from pathlib import Path

import msgspec

from support.report_lines import SEED_BITS, now

REPORT_VARIABLE = "SHOAL_FAULT_REPORT"
SEED_VARIABLE = "SHOAL_FAULT_SEED"
SECONDS_VARIABLE = "SHOAL_FAULT_SECONDS"
"""The time box of each test, in place of its own; then only the time ends it."""

PAUSE_VARIABLE = "SHOAL_FAULT_PAUSE"
"""Seconds between two calls of a client that goes on for long, for machines that others need meanwhile."""


@dataclass(frozen=True)
class Goal:
    """What the contract asks of a fault."""

    what: str
    unit: str
    ci: int
    """In one run of `make test-faults`."""
    soak: int
    """In all slices of `make soak`; 0 for every point that a run finds."""


GOALS = {
    "F1": Goal("kill -9 of targets and gateways at random bytes of writes", "kills", 50, 1_000),
    "F2": Goal("kill -9 of gateway and proxy under clients that repeat", "cycles", 20, 500),
    "F3": Goal("etcd's leader, then all of etcd, killed", "cycles", 10, 200),
    "F4": Goal("targets and gateways stopped at every step of a commit", "cycles", 10, 200),
    "F5": Goal("disk full at every write call", "fault points", 3, 0),
    "F6": Goal("I/O errors, short writes and EINTR at every system call", "fault points", 300, 3_000),
    "F7": Goal("power loss: what was not synced dropped in legal orders", "states", 2_000, 100_000),
    "F8": Goal("bit flips, truncations, swapped and stale files", "damages", 500, 20_000),
    "F16": Goal("memory cap, 256 descriptors, out-of-memory kill", "cycles", 5, 100),
    "L4": Goal("idle connections beside active ones", "connections", 2_000, 10_000),
    "L6": Goal("four times as many clients as places", "seconds", 60, 900),
    "histories": Goal("concurrent clients on few keys, processes killed", "operations", 3_000, 50_000_000),
    "grpc": Goal("mixed gRPC streams, many cancelled half-way", "seconds", 30, 1_800),
}


class FaultLine(msgspec.Struct, frozen=True, kw_only=True):
    ended: str
    id: str
    test: str
    seed: int
    count: int
    held: bool
    seconds: float
    commit: str
    notes: dict[str, float] = {}
    """Figures that were measured on the way."""


@dataclass
class FaultRun:
    """What one test does of a fault."""

    id: str
    test: str
    seed: int
    count: int = 0
    notes: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def cycles(self, most: int, *, seconds: float) -> Iterator[int]:
        """0, 1, 2 ..., until `most` have ended or a new one would begin after the time box. Counts them."""
        end = time.monotonic() + box_seconds(seconds)
        limit = inf if SECONDS_VARIABLE in os.environ else most
        number = 0
        while number < limit and (not number or time.monotonic() < end):
            yield number
            number += 1
            self.count += 1

    def note_worst(self, name: str, value: float) -> None:
        """Keeps the highest."""
        self.notes[name] = round(max(value, self.notes.get(name, value)), 3)

    def line(self, *, held: bool) -> FaultLine:
        return FaultLine(
            ended=now(),
            id=self.id,
            test=self.test,
            seed=self.seed,
            count=self.count,
            held=held,
            seconds=round(time.monotonic() - self.began, 1),
            commit=commit(),
            notes=self.notes,
        )

    @property
    def again(self) -> str:
        """The command that repeats it."""
        return f"{SEED_VARIABLE}={self.seed} scripts/test '{self.test}'"


def box_seconds(own: float) -> float:
    return float(os.environ.get(SECONDS_VARIABLE, own))


def pause_seconds() -> float:
    return float(os.environ.get(PAUSE_VARIABLE, 0))


def chosen_seed() -> int:
    """New ones for every run, unless one is to be repeated."""
    return int(os.environ.get(SEED_VARIABLE) or secrets.randbits(SEED_BITS))


def chosen_report() -> Path:
    return Path(
        os.environ.get(REPORT_VARIABLE) or Path(tempfile.gettempdir()) / f"shoal-faults-{os.getuid()}.jsonl"
    )


@cache
def commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def table(lines: Iterable[FaultLine]) -> str:
    """What was asked and what was reached, as Markdown."""
    by_id: dict[str, list[FaultLine]] = {}
    for line in lines:
        by_id.setdefault(line.id, []).append(line)
    head = "| id | fault | counted | asked of CI | asked of the soak | reached | runs | failed runs | hours | worst |"
    rows = [row_of(id, goal, by_id.get(id, [])) for id, goal in GOALS.items()]
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows]) + "\n"


def row_of(id: str, goal: Goal, lines: list[FaultLine]) -> str:
    """Runs that failed are counted, what they did is not."""
    reached = sum(line.count for line in lines if line.held)
    failed = sum(not line.held for line in lines)
    worst: dict[str, float] = {}
    for line in lines:
        for name, value in line.notes.items():
            worst[name] = max(value, worst.get(name, value))
    cells = [id, goal.what, goal.unit, f"{goal.ci:,}", f"{goal.soak:,}" if goal.soak else "all"]
    cells += [
        f"{reached:,}",
        str(len(lines)),
        str(failed),
        f"{sum(line.seconds for line in lines) / 3600:.2f}",
    ]
    cells.append(", ".join(f"{name} {value:g}" for name, value in worst.items()))
    return f"| {' | '.join(cells)} |"
