"""A copy within one target: hard links to the source's chunk files under names of their own, so no byte is copied.

A linked file's footer names the object that its bytes were written for. Whose they are under this name, the manifest
says that every such copy has.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from shoal_core.objects import Description, Version
from shoal_store.chunkfile import chunk_path
from shoal_store.durability import close_read, storage_error, sync_data, sync_directory
from shoal_store.in_flight import WritesInFlight
from shoal_store.mountpaths import Mountpaths
from shoal_store.record import ChunkPlace, Record

FILE_ID_BYTES = 16
NO_LINKS = frozenset({errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV})
"""The file has as many names as it can, or the filesystem knows no links."""


class CannotLink(Exception):
    """The bytes have to be copied."""


def link_chunks(
    mountpaths: Mountpaths, in_flight: WritesInFlight, chunks: Sequence[ChunkPlace], files: list[Path]
) -> tuple[ChunkPlace, ...]:
    """The chunks under names of their own, which are added to `files`, also before it raises. Blocks.

    Raises FileNotFoundError when the source was replaced meanwhile; CannotLink, OutOfSpace, Unavailable.
    """
    return tuple(link_on(mountpaths, in_flight, chunk, files) for chunk in chunks)


def link_on(
    mountpaths: Mountpaths, in_flight: WritesInFlight, chunk: ChunkPlace, files: list[Path]
) -> ChunkPlace:
    linked = msgspec.structs.replace(chunk, file_id=secrets.token_bytes(FILE_ID_BYTES))
    folder = mountpaths.path(chunk.mountpath)
    path = chunk_path(folder, linked.file_id)
    files.append(path)
    with mountpaths.faults.watching(chunk.mountpath):
        in_flight.add(chunk.mountpath, linked.file_id)
        link_chunk(folder, chunk, path)
    return linked


def link_chunk(folder: Path, chunk: ChunkPlace, path: Path) -> None:
    try:
        os.link(chunk_path(folder, chunk.file_id), path, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_LINKS:
            raise CannotLink from error
        raise storage_error(error, f"cannot link {path}") from error


def sync_bytes(files: Sequence[Path], chunks: Sequence[ChunkPlace]) -> tuple[ChunkPlace, ...]:
    """Of those links whose source's bucket left that to the operating system. The chunks, as they are then."""
    for path, chunk in zip(files, chunks, strict=True):
        if not chunk.synced:
            sync_link(path)
    return tuple(msgspec.structs.replace(chunk, synced=True) for chunk in chunks)


def sync_link(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise storage_error(error, f"cannot open {path}") from error
    try:
        sync_data(descriptor, "chunk data")
    finally:
        close_read(descriptor)


def sync_names(files: Sequence[Path]) -> None:
    """And those of what was made beside them before."""
    for folder in {path.parent for path in files}:
        sync_directory(folder, "chunk name")


def unplaced(record: Record, description: Description | None) -> Record:
    """The source's record as that of a copy that is not committed yet."""
    record = msgspec.structs.replace(
        record, name="", upload="", version=Version(b""), sequence=0, modified_ns=0, linked=False
    )
    if description is None:
        return record
    return msgspec.structs.replace(
        record,
        content_type=description.content_type,
        metadata=dict(description.metadata),
        headers=dict(description.headers),
    )
