"""Far more clients than a cluster can serve: what each of them is answered, and what that costs the workers.

`python -m shoal_bench.overload --data FOLDER --idle 10000 --clients 512` talks to the cluster that
`shoal up --data FOLDER` runs. Idle connections ask once in a while, so that none is closed for being idle; clients PUT
and GET without a pause, and those that are told to come later wait for `Retry-After`, unless they are `--rude`. At the
end every object whose PUT was acknowledged is read and compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop

from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.state import read_state

BUCKET = "overload"
ANSWER_SECONDS_MAX = 60.0
CONNECTS_AT_ONCE = 64
SOURCES = 16
"""Addresses of the loopback that connections come from: each has 28,000 ports at most."""


@dataclass(frozen=True, slots=True)
class Place:
    host: str
    port: int


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    retry_after: float


class Client:
    """One connection that speaks HTTP/1.1, and is made anew when it ended."""

    def __init__(self, place: Place, number: int) -> None:
        self._place = place
        self._source = f"127.0.1.{number % SOURCES + 1}"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Raises OSError or EOFError when the connection ended, TimeoutError when there is no answer."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            reader, writer = await self._connected()
            fields = f"Host: localhost:{self._place.port}\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode() + body)
            return await self._answer(reader, has_body=method != "HEAD")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection(
                self._place.host, self._place.port, local_addr=(self._source, 0)
            )
        return self._reader, self._writer

    async def _answer(self, reader: asyncio.StreamReader, *, has_body: bool) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        body = await reader.readexactly(int(fields.get("content-length", 0))) if has_body else b""
        if fields.get("connection") == "close":
            self.close()
        return Answer(int(head.split()[1]), body, float(fields.get("retry-after", 0)))


@dataclass(slots=True)
class Tally:
    """What clients saw."""

    answers: Counter[str] = field(default_factory=Counter)
    """By method and status, or by what went wrong."""
    unexplained: int = 0
    """503 and 429 without Retry-After."""
    seconds: list[float] = field(default_factory=list)
    """Of requests that were served."""
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Name to the seed of the body that was stored last."""


