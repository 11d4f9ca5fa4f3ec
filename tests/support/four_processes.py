"""The processes that share a target's disks, each with the parts that the services make of them.

python four_processes.py target|gateway|reader <folder> <its name>

Every body says which write made it, so that any reader can tell a torn or a stale one.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shoal.chunk.v1.chunk_pb2_grpc import add_ChunkServiceServicer_to_server
from shoal_core.objects import ListQuery, PutRequest
from shoal_core.rpc import Channels, Listener, add_listener, build_server
from shoal_gateway.commit_stream import CommitStream
from shoal_store.engine import OpenStore, open_reader
from shoal_store.local import LocalObjectStore
from shoal_target.chunk_service import ChunkServicer
from support.engines import BUCKET, in_pieces, mountpath_folders, put_in_parts, running_engine
from support.stores import CLUSTER_ID

OWN_NAMES = 6
SHARED_NAMES = 3
SIZES = (200, 9_000, 40_000, 300_000)


def body_of(name: str, writer: str, number: int) -> bytes:
    chance = random.Random(f"{name} {writer} {number}")
    head = f"{name} {writer} {number}\n".encode()
    return head + chance.randbytes(chance.choice(SIZES))


def number_in(name: str, body: bytes) -> tuple[str, int]:
    """The writer and the number of the write that made the body. Raises AssertionError for one that nobody wrote."""
    head, _, _ = body.partition(b"\n")
    told, writer, number = head.decode().split(" ")
    assert told == name, f"{name} has the body of {told}"
    assert body == body_of(name, writer, int(number)), f"{name} is torn"
    return writer, int(number)


def tell(*words: object) -> None:
    print(*words, flush=True)


async def target(folder: Path) -> None:
    stopping = asyncio.Event()
    async with running_engine(folder) as engine:
        servicer = ChunkServicer(engine, node="t1", stopping=stopping)
        server = build_server(
            node="t1",
            cluster_id=CLUSTER_ID,
            mode=Listener.LOCAL_SOCKET,
            services=[lambda server: add_ChunkServiceServicer_to_server(servicer, server)],
        )
        add_listener(server, f"unix:{folder}/t1.sock", tls=None, mode=Listener.LOCAL_SOCKET)
        await server.start()
        tell("ready")
        await asyncio.to_thread(sys.stdin.readline)
        stopping.set()
        await server.stop(5.0)


def opened(folder: Path) -> OpenStore:
    return open_reader(mountpath_folders(folder), cluster=CLUSTER_ID, target="t1")


@asynccontextmanager
async def gateway_store(folder: Path) -> AsyncIterator[LocalObjectStore]:
    channels = Channels(None)
    stream = CommitStream(channels.get(f"unix:{folder}/t1.sock"), target="t1")
    stream.start()
    await stream.connected.wait()
    disks = opened(folder)
    try:
        yield LocalObjectStore(disks.reader, disks.writer, stream, epoch=lambda: 1)
    finally:
        await stream.close()
        await channels.close()
        disks.close()


async def gateway(folder: Path, writer: str) -> None:
    """Writes until a line comes in; says each write that was acknowledged."""
    stopping = asyncio.Event()
    names = [f"{writer}/{number}" for number in range(OWN_NAMES)]
    names += [f"shared/{number}" for number in range(SHARED_NAMES)]
    async with gateway_store(folder) as store, asyncio.TaskGroup() as group:
        group.create_task(listen(stopping))
        for name in names:
            group.create_task(write(store, name, writer, stopping))
        tell("ready")


async def write(store: LocalObjectStore, name: str, writer: str, stopping: asyncio.Event) -> None:
    number = 0
    while not stopping.is_set():
        number += 1
        body = body_of(name, writer, number)
        if number % 5 == 0:
            await put_in_parts(store, name, body)
        else:
            await store.put(BUCKET, PutRequest(name, size=len(body)), in_pieces(body))
        tell("ack", name, number)
        assert name.startswith("shared/") or number_in(name, await read(store, name)) == (writer, number)


async def read(store: LocalObjectStore, name: str) -> bytes:
    body = await store.open(BUCKET, name)
    try:
        return b"".join([piece async for piece in body.chunks()])
    finally:
        await body.close()


async def reader(folder: Path) -> None:
    """Reads whatever is listed until a line comes in; says how much it read. Dies of anything that is not right."""
    stopping = asyncio.Event()
    seen: dict[str, int] = {}
    count = 0
    async with gateway_store(folder) as store, asyncio.TaskGroup() as group:
        group.create_task(listen(stopping))
        tell("ready")
        while not stopping.is_set():
            page = await store.list(BUCKET, ListQuery())
            for name in [info.name for info in page.entries]:
                _, number = number_in(name, await read(store, name))
                if not name.startswith("shared/"):
                    assert number >= seen.get(name, 0), f"{name} went back from {seen[name]} to {number}"
                    seen[name] = number
                count += 1
            assert set(seen) <= {info.name for info in page.entries}, "a name vanished from the list"
            await asyncio.sleep(0)
    tell("read", count)


async def listen(stopping: asyncio.Event) -> None:
    await asyncio.to_thread(sys.stdin.readline)
    stopping.set()


async def main(role: str, folder: Path, name: str) -> None:
    match role:
        case "target":
            await target(folder)
        case "gateway":
            await gateway(folder, name)
        case "reader":
            await reader(folder)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
    except BaseException:
        traceback.print_exc()
        # Not waiting for the thread that reads the standard input.
        os._exit(1)
