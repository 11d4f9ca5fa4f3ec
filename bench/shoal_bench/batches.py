"""GetBatch: a thousand items a request, in one ordered tar, over one connection; raw, and through AIStore's SDK.

Items are objects of several sizes, and members of one large shard, at random, after each was read once.
"""

from __future__ import annotations

import http.client
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from urllib.parse import urlsplit

from shoal_bench.load import ROUNDS, BenchFailed, Measured
from shoal_bench.systems import Running
from shoal_bench.work import BUCKET, Scale, Size, body_of, fill_with, names

PIECE_BYTES = 1 << 20
WARM_ITEMS = 12_000
SHARD = "shard.tar"
MEMBER_BYTES = 10 << 10

Item = tuple[str, str]
"""An object, and the member of it that is wanted; "" for all of it."""


@dataclass(frozen=True)
class Reader:
    """`read` takes what `prepare` made of the items wanted, reads them, and says how many came. Only `read` is timed:
    what a client does before it asks is not what the server can give."""

    read: Callable[[Any], int]
    prepare: Callable[[Sequence[Item]], Any] = list


@dataclass(frozen=True)
class Batches:
    """What is read, and how much of it at a time."""

    label: str
    items: Sequence[Item]
    bytes: int
    """Of each item."""
    items_a_batch: int = 1000


