"""Files that a target passes to programs of its host: the bytes, who may ask, and what a bad request gets."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shoal_client import local_reads
from shoal_client.bucket import BucketClient
from shoal_client.client import ShoalClient
from shoal_client.local_reads import body_of, exchange
from shoal_core.descriptors import CHUNKS_MAX, LENGTH, FilesReply, FilesRequest, descriptor_socket_of, framed
from shoal_core.errors import DataCorrupt, ObjectNotFound, OwnerUnreachable, PermissionDenied
from shoal_core.objects import BucketProperties, BucketReference
from shoal_target import descriptor_socket
from shoal_target.descriptor_socket import DescriptorSocket, check_peer
from support.node import Nodes
from support.waiting import eventually

MIB = 1 << 20
CONTENT = os.urandom(5 * MIB + 777)


@pytest.mark.parametrize("size", [0, 1, 32 << 10, MIB, MIB + 1, len(CONTENT)])
async def test_every_byte_comes_from_the_files(bucket: BucketClient, size: int) -> None:
    await bucket.put("a", CONTENT[:size])
    with await bucket.open_local("a") as local:
        memory = bytearray(size)
        local.read_into(memoryview(memory))
        assert bytes(memory) == CONTENT[:size]
        assert local.size == size


async def test_any_part_can_be_read(bucket: BucketClient) -> None:
    await bucket.put("a", CONTENT)
    chosen = random.Random(7)
    with await bucket.open_local("a") as local:
        for _ in range(50):
            start, length = chosen.randrange(len(CONTENT) + 10), chosen.randrange(3 * MIB)
            assert local.read(start, length) == CONTENT[start : start + length]


async def test_version_that_was_opened_stays_readable(bucket: BucketClient) -> None:
    await bucket.put("a", CONTENT)
    with await bucket.open_local("a") as local:
        await bucket.put("a", CONTENT[::-1])
        assert local.read() == CONTENT


@pytest.mark.slow
async def test_object_that_is_rechunked_between_two_replies_is_whole(
    client: ShoalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is the same then, and the files are others."""
    content = CONTENT[: MIB - 1] * (CHUNKS_MAX + 4)
    properties = BucketProperties(durability="os", chunk_above_bytes=1, chunk_bytes=MIB)
    name = f"many-{os.urandom(4).hex()}"
    await client.create_bucket(name, properties=properties)
    await client.bucket(name).put("a", content)
    loop, replies = asyncio.get_running_loop(), 0

    async def rechunk() -> None:
        reference = BucketReference(name)
        job = await client.jobs.start_rechunk(reference, chunk_above_bytes=1, chunk_bytes=2 * MIB)
        await client.jobs.ended(job.id)

    def exchange_first(path: Path, request: FilesRequest, descriptors: list[int]) -> FilesReply:
        nonlocal replies
        replies += 1
        reply = exchange(path, request, descriptors)
        if replies == 1:
            asyncio.run_coroutine_threadsafe(rechunk(), loop).result()
        return reply

    monkeypatch.setattr(local_reads, "exchange", exchange_first)
    with await client.bucket(name).open_local("a") as local:
        memory = bytearray(len(content))
        local.read_into(memoryview(memory))
        assert memory == content
    assert replies > 2


async def test_descriptors_cannot_write(bucket: BucketClient) -> None:
    await bucket.put("a", CONTENT)
    with await bucket.open_local("a") as local, pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(local._descriptors[0], b"x", 0)


async def test_damaged_block_is_found_by_the_reader(bucket: BucketClient, live_nodes: Nodes) -> None:
    before = {path for target in ("t1", "t2") for path in live_nodes.chunk_files(target)}
    await bucket.put("a", CONTENT)
    (path,) = {path for target in ("t1", "t2") for path in live_nodes.chunk_files(target)} - before
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(bytes((CONTENT[2 * MIB] ^ 1,)))
    with await bucket.open_local("a") as local:
        assert local.read(0, 2 * MIB) == CONTENT[: 2 * MIB]
        with pytest.raises(DataCorrupt, match="block at byte 2097152"):
            local.read_into(memoryview(bytearray(len(CONTENT))))


async def test_missing_object_is_not_found(bucket: BucketClient) -> None:
    await bucket.put("there", b"")
    with pytest.raises(ObjectNotFound):
        await bucket.open_local("missing")


@pytest.fixture
def path(client: ShoalClient) -> Path:
    return descriptor_socket_of(Path(client.cluster_map.member("t1").unix_socket))


def answer_to(path: Path, data: bytes) -> FilesReply:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        reply = body_of(connection, connection.recv(LENGTH.size, socket.MSG_WAITALL))
        return msgspec.msgpack.decode(reply, type=FilesReply)


def test_socket_is_of_its_user_alone(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("request_bytes", "error"),
    [
        (b"", "InvalidArgument"),
        (b"\0\0", "InvalidArgument"),
        (LENGTH.pack(1 << 31), "InvalidArgument"),
        (LENGTH.pack(9) + b"short", "InvalidArgument"),
        (LENGTH.pack(3) + b"abc", "InvalidArgument"),
        (framed(FilesRequest(2, b"x" * 16, "a")), "InvalidArgument"),
        (framed(FilesRequest(1, b"x" * 16, "a", b"", -1)), "InvalidArgument"),
        (framed(FilesRequest(1, b"x" * 16, "a")), "BucketNotFound"),
    ],
)
def test_bad_request_gets_a_clear_error(path: Path, request_bytes: bytes, error: str) -> None:
    reply = answer_to(path, request_bytes)
    assert (reply.error, bool(reply.message)) == (error, True)


def test_a_target_that_says_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_reads, "EXCHANGE_SECONDS_MAX", 0.1)
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/silent.sock")
        listener.listen()
        with pytest.raises(OwnerUnreachable, match="does not answer"):
            exchange(Path(folder) / "silent.sock", FilesRequest(1, b"x" * 16, "a"), [])


async def test_a_program_that_says_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptor_socket, "EXCHANGE_SECONDS_MAX", 0.1)
    unused: Any = None
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        served = DescriptorSocket(Path(folder) / "t.sock", unused, unused, ready=unused)
        serving = asyncio.create_task(served.serve())
        await eventually((Path(folder) / "t.sock").exists)
        reader, writer = await asyncio.open_unix_connection(f"{folder}/t.sock")
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def test_random_requests_never_harm_the_target(path: Path) -> None:
    chosen = random.Random(11)
    right = framed(FilesRequest(1, b"x" * 16, "name", b"v" * 16, 3))
    for _ in range(500):
        data = bytearray(right)
        for _ in range(chosen.randrange(1, 4)):
            data[chosen.randrange(len(data))] = chosen.randrange(256)
        assert answer_to(path, bytes(data)).error in ("InvalidArgument", "BucketNotFound")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_other_users_do_not_reach_the_socket(path: Path) -> None:
    assert "PermissionError" in connect_as_nobody(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_other_users_who_reach_it_all_the_same_are_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        Path(folder).chmod(0o755)
        listener.bind(f"{folder}/socket")
        Path(folder, "socket").chmod(0o777)
        listener.listen()
        assert connect_as_nobody(Path(folder, "socket")) == ""
        with listener.accept()[0] as connection, pytest.raises(PermissionDenied, match="user 65534"):
            check_peer(connection)


def connect_as_nobody(path: Path) -> str:
    """What a process of another user says when it connects."""
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    command = ["/usr/bin/env", "python3", "-c", code, str(path)]
    return subprocess.run(command, user=65534, capture_output=True, text=True, cwd="/").stderr
