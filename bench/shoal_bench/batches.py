"""GetBatch: a thousand objects a request, in one ordered tar, over one connection; raw, and through AIStore's SDK."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from urllib.parse import urlsplit

from shoal_bench.load import ROUNDS, BenchFailed, Measured
from shoal_bench.systems import Running
from shoal_bench.work import BUCKET, Scale, Size, fill_with, names

OBJECTS_A_BATCH = 1000
PIECE_BYTES = 1 << 20
WARM_BATCHES = 12

Read = Callable[[Sequence[str]], int]
"""Reads a batch of these names; the number of objects that came."""


def sizes(scale: Scale) -> tuple[Size, ...]:
    objects = 10_000 if scale.seconds > 1 else 1000
    return (Size("10 KiB", 10 << 10, objects, 16), Size("100 KiB", 100 << 10, max(objects // 5, 1000), 16))


def batch_rows(system: Running, scale: Scale) -> Iterator[tuple[str, Measured]]:
    """An operation is an object."""
    for size in sizes(scale):
        fill_with(system, size, "get")
        found = [path.removeprefix(f"/{BUCKET}/") for path in names(size, "get")]
        yield f"BATCH {size.label}", measured(system, found, raw_reader(system, size), scale)
        if (read := sdk_reader(system)) is not None:
            yield f"SDK BATCH {size.label}", measured(system, found, read, scale)


def measured(system: Running, found: Sequence[str], read: Read, scale: Scale) -> Measured:
    choose = Random(1)
    for begin in range(0, WARM_BATCHES * OBJECTS_A_BATCH, OBJECTS_A_BATCH):
        read([found[number % len(found)] for number in range(begin, begin + OBJECTS_A_BATCH)])
    rounds = [one_round(system, found, read, choose, scale.seconds) for _ in range(ROUNDS)]
    rounds.sort(key=lambda each: each.per_second)
    return replace(rounds[ROUNDS // 2], least=rounds[0].per_second, most=rounds[-1].per_second)


def one_round(system: Running, found: Sequence[str], read: Read, choose: Random, seconds: float) -> Measured:
    times, before, began = list[float](), system.cpu(), time.monotonic()
    while time.monotonic() - began < seconds:
        wanted = choose.choices(found, k=OBJECTS_A_BATCH)
        batch_began = time.monotonic()
        if (came := read(wanted)) != OBJECTS_A_BATCH:
            raise BenchFailed(f"a batch had {came} objects instead of {OBJECTS_A_BATCH}")
        times.append((time.monotonic() - batch_began) * 1e3)
    took = time.monotonic() - began
    operations = len(times) * OBJECTS_A_BATCH
    times.sort()
    return Measured(
        operations, took, times[len(times) // 2], times[int(len(times) * 0.99)], system.cpu() - before
    )


def raw_reader(system: Running, size: Size) -> Read:
    """Nothing is taken apart: what the server can give."""
    connection = http.client.HTTPConnection(urlsplit(system.signer.endpoint).netloc, timeout=60)
    buffer = bytearray(PIECE_BYTES)
    member_bytes = 512 + size.bytes + -size.bytes % 512

    def read(wanted: Sequence[str]) -> int:
        items = [{"objname": name, "bucket": BUCKET} for name in wanted]
        connection.request("GET", "/v1/ml/moss", json.dumps({"in": items, "strm": True, "mime": ".tar"}))
        answer = connection.getresponse()
        total = 0
        while count := answer.readinto(buffer):
            total += count
        return total // member_bytes if answer.status == 200 else 0

    return read


def sdk_reader(system: Running) -> Read | None:
    """The official SDK as a training loop has it; None where it is not installed."""
    try:
        from aistore import Client
    except ImportError:
        return None
    client = Client(system.signer.endpoint)
    bucket = client.bucket(BUCKET)

    def read(wanted: Sequence[str]) -> int:
        return sum(1 for _ in client.batch(list(wanted), bucket=bucket).get())

    return read
