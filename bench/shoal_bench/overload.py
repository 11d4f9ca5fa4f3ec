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
CONNECTS_PER_SECOND = 2000
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
    served_in_time: int = 0
    """Before the clients were told to end; who rests then has nothing more to ask."""
    stored: dict[str, list[int]] = field(default_factory=dict)
    """Path to the seeds of the bodies that it may have: the one acknowledged last, and those that were tried since."""


def body_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(256) * (size // 256)


def is_stored(body: bytes, seeds: Sequence[int], size: int) -> bool:
    return any(body == body_of(seed, size) for seed in seeds)


async def storm(place: Place, tally: Tally, plan: Plan, *, number: int, until: float) -> None:
    """One client's requests until `until` (monotonic), on a name of its own."""
    client, dice, seeds = Client(place, number), random.Random(number), iter(range(1_000_000_000))
    while time.monotonic() < until:
        path = f"/v1/objects/{BUCKET}/o-{number}"
        seed = next(seeds)
        method = "PUT" if path not in tally.stored or dice.random() < plan.puts else "GET"
        began = time.monotonic()
        try:
            answer = await client.ask(method, path, body_of(seed, plan.size) if method == "PUT" else b"")
        except (OSError, EOFError, TimeoutError) as error:
            tally.answers[f"{method} {type(error).__name__}"] += 1
            client.close()
            if path in tally.stored and method == "PUT":
                tally.stored[path].append(seed)
            await asyncio.sleep(0.1)
            continue
        tally.answers[f"{method} {answer.status}"] += 1
        if answer.status == 200:
            tally.seconds.append(time.monotonic() - began)
            tally.served_in_time += time.monotonic() <= until
            if method == "PUT":
                tally.stored[path] = [seed]
            elif not is_stored(answer.body, tally.stored[path], plan.size):
                tally.answers["GET of wrong bytes"] += 1
        elif answer.status in (503, 429):
            if path in tally.stored and method == "PUT":
                # What fails because a process went away may have happened all the same.
                tally.stored[path].append(seed)
            tally.unexplained += not answer.retry_after
            if not plan.rude:
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
    for path, seeds in tally.stored.items():
        answer = await in_the_end(client, path)
        missing += answer.status != 200 or not is_stored(answer.body, seeds, size)
    client.close()
    return missing


async def in_the_end(client: Client, path: str) -> Answer:
    """What is there once the cluster has got over what was done to it."""
    until = time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        try:
            answer = await client.ask("GET", path)
        except (OSError, EOFError):
            client.close()
            answer = Answer(503, b"", 1)
        if answer.status != 503 or time.monotonic() > until:
            return answer
        await asyncio.sleep(answer.retry_after)


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


def processor_seconds(of: Sequence[Worker]) -> float:
    return sum(worker.processor_seconds for worker in of)


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


@dataclass(frozen=True, slots=True)
class Plan:
    """How many clients do what, for how long."""

    data: Path
    """The cluster's data folder."""
    idle: int = 0
    """Idle connections."""
    every: float = 40.0
    """Seconds between two requests of an idle one."""
    clients: int = 64
    """Without a pause."""
    seconds: float = 30.0
    size: int = 64 << 10
    """Bytes of an object."""
    puts: float = 0.5
    """Share of PUTs among the requests."""
    rude: bool = False
    """Do not wait when told to come later."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it."""

    seconds: float
    served_per_second: float
    served_per_processor_second: float
    """Of the cluster's, refusals included. By the clock the clients compete with it for the same processors."""
    clients_processor_seconds: float
    median_seconds: float
    percentile99_seconds: float
    answers: dict[str, int]
    refused_without_retry_after: int
    acknowledged: int
    lost: int
    """Objects that are not as they were acknowledged."""
    before: list[Worker]
    highest: list[Worker]
    after: list[Worker]


async def run(plan: Plan) -> Report:
    place, tally = place_of(plan.data), Tally()
    highest: dict[str, Worker] = {}
    setup = Client(place, 0)
    await setup.ask("POST", f"/v1/buckets/{BUCKET}", b'{"action":"create-bck"}')
    await setup.ask("PUT", f"/v1/objects/{BUCKET}/idle", b"i")
    setup.close()
    before = workers(plan.data)
    watching = asyncio.create_task(watch(plan.data, highest))
    ramp_seconds = plan.idle / CONNECTS_PER_SECOND
    until = time.monotonic() + ramp_seconds + plan.seconds
    idle = []
    for number in range(plan.idle):
        idle.append(asyncio.create_task(hold(place, tally, number=number, until=until, every=plan.every)))
        if number % CONNECTS_AT_ONCE == 0:
            await asyncio.sleep(CONNECTS_AT_ONCE / CONNECTS_PER_SECOND)
    began, began_processor = time.monotonic(), time.process_time()
    storms = asyncio.gather(
        *(storm(place, tally, plan, number=number, until=until) for number in range(plan.clients))
    )
    await asyncio.sleep(until - began)
    seconds, clients_processor = time.monotonic() - began, time.process_time() - began_processor
    served, cluster_processor = (
        tally.served_in_time,
        processor_seconds(workers(plan.data)) - processor_seconds(before),
    )
    await asyncio.gather(storms, *idle)
    watching.cancel()
    missing = await lost(place, tally, size=plan.size)
    times = sorted(tally.seconds) or [0.0]
    return Report(
        seconds,
        served / max(seconds, 0.001),
        served / max(cluster_processor, 0.001),
        clients_processor,
        times[len(times) // 2],
        times[len(times) * 99 // 100],
        dict(sorted(tally.answers.items())),
        tally.unexplained,
        len(tally.stored),
        missing,
        before,
        list(highest.values()),
        workers(plan.data),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    usual = Plan(Path())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the cluster's data folder")
    parser.add_argument("--idle", type=int, default=usual.idle, help="idle connections")
    parser.add_argument("--every", type=float, default=usual.every, help="seconds between their requests")
    parser.add_argument("--clients", type=int, default=usual.clients, help="clients without pauses")
    parser.add_argument("--seconds", type=float, default=usual.seconds)
    parser.add_argument("--size", type=int, default=usual.size, help="bytes of an object")
    parser.add_argument("--puts", type=float, default=usual.puts, help="share of PUTs")
    parser.add_argument("--rude", action="store_true", help="do not wait when told to come later")
    report = uvloop.run(run(Plan(**vars(parser.parse_args(arguments)))))
    sys.stdout.write(json.dumps(asdict(report), indent=1) + "\n")


if __name__ == "__main__":
    main()
