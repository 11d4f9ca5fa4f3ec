"""The protocol by which a target passes open files to programs of its host: one request and one reply a connection.

Each is a length (u32, big-endian) and that many bytes of MessagePack. With the first byte of a reply come the
descriptors (SCM_RIGHTS), one for each of its chunks and in their order.
"""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec

from shoal_core.errors import InternalError, ShoalError

PROTOCOL = 1
LENGTH = struct.Struct(">I")
REQUEST_BYTES_MAX = 8 << 10
REPLY_BYTES_MAX = 64 << 20
CHUNKS_MAX = 64
"""Descriptors in one reply. The kernel's limit is 253, and a process often may have no more than 1,024."""
EXCHANGE_SECONDS_MAX = 10.0


class FilesRequest(msgspec.Struct, array_like=True, frozen=True):
    protocol: int
    bucket_id: bytes
    name: str
    version: bytes = b""
    """Empty: the current one."""
    first_chunk: int = 0


class PassedChunk(msgspec.Struct, array_like=True, frozen=True):
    """The file has the chunk's bytes from its first byte on."""

    offset: int
    """Of the chunk's first byte within the object."""
    length: int
    block_bytes: int
    block_checksums: bytes
    """8 bytes big-endian a block, XXH3-64."""


class FilesReply(msgspec.Struct, array_like=True, frozen=True):
    error: str = ""
    """Name of the class in `shoal_core.errors`."""
    message: str = ""
    size: int = 0
    version: bytes = b""
    etag: str = ""
    chunk_count: int = 0
    """Of the whole object; ask again from `first_chunk` on for those that are not here."""
    chunks: tuple[PassedChunk, ...] = ()
    payload: bytes = b""
    """The bytes of an object that has no files."""


def descriptor_socket_of(unix_socket: Path) -> Path:
    """Beside the target's gRPC socket, and no longer than `.sock` makes it: such paths end at 107 bytes."""
    return unix_socket.with_suffix(".file")


def framed(message: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body


def error_named(name: str, message: str) -> ShoalError:
    """As raised by the target; a name that this version does not know is an InternalError."""
    classes: list[type[ShoalError]] = [ShoalError]
    while classes:
        kind = classes.pop()
        if kind.__name__ == name:
            return kind(message)
        classes.extend(kind.__subclasses__())
    return InternalError(f"{name}: {message}")
