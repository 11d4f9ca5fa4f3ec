"""The table: every figure of every system, and its ratio to ours."""

from __future__ import annotations

import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shoal_bench.load import Measured

SIZE = re.compile(r"(\d+) ([KMG])iB")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
HEAD = (
    "| work | system | requests/s (slowest, fastest round) | ratio | p50 ms | p99 ms | CPU s / 1,000 | CPU s / GiB |\n"
    + "|---" * 8
    + "|"
)


def table(rows: Mapping[str, Mapping[str, Measured]]) -> str:
    """Markdown. `rows`: work -> system -> figures; the ratio is ours to that system's."""
    lines = [HEAD]
    for work, systems in rows.items():
        ours = systems.get("shoal")
        for name, figures in systems.items():
            lines.append(line(work, name, figures, ours=ours))
    return "\n".join(lines)


def line(work: str, name: str, figures: Measured, *, ours: Measured | None) -> str:
    ratio = f"{ours.per_second / figures.per_second:.2f}" if ours is not None and name != "shoal" else ""
    size = size_of(work)
    per_gib = f"{figures.cpu_seconds / (figures.operations * size / (1 << 30)):.2f}" if size else ""
    p50, p99 = f"{figures.p50_ms:.2f}", f"{figures.p99_ms:.2f}"
    spread = f" ({rate(figures.least)}, {rate(figures.most)})" if figures.most else ""
    return (
        f"| {work} | {name} | {rate(figures.per_second)}{spread} | {ratio} | {p50} | {p99} "
        f"| {figures.cpu_us / 1e3:.3f}{sides_of(figures)} | {per_gib} |"
    )


def rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def size_of(work: str) -> int:
    """Bytes of an operation, as its title says; 0 where it says nothing."""
    found = SIZE.search(work)
    return int(found[1]) * UNITS[found[2]] if found else 0


def sides_of(figures: Measured) -> str:
    """Milliseconds of CPU per operation of each side."""
    each = (f"{side} {spent / figures.operations * 1e3:.2f}" for side, spent in figures.sides.items())
    return f" ({', '.join(each)})" if figures.sides else ""


def as_json(rows: Mapping[str, Mapping[str, Measured]]) -> str:
    """For plots, and for comparing runs."""
    return msgspec.json.format(msgspec.json.encode(rows), indent=1).decode()


def commit_groups(endpoint: str) -> tuple[float, float]:
    """Commits and groups so far, as the gateway's metrics tell of its host's target."""
    text = urllib.request.urlopen(f"{endpoint}/-/metrics").read().decode()
    return value(text, "shoal_store_commits_total"), value(text, "shoal_store_commit_groups_total")


def value(text: str, name: str) -> float:
    found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.e+]+)$", text, re.MULTILINE)
    return sum(map(float, found))


def syncs_per_second(folder: Path, *, count: int = 300) -> float:
    """4 KiB written and fdatasync'ed, one after the other, on the disk of `folder`."""
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.monotonic()
        for number in range(count):
            os.pwrite(file.fileno(), bytes(4096), number * 4096)
            os.fdatasync(file.fileno())
        return count / (time.monotonic() - began)


def written_mib_per_second(folder: Path, *, mib: int = 512) -> float:
    """What `dd conv=fdatasync` writes to the disk of `folder`."""
    block = os.urandom(1 << 20)
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.monotonic()
        for _ in range(mib):
            file.write(block)
        file.flush()
        os.fdatasync(file.fileno())
        return mib / (time.monotonic() - began)


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    gib = int(memory[1]) / (1 << 20) if memory else 0
    return f"{os.cpu_count()} cores of {model[1] if model else 'unknown'}, {gib:.0f} GiB, Linux {os.uname().release}"
