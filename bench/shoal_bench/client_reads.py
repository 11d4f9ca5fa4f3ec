"""Reads of the Python client: by several capped connections, and of this host's files. Seconds, and CPU of the client.

python -m shoal_bench.client_reads [--mib N] [--workers N] [--local-mib N] [--rounds N]

Starts a cluster of its own. The cap is a proxy in front of the target that lets 100 MB/s through each connection.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from shoal_client.bucket import BucketClient
from shoal_client.client import ShoalClient
from shoal_client.http_reads import look_up
from shoal_client.parallel import ParallelObject
from shoal_client.remote import RemoteObjectStore
from shoal_core.certificates import TlsFiles
from shoal_core.objects import ObjectStore
from shoal_core.rpc import Channels

CAP_BYTES_PER_SECOND = 100_000_000
PIECE_BYTES = 256 << 10
MIB = 1 << 20


def main() -> None:
    arguments = parsed()
    with tempfile.TemporaryDirectory(prefix="shoal-reads-") as folder, cluster(Path(folder)) as settings:
        asyncio.run(measure(settings, arguments))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="object for the capped connections")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--local-mib", type=int, default=64, help="object for the reads of this host")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


@contextmanager
def cluster(data: Path) -> Iterator[dict[str, str]]:
    """What `shoal env` says of a new cluster of one target."""
    shoal = [sys.executable, "-m", "shoal_cli"]
    subprocess.run(
        [*shoal, "up", "--detach", "--data", str(data), "--port", "0", "--grpc-port", "0"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        lines = subprocess.check_output([*shoal, "env", "--data", str(data)], text=True)
        words = [word for line in lines.splitlines() for word in shlex.split(line) if "=" in word]
        yield dict(word.rstrip(";").split("=", 1) for word in words)
    finally:
        subprocess.run([*shoal, "down", "--data", str(data)], check=True, stdout=subprocess.DEVNULL)


async def measure(settings: dict[str, str], arguments: argparse.Namespace) -> None:
    async with ShoalClient.connect(settings["SHOAL_GRPC"], ca=settings["SHOAL_CA"]) as client:
        await client.create_bucket("reads")
        bucket = client.bucket("reads")
        await bucket.put("large", random_pieces(arguments.mib))
        await bucket.put("local", random_pieces(arguments.local_mib))
        await local_reads(bucket, arguments)
        await capped_reads(client, Path(settings["SHOAL_CA"]), arguments)
        await capped_http_reads(settings["AIS_ENDPOINT"], arguments)


async def random_pieces(mib: int) -> AsyncIterator[bytes]:
    for _ in range(mib):
        yield os.urandom(MIB)


async def local_reads(bucket: BucketClient, arguments: argparse.Namespace) -> None:
    memory = memoryview(bytearray(arguments.local_mib * MIB))

    async def read() -> None:
        with await bucket.open_local("local") as local:
            await asyncio.to_thread(local.read_into, memory)

    for number in range(arguments.rounds):
        await timed(f"open and read this host's files, round {number + 1}", read, len(memory))


async def capped_reads(client: ShoalClient, ca: Path, arguments: argparse.Namespace) -> None:
    bucket = await client.resolve(client.bucket("reads").reference)
    info = await client.bucket("reads").head("large")
    (target,) = client.cluster_map.targets
    with capped(target.public_address) as address:
        connections = [Channels(TlsFiles(ca)) for _ in range(arguments.workers)]
        stores = [
            RemoteObjectStore(
                each.get(address), peer="the capped target", epoch=lambda: client.cluster_map.placement_epoch
            )
            for each in connections
        ]

        def lane(number: int) -> ObjectStore:
            return stores[number]

        seconds: list[float] = []
        for workers in (1, arguments.workers):
            reading = ParallelObject(lane, bucket, info, workers=workers, range_bytes=8 * MIB)
            with memoryview(bytearray(info.size)) as memory:
                title = f"{workers} connections of {CAP_BYTES_PER_SECOND // 1_000_000} MB/s each"
                seconds.append(await timed(title, lambda: reading.read_into(memory), info.size))  # noqa: B023
        print(f"{arguments.workers} workers are {seconds[0] / seconds[1]:.2f} x as fast as one", flush=True)
        for each in connections:
            await each.close()


async def capped_http_reads(endpoint: str, arguments: argparse.Namespace) -> None:
    with capped(endpoint.removeprefix("http://")) as address:
        found = await asyncio.to_thread(look_up, f"http://{address}", "reads", "large")
        memory = memoryview(bytearray(found.size))
        seconds = []
        for workers in (1, arguments.workers):
            title = f"{workers} HTTP connections of {CAP_BYTES_PER_SECOND // 1_000_000} MB/s each"
            reading = partial(asyncio.to_thread, found.read_into, memory, workers=workers)
            seconds.append(await timed(title, reading, found.size))
    print(f"{arguments.workers} workers are {seconds[0] / seconds[1]:.2f} x as fast as one", flush=True)


async def timed(title: str, action: Callable[[], Awaitable[None]], size: int) -> float:
    begun, cpu = time.monotonic(), time.process_time()
    await action()
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    print(
        f"{title}: {seconds:.3f} s, {size / seconds / MIB:.0f} MiB/s, CPU of the client {cpu:.3f} s",
        flush=True,
    )
    return seconds


@contextmanager
def capped(target: str) -> Iterator[str]:
    """The address of a proxy before `target`, in a process of its own so that it does not share our interpreter."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_capped, args=(target, theirs))
    process.start()
    try:
        yield str(ours.recv())
    finally:
        process.terminate()
        process.join()


def serve_capped(target: str, announce: Connection) -> None:
    host, _, port = target.rpartition(":")
    # Under the target's own port on the other loopback address: a gateway answers to its own names and port alone.
    listener = socket.create_server(("::1", int(port)), family=socket.AF_INET6)
    announce.send(f"[::1]:{port}")
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((host, int(port)))
        for source, sink, cap in ((client, server, None), (server, client, CAP_BYTES_PER_SECOND)):
            threading.Thread(target=pump, args=(source, sink, cap), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket, cap: int | None) -> None:
    memory = memoryview(bytearray(PIECE_BYTES))
    free_at = time.monotonic()
    # The other direction closes both ends when its own is over.
    with suppress(OSError):
        while count := source.recv_into(memory):
            sink.sendall(memory[:count])
            if cap is None:
                continue
            # Time that was not used is not saved up, beyond what a sleep may be late by.
            free_at = max(free_at, time.monotonic() - 0.01) + count / cap
            time.sleep(max(free_at - time.monotonic(), 0))
    sink.close()


if __name__ == "__main__":
    main()
