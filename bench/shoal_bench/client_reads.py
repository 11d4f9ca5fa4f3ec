"""Reads of the Python client: of this host's files, and in parallel through connections that are capped or not."""

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from shoal_bench.load import ROUNDS, Measured
from shoal_bench.rows import Row, Subject
from shoal_bench.streams import MIB, rounds_of
from shoal_bench.work import Place, Scale
from shoal_client.client import ShoalClient
from shoal_client.http_reads import look_up
from shoal_client.parallel import ParallelObject
from shoal_client.remote import RemoteObjectStore
from shoal_core.certificates import TlsFiles
from shoal_core.objects import ObjectStore
from shoal_core.rpc import Channels

CAP_BYTES_PER_SECOND = 100_000_000
PIECE_BYTES = 256 << 10
LOCAL_MIB = 64
RANGE_BYTES = 8 * MIB
WORKERS = 4
PLACE = Place("reads", "", (("durability", "os"),))

Read = Callable[[], Awaitable[None]]


def client_rows(scale: Scale) -> list[Row]:
    """An operation is an object, every byte of it read and verified; over HTTP read only."""
    rows = [Row(f"same-host read of {LOCAL_MIB} MiB", lambda subject: local_read(subject, scale))]
    for cap, label in ((CAP_BYTES_PER_SECOND, "capped at 100 MB/s each"), (None, "not capped")):
        for workers in (1, WORKERS):
            title = f"parallel download of {size_label(scale.large_mib)}, {workers} connections {label}"
            rows.append(Row(f"{title}, gRPC", grpc_measure(scale, workers, cap=cap)))
            rows.append(Row(f"{title}, HTTP", http_measure(scale, workers, cap=cap)))
    return rows


def size_label(mib: int) -> str:
    return f"{mib >> 10} GiB" if mib >= 1024 else f"{mib} MiB"


def filled(subject: Subject, name: str, mib: int) -> None:
    PLACE.ready(subject)

    async def put() -> None:
        async with connected(subject) as client:
            await client.bucket(PLACE.bucket).put(name, random_pieces(mib))

    subject.once(f"{PLACE.bucket} {name}", lambda: subject.runner.run(put()))


def connected(subject: Subject) -> ShoalClient:
    environment = subject.running.environment
    return ShoalClient.connect(environment["SHOAL_GRPC"], ca=environment["SHOAL_CA"])


async def random_pieces(mib: int) -> AsyncIterator[bytes]:
    for _ in range(mib):
        yield os.urandom(MIB)


def local_read(subject: Subject, scale: Scale) -> Measured:
    filled(subject, "local", LOCAL_MIB)
    memory = memoryview(bytearray(LOCAL_MIB * MIB))

    async def measure() -> Measured:
        async with connected(subject) as client:
            bucket = client.bucket(PLACE.bucket)

            async def read() -> None:
                with await bucket.open_local("local") as local:
                    await asyncio.to_thread(local.read_into, memory)

            await read()
            return await rounds_of(read, subject.running, seconds=scale.seconds)

    return subject.runner.run(measure())


def grpc_measure(scale: Scale, workers: int, *, cap: int | None) -> Callable[[Subject], Measured]:
    async def measure(subject: Subject) -> Measured:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(connected(subject))
            (target,) = client.cluster_map.targets
            address = stack.enter_context(capped(target.public_address, cap=cap))
            ca = TlsFiles(Path(subject.running.environment["SHOAL_CA"]))
            read = await grpc_read(stack, client, [Channels(ca) for _ in range(workers)], address)
            return await rounds_of(read, subject.running, seconds=0, rounds=1 if cap else ROUNDS)

    def measure_filled(subject: Subject) -> Measured:
        filled(subject, "large", scale.large_mib)
        return subject.runner.run(measure(subject))

    return measure_filled


async def grpc_read(
    stack: AsyncExitStack, client: ShoalClient, connections: Sequence[Channels], address: str
) -> Read:
    """Reads through one connection for each worker."""
    stores = list[RemoteObjectStore]()
    for channels in connections:
        stack.push_async_callback(channels.close)
        stores.append(
            RemoteObjectStore(
                channels.get(address), peer="the target", epoch=lambda: client.cluster_map.placement_epoch
            )
        )
    bucket = await client.resolve(client.bucket(PLACE.bucket).reference)
    info = await client.bucket(PLACE.bucket).head("large")
    memory = memoryview(bytearray(info.size))

    def lane(number: int) -> ObjectStore:
        return stores[number]

    async def read() -> None:
        reading = ParallelObject(lane, bucket, info, workers=len(stores), range_bytes=RANGE_BYTES)
        await reading.read_into(memory)

    return read


def http_measure(scale: Scale, workers: int, *, cap: int | None) -> Callable[[Subject], Measured]:
    async def measure(subject: Subject) -> Measured:
        with capped(subject.running.signer.endpoint.removeprefix("http://"), cap=cap) as address:
            found = await asyncio.to_thread(look_up, f"http://{address}", PLACE.bucket, "large")
            memory = memoryview(bytearray(found.size))

            async def read() -> None:
                await asyncio.to_thread(found.read_into, memory, workers=workers)

            return await rounds_of(read, subject.running, seconds=0, rounds=1 if cap else ROUNDS)

    def measure_filled(subject: Subject) -> Measured:
        filled(subject, "large", scale.large_mib)
        return subject.runner.run(measure(subject))

    return measure_filled


@contextmanager
def capped(target: str, *, cap: int | None) -> Iterator[str]:
    """The address of a proxy before `target`, in a process of its own so that it does not share our interpreter; the
    target itself where there is no cap."""
    if cap is None:
        yield target
        return
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_capped, args=(target, cap, theirs))
    process.start()
    try:
        yield str(ours.recv())
    finally:
        process.terminate()
        process.join()


def serve_capped(target: str, cap: int, announce: Connection) -> None:
    host, _, port = target.rpartition(":")
    # Under the target's own port on the other loopback address: a gateway answers to its own names and port alone.
    listener = socket.create_server(("::1", int(port)), family=socket.AF_INET6)
    announce.send(f"[::1]:{port}")
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((host, int(port)))
        for source, sink, limit in ((client, server, None), (server, client, cap)):
            threading.Thread(target=pump, args=(source, sink, limit), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket, cap: int | None) -> None:
    """By way of a pipe, so that the bytes are moved and not copied: the proxy stands for a network, which takes nothing
    from the processors that are measured."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIECE_BYTES)
    free_at = time.monotonic()
    # The other direction closes both ends when its own is over.
    with suppress(OSError):
        while count := os.splice(source.fileno(), writing, PIECE_BYTES):
            left = count
            while left:
                left -= os.splice(reading, sink.fileno(), left)
            if cap is None:
                continue
            # Time that was not used is not saved up, beyond what a sleep may be late by.
            free_at = max(free_at, time.monotonic() - 0.01) + count / cap
            time.sleep(max(free_at - time.monotonic(), 0))
    for each in (reading, writing):
        os.close(each)
    sink.close()
