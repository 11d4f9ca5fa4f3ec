"""One load on one server: by wrk for objects, by a raw client for listings."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from shoal_bench.presign import Signer

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


def list_median(signer: Signer, bucket: str, *, cpu: Callable[[], float]) -> Measured:
    """Of ROUNDS lists of everything, that of the middle cost: the system counts CPU in steps of 10 ms."""
    rounds = [list_all(signer, bucket, cpu=cpu) for _ in range(ROUNDS)]
    rates = [each.per_second for each in rounds]
    rounds.sort(key=lambda each: each.cpu_us)
    return replace(rounds[ROUNDS // 2], least=min(rates), most=max(rates))


def list_all(signer: Signer, bucket: str, *, cpu: Callable[[], float]) -> Measured:
    """Every name once, in pages of 1,000, over one connection; an operation is a name."""
    connection = http.client.HTTPConnection(urlsplit(signer.endpoint).netloc, timeout=60)
    names, token, pages = 0, "", list[float]()
    before, began = cpu(), time.monotonic()
    while True:
        query = {"list-type": "2", "max-keys": "1000"} | ({"continuation-token": token} if token else {})
        target = signer.path("GET", f"/{bucket}", query=query)
        page_began = time.monotonic()
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
        pages.append((time.monotonic() - page_began) * 1e3)
        if answer.status != 200:
            raise BenchFailed(f"a listing was answered {answer.status}: {body[:300]!r}")
        names += body.count(b"<Key>")
        found = re.search(rb"<NextContinuationToken>([^<]+)<", body)
        if found is None:
            break
        token = found[1].decode()
    seconds = time.monotonic() - began
    connection.close()
    pages.sort()
    return Measured(names, seconds, pages[len(pages) // 2], pages[int(len(pages) * 0.99)], cpu() - before)