def body_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(256) * (size // 256)


async def storm(
    place: Place, tally: Tally, *, number: int, size: int, until: float, rude: bool, puts: float
) -> None:
    """One client's requests until `until` (monotonic), on names of its own."""
    client, dice, seeds = Client(place, number), random.Random(number), iter(range(1_000_000_000))
    while time.monotonic() < until:
        path = f"/v1/objects/{BUCKET}/o-{number}"
        seed = next(seeds)
        method = "PUT" if path not in tally.acknowledged or dice.random() < puts else "GET"
        began = time.monotonic()
        try:
            answer = await client.ask(method, path, body_of(seed, size) if method == "PUT" else b"")
        except (OSError, EOFError, TimeoutError) as error:
            tally.answers[f"{method} {type(error).__name__}"] += 1
            client.close()
            if method == "PUT":
                # Whether it happened nobody knows, so this name proves nothing until the next acknowledgement.
                tally.acknowledged.pop(path, None)
            await asyncio.sleep(0.1)
            continue
        tally.answers[f"{method} {answer.status}"] += 1
        if answer.status == 200:
            tally.seconds.append(time.monotonic() - began)
            if method == "PUT":
                tally.acknowledged[path] = seed
            elif answer.body != body_of(tally.acknowledged[path], size):
                tally.answers["GET of wrong bytes"] += 1
        elif answer.status in (503, 429):
            tally.unexplained += not answer.retry_after
            if not rude:
                await asyncio.sleep(answer.retry_after * dice.uniform(0.5, 1.5))
    client.close()


async def hold(place: Place, tally: Tally, *, number: int, until: float, every: float) -> None:
    """An idle connection: one request at the beginning, and one each `every` seconds."""
    client = Client(place, number)
    while (now := time.monotonic()) < until:
        try:
            answer = await client.ask("HEAD", f"/v1/objects/{BUCKET}/idle")
            tally.answers[f"idle {answer.status}"] += 1
        except (OSError, EOFError, TimeoutError) as error:
            tally.answers[f"idle {type(error).__name__}"] += 1
            client.close()
        await asyncio.sleep(min(every * random.uniform(0.5, 1), max(0.0, until - now)))
    client.close()


async def lost(place: Place, tally: Tally, *, size: int) -> int:
    """How many acknowledged objects are not there as they were acknowledged."""
    client, missing = Client(place, 0), 0
    for path, seed in tally.acknowledged.items():
        answer = await client.ask("GET", path)
        missing += answer.status != 200 or answer.body != body_of(seed, size)
    client.close()
    return missing


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process uses."""

    name: str
    resident_mib: float
    descriptors: int
    processor_seconds: float


def workers(data: Path) -> list[Worker]:
    """Those that are there, by the kernel's account."""
    state = read_state(DataFolder(data).state_file)
    found = []
    for child in state.children if state else ():
        with suppress(OSError):
            folder = Path(f"/proc/{child.pid}")
            times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
            resident = int((folder / "statm").read_text().split()[1]) / 256
            descriptors = len(list((folder / "fd").iterdir()))
            found.append(Worker(child.name, resident, descriptors, sum(map(int, times)) / 100))
    return found


async def watch(data: Path, highest: dict[str, Worker]) -> None:
    while True:
        for worker in workers(data):
            before = highest.get(worker.name, worker)
            highest[worker.name] = Worker(
                worker.name,
                max(before.resident_mib, worker.resident_mib),
                max(before.descriptors, worker.descriptors),
                worker.processor_seconds,
            )
        await asyncio.sleep(0.5)


def place_of(data: Path) -> Place:
    state = read_state(DataFolder(data).state_file)
    assert state is not None, f"no cluster runs in {data}"
    host, _, port = state.endpoint.removeprefix("http://").rpartition(":")
    return Place(host, int(port))


async def run(options: argparse.Namespace) -> dict[str, object]:
    place, tally = place_of(options.data), Tally()
    highest: dict[str, Worker] = {}
    setup = Client(place, 0)
    await setup.ask("POST", f"/v1/buckets/{BUCKET}", b'{"action":"create-bck"}')
    await setup.ask("PUT", f"/v1/objects/{BUCKET}/idle", b"i")
    setup.close()
    before = workers(options.data)
    watching = asyncio.create_task(watch(options.data, highest))
    ramp = options.idle / 2000
    until = time.monotonic() + ramp + options.seconds
    idle = []
    for number in range(options.idle):
        idle.append(asyncio.create_task(hold(place, tally, number=number, until=until, every=options.every)))
        if number % CONNECTS_AT_ONCE == 0:
            await asyncio.sleep(ramp * CONNECTS_AT_ONCE / max(options.idle, 1))
    began = time.monotonic()
    await asyncio.gather(
        *(
            storm(
                place,
                tally,
                number=number,
                size=options.size,
                until=until,
                rude=options.rude,
                puts=options.puts,
            )
            for number in range(options.clients)
        )
    )
    seconds = time.monotonic() - began
    await asyncio.gather(*idle)
    watching.cancel()
    await asyncio.sleep(3)
    missing = await lost(place, tally, size=options.size)
    return report(tally, seconds, missing, before=before, highest=highest, after=workers(options.data))


def report(
    tally: Tally,
    seconds: float,
    missing: int,
    *,
    before: Sequence[Worker],
    highest: dict[str, Worker],
    after: Sequence[Worker],
) -> dict[str, object]:
    times = sorted(tally.seconds) or [0.0]
    return {
        "seconds": round(seconds, 1),
        "served a second": round(len(tally.seconds) / max(seconds, 0.001)),
        "median ms": round(1000 * times[len(times) // 2], 1),
        "99th percentile ms": round(1000 * times[len(times) * 99 // 100], 1),
        "answers": dict(sorted(tally.answers.items())),
        "refused without Retry-After": tally.unexplained,
        "acknowledged objects": len(tally.acknowledged),
        "acknowledged and lost": missing,
        "before": [asdict(worker) for worker in before],
        "highest": [asdict(worker) for worker in highest.values()],
        "after": [asdict(worker) for worker in after],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the cluster's data folder")
    parser.add_argument("--idle", type=int, default=0, help="idle connections")
    parser.add_argument("--every", type=float, default=40.0, help="seconds between requests of an idle one")
    parser.add_argument("--clients", type=int, default=64, help="clients without pauses")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--size", type=int, default=64 << 10, help="bytes of an object")
    parser.add_argument("--puts", type=float, default=0.5, help="share of PUTs among the requests")
    parser.add_argument("--rude", action="store_true", help="do not wait when told to come later")
    options = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(uvloop.run(run(options)), indent=1) + "\n")


if __name__ == "__main__":
    main()
