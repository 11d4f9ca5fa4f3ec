"""CPU time of a server: its process and all that it started."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(root: int) -> float:
    """User and system time of the process and its descendants that live now. Threads are included."""
    return sum(family(root).values())


def cpu_of_modules(root: int, modules: Collection[str]) -> dict[str, float]:
    """The same, of those descendants that run one of these Python modules."""
    spent = dict.fromkeys(modules, 0.0)
    for pid, seconds in family(root).items():
        for module in modules:
            if module in command_of(pid):
                spent[module] += seconds
    return spent


def family(root: int) -> dict[int, float]:
    """Seconds of the process and of each descendant that lives now."""
    stats = [stat for stat in map(read_stat, process_ids()) if stat is not None]
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for pid, parent, spent in stats:
        children.setdefault(parent, []).append(pid)
        ticks[pid] = spent
    found, open_pids = dict[int, float](), [root]
    while open_pids:
        pid = open_pids.pop()
        found[pid] = ticks.get(pid, 0) / TICKS_PER_SECOND
        open_pids += children.get(pid, [])
    return found


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def process_ids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def read_stat(pid: int) -> tuple[int, int, int] | None:
    """Pid, parent's pid, and ticks of user and system time; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name stands in brackets and may hold blanks.
    fields = text.rpartition(")")[2].split()
    return pid, int(fields[1]), int(fields[11]) + int(fields[12])
