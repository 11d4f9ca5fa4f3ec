"""What a process uses of its machine, as the kernel counts it."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shoal_core.host import boottime_seconds
from shoal_core.machine import memory_lines

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_TICKS_FIELD = 19
"""Of /proc/self/stat, behind the name."""


@dataclass(frozen=True, slots=True)
class Vitals:
    uptime_seconds: float
    resident_bytes: int
    processor_percent: float
    """Of one processor, since the process began."""
    memory_bytes: int
    """Of the machine."""
    memory_available_bytes: int
    load_averages: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Of the filesystem that holds `path`, by whomever."""

    path: Path
    used_bytes: int
    available_bytes: int
    device: str
    filesystem: str


def vitals() -> Vitals:
    """Of this process."""
    uptime = boottime_seconds() - started_at()
    memory = memory_lines()
    return Vitals(
        uptime_seconds=uptime,
        resident_bytes=int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(),
        processor_percent=100 * time.process_time() / max(uptime, 0.001),
        memory_bytes=memory["MemTotal"],
        memory_available_bytes=memory["MemAvailable"],
        load_averages=os.getloadavg(),
    )


def disk_uses(folders: Iterable[Path]) -> list[DiskUse]:
    """Blocks. Nothing is in use or free on a disk that does not answer."""
    mounts = mounted()
    uses = []
    for folder in folders:
        try:
            found = os.statvfs(folder)
        except OSError:
            uses.append(DiskUse(folder, 0, 0, "", ""))
            continue
        device, filesystem = mount_of(folder.resolve(), mounts)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        uses.append(DiskUse(folder, used, found.f_bavail * found.f_frsize, device, filesystem))
    return uses


def started_at() -> float:
    """Boot-time seconds."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(fields[START_TICKS_FIELD]) / TICKS_PER_SECOND


def mounted() -> dict[str, tuple[str, str]]:
    """Device and type by the folder where they are mounted; the last mount hides the ones before."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return {words[1]: (words[0], words[2]) for words in lines}


def mount_of(folder: Path, mounts: dict[str, tuple[str, str]]) -> tuple[str, str]:
    for place in (folder, *folder.parents):
        if str(place) in mounts:
            return mounts[str(place)]
    return "", ""
