"""The table: every figure of every system, and its ratio to ours."""

from __future__ import annotations

import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from shoal_bench.load import Measured

SIZES = {"64 KiB": 64 << 10, "64 MiB": 64 << 20, "4 KiB": 4 << 10, "1 MiB": 1 << 20}
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
    size = next((size for label, size in SIZES.items() if label in work), 0)
    per_gib = f"{figures.cpu_seconds / (figures.operations * size / (1 << 30)):.2f}" if size else ""
    p50, p99 = f"{figures.p50_ms:.2f}", f"{figures.p99_ms:.2f}"
    spread = f" ({figures.least:,.0f}, {figures.most:,.0f})" if figures.most else ""
    return (
        f"| {work} | {name} | {figures.per_second:,.0f}{spread} | {ratio} | {p50} | {p99} "
        f"| {figures.cpu_us / 1e3:.3f} | {per_gib} |"
    )


def cpu_ratio(rows: Mapping[str, Mapping[str, Measured]], work: str, peer: str) -> float:
    """CPU per operation, the peer's to ours; more is better for us."""
    # A short listing may take less CPU than the kernel counts.
    return rows[work][peer].cpu_us / (rows[work]["shoal"].cpu_us or float("inf"))


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
