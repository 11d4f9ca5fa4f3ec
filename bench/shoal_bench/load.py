"""One load on one server: by wrk."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

ROUNDS = 3
SCRIPT = Path(__file__).with_name("requests.lua")


class BenchFailed(Exception):
    """A figure that would not mean anything."""


@dataclass(frozen=True)
class Measured:
    """What came of one load."""

    operations: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    least: float = 0.0
    most: float = 0.0
    """Rates of the slowest and the fastest round."""
    sides: Mapping[str, float] = field(default_factory=dict)
    """How the CPU is shared out among the processes of both sides of a connection, where that matters."""

    @property
    def per_second(self) -> float:
        return self.operations / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU of the server per operation."""
        return self.cpu_seconds / self.operations * 1e6


@dataclass(frozen=True)
class Load:
    """`connections` clients that ask for the paths in turn, again and again."""

    method: str
    paths: Sequence[str]
    body: bytes
    connections: int
    seconds: float

    def median(self, endpoint: str, folder: Path, *, cpu: Callable[[], float]) -> Measured:
        """Of ROUNDS runs, that of the middle rate; it knows the others' rates."""
        rounds = [self.run(endpoint, folder, cpu=cpu) for _ in range(ROUNDS)]
        rounds.sort(key=lambda each: each.per_second)
        return replace(rounds[ROUNDS // 2], least=rounds[0].per_second, most=rounds[-1].per_second)

    def warm(self, endpoint: str, folder: Path, *, cpu: Callable[[], float]) -> None:
        """Asks for every path at least once, unmeasured: machines that reclaim early drop what was just written."""
        load = self
        while load.run(endpoint, folder, cpu=cpu).operations < len(self.paths):
            load = replace(load, seconds=2 * load.seconds)

    def run(self, endpoint: str, folder: Path, *, cpu: Callable[[], float]) -> Measured:
        """Raises BenchFailed when a single request was not answered as it should be."""
        listed = folder / "paths.txt"
        listed.write_text("\n".join(self.paths))
        body = folder / "body"
        body.write_bytes(self.body)
        command = [
            "wrk", "--threads", "1", "--connections", str(self.connections), "--duration", f"{self.seconds:g}s",
            "--timeout", "60s", "--script", str(SCRIPT), endpoint, "--", self.method, str(listed),
            *([str(body)] if self.body else []),
        ]  # fmt: skip
        before = cpu()
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=self.seconds + 120, check=True
        )
        spent = cpu() - before
        return measured(result.stdout, spent)


def measured(output: str, cpu_seconds: float) -> Measured:
    """From the line that the script prints at the end."""
    found = re.search(r"^BENCH (\{.*\})$", output, re.MULTILINE)
    if found is None:
        raise BenchFailed(f"wrk ended without its summary: {output[-500:]}")
    summary = json.loads(found[1])
    if summary["errors"] or not summary["requests"]:
        raise BenchFailed(f"not every request succeeded: {summary}")
    return Measured(
        summary["requests"], summary["seconds"], summary["p50_ms"], summary["p99_ms"], cpu_seconds
    )