def sizes(scale: Scale) -> tuple[Size, ...]:
    share = 1 if scale.seconds > 1 else 10
    return (
        Size("10 KiB", 10 << 10, 10_000 // share, 16),
        Size("32 KiB", 32 << 10, 5_000 // share, 16),
        Size("100 KiB", 100 << 10, 2_000 // share, 16),
        Size("1 MiB", 1 << 20, 200 // share, 8),
    )


def batch_rows(system: Running, scale: Scale) -> Iterator[tuple[str, Measured]]:
    """An operation is an item."""
    for size in sizes(scale):
        fill_with(system, size, "get")
        items = [(path.removeprefix(f"/{BUCKET}/"), "") for path in names(size, "get")]
        batches = Batches(size.label, items, size.bytes, 1000 if size.bytes < 1 << 20 else 100)
        yield from rows_of(system, batches, scale)
        if size.bytes >= 1 << 20 and (one := sdk_one_by_one(system)) is not None:
            yield f"SDK GET {size.label}, one by one", measured(system, batches, one, scale)
    yield from rows_of(system, members_of_shard(system, scale), scale)


def remote_batch_rows(system: Running, scale: Scale) -> Iterator[tuple[str, Measured]]:
    """Of the smallest, where everything comes by gRPC; the CPU is that of both sides."""
    size = sizes(scale)[0]
    fill_with(system, size, "get")
    items = [(path.removeprefix(f"/{BUCKET}/"), "") for path in names(size, "get")]
    yield from rows_of(system, Batches(size.label, items, size.bytes), scale)


def rows_of(system: Running, batches: Batches, scale: Scale) -> Iterator[tuple[str, Measured]]:
    yield f"BATCH {batches.label}", measured(system, batches, raw_reader(system, batches), scale)
    if (reader := sdk_reader(system)) is not None:
        yield f"SDK BATCH {batches.label}", measured(system, batches, reader, scale)


def measured(system: Running, batches: Batches, reader: Reader, scale: Scale) -> Measured:
    choose, items, count = Random(1), batches.items, batches.items_a_batch
    for begin in range(0, max(WARM_ITEMS * MEMBER_BYTES // batches.bytes, len(items)), count):
        wanted = [items[number % len(items)] for number in range(begin, begin + count)]
        reader.read(reader.prepare(wanted))
    rounds = [one_round(system, batches, reader, choose, scale.seconds) for _ in range(ROUNDS)]
    rounds.sort(key=lambda each: each.per_second)
    return replace(rounds[ROUNDS // 2], least=rounds[0].per_second, most=rounds[-1].per_second)


def one_round(system: Running, batches: Batches, reader: Reader, choose: Random, seconds: float) -> Measured:
    times, before, began = list[float](), system.cpu(), time.monotonic()
    while time.monotonic() - began < seconds:
        wanted = choose.choices(batches.items, k=batches.items_a_batch)
        prepared = reader.prepare(wanted)
        batch_began = time.monotonic()
        if (came := reader.read(prepared)) != len(wanted):
            raise BenchFailed(f"a batch had {came} items instead of {len(wanted)}")
        times.append(time.monotonic() - batch_began)
    operations, took = len(times) * batches.items_a_batch, sum(times)
    times.sort()
    p50_ms, p99_ms = times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3
    return Measured(operations, took, p50_ms, p99_ms, system.cpu() - before)


def raw_reader(system: Running, batches: Batches) -> Reader:
    """Nothing is taken apart: what the server can give."""
    connection = http.client.HTTPConnection(urlsplit(system.signer.endpoint).netloc, timeout=60)
    buffer = bytearray(PIECE_BYTES)
    member_bytes = 512 + batches.bytes + -batches.bytes % 512

    def prepare(wanted: Sequence[Item]) -> str:
        items = [
            {"objname": name, "bucket": BUCKET, **({"archpath": member} if member else {})}
            for name, member in wanted
        ]
        return json.dumps({"in": items, "strm": True, "mime": ".tar"})

    def read(message: str) -> int:
        connection.request("GET", "/v1/ml/moss", message)
        answer = connection.getresponse()
        total = 0
        while count := answer.readinto(buffer):
            total += count
        return total // member_bytes if answer.status == 200 else 0

    return Reader(read, prepare)


def sdk_reader(system: Running) -> Reader | None:
    """The official SDK as a training loop has it; None where it is not installed."""
    try:
        from aistore import Client
    except ImportError:
        return None
    client = Client(system.signer.endpoint)
    bucket = client.bucket(BUCKET)

    def read(wanted: Sequence[Item]) -> int:
        batch = client.batch([name for name, member in wanted if not member], bucket=bucket)
        for name, member in wanted:
            if member:
                batch.add(name, archpath=member)
        return sum(1 for _ in batch.get())

    return Reader(read)


def sdk_one_by_one(system: Running) -> Reader | None:
    """The same without batches, to compare with."""
    try:
        from aistore import Client
    except ImportError:
        return None
    bucket = Client(system.signer.endpoint).bucket(BUCKET)

    def read(wanted: Sequence[Item]) -> int:
        return sum(bool(bucket.object(name).get_reader().read_all()) for name, _ in wanted)

    return Reader(read)


def members_of_shard(system: Running, scale: Scale) -> Batches:
    """Of a shard of a gibibyte, which is put here."""
    count = ((1 << 30) if scale.seconds > 1 else (16 << 20)) // MEMBER_BYTES
    names = [f"samples/{number:06}.bin" for number in range(count)]
    body = body_of(Size("", MEMBER_BYTES, 1, 1))
    length = count * (512 + MEMBER_BYTES) + 1024
    connection = http.client.HTTPConnection(urlsplit(system.signer.endpoint).netloc, timeout=300)
    path, headers = f"/v1/objects/{BUCKET}/{SHARD}", {"content-length": str(length)}
    connection.request("PUT", path, tar_in_pieces(names, body), headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise BenchFailed(f"the shard was answered {answer.status}: {answer.read()[:300]!r}")
    answer.read()
    connection.close()
    label = f"10 KiB members of a shard of {length >> 20} MiB"
    return Batches(label, [(SHARD, name) for name in names], MEMBER_BYTES)


def tar_in_pieces(names: Sequence[str], body: bytes) -> Iterator[bytes]:
    for begin in range(0, len(names), 100):
        yield b"".join([tar_header(name, len(body)) + body for name in names[begin : begin + 100]])
    yield bytes(1024)


def tar_header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)
