"""Bodies through gRPC streams between this process and a target: over its Unix socket, and over mutual TLS."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random

from shoal_bench.load import ROUNDS, Measured
from shoal_bench.rows import Row, Subject
from shoal_bench.systems import Running
from shoal_bench.work import Place, Scale
from shoal_client.client import ShoalClient
from shoal_client.remote import RemoteObjectStore
from shoal_core.certificates import TlsFiles
from shoal_core.objects import Bucket, PutRequest
from shoal_core.rpc import Channels

MIB = 1 << 20
OBJECT_MIB = 256
NAME = "stream"
PLACE = Place("streams", "", (("durability", "os"),))
"""Not synced: it is the stream that is measured, not the disk."""


@dataclass(frozen=True)
class Way:
    label: str
    address: Callable[[ShoalClient], str]


def stream_rows(scale: Scale) -> list[Row]:
    """An operation is an object; the CPU is that of the target and, beside it, of this process."""
    ways = (
        Way("Unix socket", lambda client: f"unix:{client.cluster_map.targets[0].unix_socket}"),
        Way("mutual TLS", lambda client: client.cluster_map.targets[0].internal_address),
    )
    return [row for way in ways for row in (write_row(way, scale), read_row(way, scale))]


def write_row(way: Way, scale: Scale) -> Row:
    def measure(subject: Subject) -> Measured:
        return subject.runner.run(over(subject, way, written, scale))

    return Row(f"gRPC write {OBJECT_MIB} MiB, {way.label}", measure)


def read_row(way: Way, scale: Scale) -> Row:
    def measure(subject: Subject) -> Measured:
        return subject.runner.run(over(subject, way, read, scale))

    return Row(f"gRPC read {OBJECT_MIB} MiB, {way.label}", measure)


async def over(
    subject: Subject, way: Way, action: Callable[[RemoteObjectStore, Bucket], Awaitable[None]], scale: Scale
) -> Measured:
    PLACE.ready(subject)
    system = subject.running
    async with ShoalClient.connect(
        system.environment["SHOAL_GRPC"], ca=system.environment["SHOAL_CA"]
    ) as client:
        bucket = await client.resolve(client.bucket(PLACE.bucket).reference)
        channels = Channels(TlsFiles.node(system.folder / "certificates" / "g1"))
        store = RemoteObjectStore(
            channels.get(way.address(client)),
            peer="the target",
            epoch=lambda: client.cluster_map.placement_epoch,
        )
        try:
            await written(store, bucket)
            return await rounds_of(lambda: action(store, bucket), system, seconds=scale.seconds)
        finally:
            await channels.close()


async def written(store: RemoteObjectStore, bucket: Bucket) -> None:
    await store.put(bucket, PutRequest(NAME, OBJECT_MIB * MIB), pieces())


async def pieces() -> AsyncIterator[bytes]:
    block = Random(1).randbytes(MIB)
    for _ in range(OBJECT_MIB):
        yield block


async def read(store: RemoteObjectStore, bucket: Bucket) -> None:
    body = await store.open(bucket, NAME)
    try:
        async for _ in body.chunks():
            """Verified on its way."""
    finally:
        await body.close()


async def rounds_of(
    action: Callable[[], Awaitable[None]], system: Running, *, seconds: float, rounds: int = ROUNDS
) -> Measured:
    """The round of the middle rate, each at least one object; CPU of both sides."""
    found = [await one_round(action, system, seconds=seconds) for _ in range(rounds)]
    found.sort(key=lambda each: each.per_second)
    return replace(found[rounds // 2], least=found[0].per_second, most=found[-1].per_second)


async def one_round(action: Callable[[], Awaitable[None]], system: Running, *, seconds: float) -> Measured:
    times, ours, theirs, began = list[float](), time.process_time(), system.cpu(), time.monotonic()
    while not times or time.monotonic() - began < seconds:
        begun = time.monotonic()
        await action()
        times.append((time.monotonic() - begun) * 1e3)
    took, server, client = time.monotonic() - began, system.cpu() - theirs, time.process_time() - ours
    times.sort()
    return Measured(
        len(times), took, times[len(times) // 2], times[int(len(times) * 0.99)], server,
        sides={"server": server, "client": client},
    )  # fmt: skip
