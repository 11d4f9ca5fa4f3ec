"""What the disk alone does: a file as large as an object written by `dd`, and synced."""

from __future__ import annotations

import resource
import subprocess
import time
from dataclasses import replace

from shoal_bench.load import ROUNDS, Measured
from shoal_bench.rows import Row, Subject
from shoal_bench.work import Scale, Size, body_of


def disk_rows(scale: Scale) -> list[Row]:
    """In the same run as the writes that they are compared with, and on the same disk."""
    size = scale.sizes[-1]

    def measure(subject: Subject) -> Measured:
        return dd_median(subject, size, seconds=scale.seconds)

    return [
        Row(
            f"REST PUT {size.label}",
            measure,
            also=(f"REST PUT {size.label}, 1 connection",),
            system="dd, synced",
        )
    ]


def dd_median(subject: Subject, size: Size, *, seconds: float) -> Measured:
    source = subject.folder / "dd-source"
    source.write_bytes(body_of(size))
    command = ["dd", f"if={source}", f"of={subject.folder / 'dd-written'}", "bs=1M", "conv=fdatasync"]
    subprocess.run(command, check=True, capture_output=True)
    rounds = [dd_round(command, seconds) for _ in range(ROUNDS)]
    rounds.sort(key=lambda each: each.per_second)
    return replace(rounds[ROUNDS // 2], least=rounds[0].per_second, most=rounds[-1].per_second)


def dd_round(command: list[str], seconds: float) -> Measured:
    """As many files as go into the time, one after the other; the file before is truncated each time."""
    times, before, began = list[float](), children_seconds(), time.monotonic()
    while not times or time.monotonic() - began < seconds:
        begun = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        times.append((time.monotonic() - begun) * 1e3)
    took = time.monotonic() - began
    times.sort()
    return Measured(
        len(times), took, times[len(times) // 2], times[int(len(times) * 0.99)], children_seconds() - before
    )


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
