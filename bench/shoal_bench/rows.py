"""What a row of the table is, and what its measuring may use: the running system, and what was prepared once for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from shoal_bench.load import Load, Measured
from shoal_bench.systems import Running


@dataclass(frozen=True)
class Subject:
    """A running system, for all of its rows."""

    running: Running
    folder: Path
    runner: asyncio.Runner
    """One event loop for all rows: gRPC's poller does not outlive the first that it has met."""
    prepared: set[str] = field(default_factory=set)

    def once(self, what: str, prepare: Callable[[], None]) -> None:
        """Rows share buckets and objects, and none is filled for a row that is not asked for."""
        if what not in self.prepared:
            prepare()
            self.prepared.add(what)

    def measured(self, load: Load, *, warm: bool) -> Measured:
        """The load's middle round, and by which processes its CPU was spent."""
        endpoint, cpu = self.running.signer.endpoint, self.running.cpu
        if warm:
            load.warm(endpoint, self.folder, cpu=cpu)
        before = self.running.sides()
        found = load.median(endpoint, self.folder, cpu=cpu)
        return replace(found, sides=shares(before, self.running.sides(), found.cpu_seconds))


@dataclass(frozen=True)
class Row:
    work: str
    measure: Callable[[Subject], Measured]
    """Raises BenchFailed."""
    also: tuple[str, ...] = ()
    """Other titles under which the same figure stands."""
    system: str = ""
    """Under another name than that of the running system."""


def matching(rows: list[Row], pattern: str | None, system: str) -> list[Row]:
    """Those of which a title, as `system: work`, has the pattern somewhere."""
    if pattern is None:
        return rows
    return [
        row
        for row in rows
        if any(re.search(pattern, f"{row.system or system}: {title}") for title in (row.work, *row.also))
    ]


def shares(before: Mapping[str, float], after: Mapping[str, float], cpu_seconds: float) -> dict[str, float]:
    """`cpu_seconds` of one round, in the proportions of all rounds."""
    spent = {side: seconds - before.get(side, 0.0) for side, seconds in after.items()}
    total = sum(spent.values())
    return {side: cpu_seconds * seconds / total for side, seconds in spent.items()} if total else {}
