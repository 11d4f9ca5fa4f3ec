"""A report that grows by one JSON line with each run, so that what several runs and sessions have done adds up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

REPORTS = Path(__file__).resolve().parents[2] / "docs" / "reports"
SEED_BITS = 32
Line = TypeVar("Line", bound=msgspec.Struct)


def append_line(report: Path, line: msgspec.Struct) -> None:
    """In one write, since several test processes may share the report."""
    with report.open("ab", buffering=0) as file:
        file.write(msgspec.json.encode(line) + b"\n")


def lines_of(report: Path, kind: type[Line]) -> list[Line]:
    """None where there is no report yet."""
    if not report.exists():
        return []
    return [msgspec.json.decode(line, type=kind) for line in report.read_bytes().splitlines()]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
