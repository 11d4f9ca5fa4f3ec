"""What the kernel says of memory, processor and disks: of the machine, or of the cgroup where that has less."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KIBIBYTE = 1 << 10


@dataclass(frozen=True, slots=True)
class MachineReading:
    """At one moment."""

    memory_bytes: int
    """Of the machine, or that the cgroup may use."""
    memory_available_bytes: int
    """Free, or in the page cache and given back when asked for."""
    processor_waiting: float
    """Share of the last ten seconds in which some task waited for a processor, 0 to 1."""
    disk_waiting: float
    """Share of them in which some task waited for a disk; 0 where the kernel does not say."""


class Machine:
    """Reads `/proc` and the files of this process's cgroup (v1 or v2) below `root`. Blocks for well under 1 ms."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"
        self._cgroups = root / "sys/fs/cgroup"

    def read(self) -> MachineReading:
        memory = memory_lines(self._proc / "meminfo")
        total, available = memory["MemTotal"], memory["MemAvailable"]
        for folder in self._cgroup_folders():
            limit = number_in(folder / "memory.max", folder / "memory.limit_in_bytes")
            # Only then is it asked what it uses, which the kernel has to add up.
            if limit is not None and limit < total and (used := used_in(folder)) is not None:
                total, available = limit, min(available, max(limit - used, 0))
        processor = self._waiting("cpu")
        return MachineReading(
            total,
            available,
            self._waiting_by_load_average() if processor is None else processor,
            self._waiting("io") or 0.0,
        )

    def _cgroup_folders(self) -> Iterator[Path]:
        """Where this process's cgroup may show: as it is named, or at the top, where a container sees its own."""
        for line in text_of(self._proc / "self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                top = self._cgroups / controllers
                yield top / path.lstrip("/")
                yield top

    def _waiting(self, what: str) -> float | None:
        """None where the kernel keeps no such account."""
        for line in text_of(self._proc / "pressure" / what).splitlines():
            kind, average, *_ = line.split()
            if kind == "some":
                return float(average.removeprefix("avg10=")) / 100
        return None

    def _waiting_by_load_average(self) -> float:
        """With twice as many tasks as processors, each waits half of the time."""
        running = float(text_of(self._proc / "loadavg").split()[0])
        return max(0.0, 1 - (os.cpu_count() or 1) / max(running, 0.01))


def memory_lines(file: Path = Path("/proc/meminfo")) -> dict[str, int]:
    """Bytes by name."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {words[0].removesuffix(":"): int(words[1]) * KIBIBYTE for words in lines}


def used_in(folder: Path) -> int | None:
    """Of a cgroup's memory, without what of the page cache would be given back; None where it does not say."""
    used = number_in(folder / "memory.current", folder / "memory.usage_in_bytes")
    if used is None:
        return None
    counts = counts_in(folder / "memory.stat")
    cached = sum(
        counts.get(f"total_{name}", counts.get(name, 0)) for name in ("active_file", "inactive_file")
    )
    return max(used - cached, 0)


def counts_in(file: Path) -> dict[str, int]:
    lines = (line.split() for line in text_of(file).splitlines())
    return {name: int(value) for name, value in lines}


def number_in(*files: Path) -> int | None:
    """Of the first file that is there; None where it says `max`, or none is."""
    text = next(filter(None, map(text_of, files)), "").strip()
    return int(text) if text.isdigit() else None


def text_of(file: Path) -> str:
    """Nothing where there is no such file."""
    try:
        return file.read_text()
    except OSError:
        return ""
