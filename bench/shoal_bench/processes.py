"""CPU time of a server: its process and all that it started."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(root: int) -> float:
    """User and system time of the process and its descendants that live now. Threads are included."""
    stats = [stat for stat in map(read_stat, process_ids()) if stat is not None]
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for pid, parent, spent in stats:
        children.setdefault(parent, []).append(pid)
        ticks[pid] = spent
    total, open_pids = 0, [root]
    while open_pids:
        pid = open_pids.pop()
        total += ticks.get(pid, 0)
        open_pids += children.get(pid, [])
    return total / TICKS_PER_SECOND


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
