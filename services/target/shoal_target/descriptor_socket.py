"""Passes open, read-only files to programs of this host, which then read without us: `shoal_core.descriptors`.

Who may ask is in `docs/decisions/0011`: the kernel says who is at the other end, and that must be our own user or root.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from shoal_core.buckets import BucketDirectory
from shoal_core.decoding import UNDECODABLE
from shoal_core.descriptors import (
    CHUNKS_MAX,
    EXCHANGE_SECONDS_MAX,
    LENGTH,
    PROTOCOL,
    REQUEST_BYTES_MAX,
    FilesReply,
    FilesRequest,
    PassedChunk,
    framed,
)
from shoal_core.errors import BucketNotFound, InternalError, InvalidArgument, PermissionDenied, ShoalError
from shoal_core.objects import BucketId
from shoal_core.telemetry import get_logger
from shoal_store.engine import Engine
from shoal_store.places import OpenPlaces, open_places
from shoal_store.threads import in_thread

EXCHANGES_MAX = 64
CREDENTIALS = struct.Struct("3i")

_decoder = msgspec.msgpack.Decoder(FilesRequest)


class DescriptorSocket:
    """Run `serve` as a task."""

    def __init__(
        self, path: Path, engine: Engine, buckets: BucketDirectory, *, ready: Callable[[], Awaitable[None]]
    ) -> None:
        """`ready` returns when this target may go by what it knows."""
        self._ready = ready
        self._engine = engine
        self._buckets = buckets
        self._path = path
        self._exchanges = asyncio.Semaphore(EXCHANGES_MAX)

    async def serve(self) -> None:
        """Until cancelled. Exchanges that are under way end first, each within its deadline."""
        loop = asyncio.get_running_loop()
        with listening(self._path) as listener:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._exchanges.acquire()
                    connection, _ = await loop.sock_accept(listener)
                    tasks.create_task(self._exchange(connection))

    async def _exchange(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.setblocking(False)
                async with asyncio.timeout(EXCHANGE_SECONDS_MAX):
                    await self._answer(connection)
        except (OSError, TimeoutError):
            """The other side went away or fell asleep: there is nobody to tell."""
        finally:
            self._exchanges.release()

    async def _answer(self, connection: socket.socket) -> None:
        try:
            check_peer(connection)
            request = await received(connection)
            await self._ready()
            await in_thread(self._pass, connection, request)
        except ShoalError as error:
            await self._refuse(connection, error)
        except OSError:
            raise
        except Exception:
            get_logger().exception("passing files failed")
            await self._refuse(connection, InternalError("the target could not pass the files; see its log"))

    async def _refuse(self, connection: socket.socket, error: ShoalError) -> None:
        reply = FilesReply(error=type(error).__name__, message=error.message)
        await asyncio.get_running_loop().sock_sendall(connection, framed(reply))

    def _pass(self, connection: socket.socket, request: FilesRequest) -> None:
        """Blocks, at most as long as an exchange may take."""
        bucket = self._buckets.by_id(BucketId(request.bucket_id))
        if bucket is None:
            raise BucketNotFound("this target knows no bucket of that id")
        with open_places(
            self._engine.reader,
            self._engine.mountpaths,
            bucket,
            request.name,
            version=request.version,
            first_chunk=request.first_chunk,
            chunks_max=CHUNKS_MAX,
        ) as places:
            reply = framed(reply_of(places))
            connection.settimeout(EXCHANGE_SECONDS_MAX)
            # Nothing was sent before, so the first bytes and their descriptors go out at once.
            socket.send_fds(connection, [reply[: LENGTH.size]], [chunk.descriptor for chunk in places.chunks])
            connection.sendall(reply[LENGTH.size :])


class listening:
    """A socket of this user alone, for the time of a `with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def __enter__(self) -> socket.socket:
        # What a killed target left; a living one would still hold the lock of the mountpaths.
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._path.chmod(0o600)
        self._socket.listen(EXCHANGES_MAX)
        return self._socket

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


def check_peer(connection: socket.socket) -> None:
    """Raises PermissionDenied for users other than our own and root."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, user, _ = CREDENTIALS.unpack(credentials)
    if user not in (0, os.geteuid()):
        raise PermissionDenied(f"user {user} may not read this target's files; user {os.geteuid()} may")


async def received(connection: socket.socket) -> FilesRequest:
    (length,) = LENGTH.unpack(await exactly(connection, LENGTH.size))
    if length > REQUEST_BYTES_MAX:
        raise InvalidArgument(f"a request of {length} bytes; at most {REQUEST_BYTES_MAX} are read")
    try:
        request = _decoder.decode(await exactly(connection, length))
    except UNDECODABLE as error:
        raise InvalidArgument("the request is not one of this protocol") from error
    if request.protocol != PROTOCOL:
        raise InvalidArgument(f"protocol {request.protocol} was asked for; this target speaks {PROTOCOL}")
    if request.first_chunk < 0:
        raise InvalidArgument(f"first_chunk is {request.first_chunk}; chunks count from 0")
    return request


async def exactly(connection: socket.socket, length: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < length:
        if not (piece := await loop.sock_recv(connection, length - len(data))):
            raise InvalidArgument(f"the request ended after {len(data)} of {length} bytes")
        data += piece
    return data


def reply_of(places: OpenPlaces) -> FilesReply:
    record = places.record
    return FilesReply(
        size=record.size,
        version=bytes(record.version),
        etag=record.etag,
        chunk_count=len(record.chunks),
        chunks=tuple(
            PassedChunk(
                chunk.offset, chunk.footer.length, chunk.footer.block_bytes, chunk.footer.block_checksums
            )
            for chunk in places.chunks
        ),
        payload=places.payload,
    )
