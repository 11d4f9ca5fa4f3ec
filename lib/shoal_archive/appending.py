"""One more member into a stored archive: the object is written anew, with what it held copied as it stands.

An archive in an object store is one version of one object, so there is no writing into it. Readers see the old version
until the new one is whole; two appends at the same time never lose one of them: the later one fails with Conflict.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import IO

import msgspec

from shoal_archive.archives import Archives, exact
from shoal_archive.compression import compressor_of, decompressed
from shoal_archive.formats import ArchiveFormat
from shoal_archive.sources import StoredArchive, StreamSource
from shoal_archive.tar_blocks import END, member_header, padding
from shoal_archive.tar_reading import TarReader
from shoal_core.errors import Conflict, InvalidArgument, ObjectNotFound, PreconditionFailed
from shoal_core.objects import FRAME_BYTES, Bucket, ObjectInfo, ObjectStore, Preconditions, PutRequest

SPOOLED_BYTES_MAX = 16 << 20
"""Of a body of unknown length, or of a zip, what is kept in memory; the rest goes into a nameless file."""
PATH_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class NewMember:
    """What is added."""

    path: str
    size: int
    body: AsyncIterator[bytes]


class Appending:
    """Writes through `store`, reads through `archives`."""

    def __init__(self, store: ObjectStore, archives: Archives) -> None:
        self._store = store
        self._archives = archives

    async def append(
        self,
        bucket: Bucket,
        request: PutRequest,
        path: str,
        body: AsyncIterator[bytes],
        *,
        mime: str = "",
        create: bool,
    ) -> ObjectInfo:
        """Adds `body` (of `request.size` bytes) as `path` to the archive `request.name`.

        Raises ObjectNotFound when there is no archive and `create` is not set, NotAnArchive, and Conflict when somebody
        else changed the archive meanwhile.
        """
        check_path(path)
        with tempfile.SpooledTemporaryFile(SPOOLED_BYTES_MAX) as spool:
            size = request.size
            if size is None:
                size = await spooled(spool, body)
                spool.seek(0)
                body = pieces_of(spool)
            member = NewMember(path, size, exact(body, size, path))
            return await self._append(bucket, request, member, mime=mime, create=create)

    async def _append(
        self, bucket: Bucket, request: PutRequest, member: NewMember, *, mime: str, create: bool
    ) -> ObjectInfo:
        try:
            archive, format = await self._archives.archive(bucket, request.name, mime)
        except ObjectNotFound:
            if not create:
                raise
            format = self._archives.format_of_new(request.name, mime)
            content, condition = anew(format, member), Preconditions(if_none_match=("*",))
        else:
            content = await self._longer(bucket, archive, format, member)
            condition = Preconditions(if_version=archive.info.version)
        longer = msgspec.structs.replace(request, size=None, checksums=(), preconditions=condition)
        try:
            async with aclosing(content):
                return await self._store.put(bucket, longer, content)
        except PreconditionFailed as error:
            raise Conflict(
                f"{bucket.reference}/{request.name} was changed meanwhile: append again"
            ) from error

    async def _longer(
        self, bucket: Bucket, archive: StoredArchive, format: ArchiveFormat, member: NewMember
    ) -> AsyncGenerator[bytes, None]:
        if format is ArchiveFormat.ZIP:
            return longer_zip(archive, member)
        if format is ArchiveFormat.TAR:
            index = await self._archives.index(bucket, archive, format)
            return longer_tar(archive, index.end, member)
        return compressed(longer_packed(archive, format, member), format)


async def anew(format: ArchiveFormat, member: NewMember) -> AsyncGenerator[bytes, None]:
    if format is ArchiveFormat.ZIP:
        with tempfile.SpooledTemporaryFile(SPOOLED_BYTES_MAX) as file:
            await add_to_zip(file, member)
            async for piece in pieces_of(file):
                yield piece
        return
    tar = tar_end(member)
    async for piece in compressed(tar, format) if format.is_compressed_tar else tar:
        yield piece


async def longer_tar(archive: StoredArchive, end: int, member: NewMember) -> AsyncGenerator[bytes, None]:
    if end:
        body = await archive.open(0, end)
        try:
            async for piece in body.chunks():
                yield piece
        finally:
            await body.close()
    async for piece in tar_end(member):
        yield piece


async def longer_packed(
    archive: StoredArchive, format: ArchiveFormat, member: NewMember
) -> AsyncGenerator[bytes, None]:
    """The tar inside, up to its end, and the member."""
    body = await archive.open_all()
    try:
        source = _Passing(decompressed(body.chunks(), format))
        reader, given = TarReader(source), 0
        while (found := await reader.next()) is not None:
            left = found.size + len(padding(found.size))
            while left and (piece := await source.some(min(left, FRAME_BYTES))):
                left -= len(piece)
                passed = source.taken()
                given += len(passed)
                yield passed
        # What was read last are the empty blocks of the end, behind entries that are no files.
        yield source.taken()[: reader.end - given]
    finally:
        await body.close()
    async for piece in tar_end(member):
        yield piece


class _Passing(StreamSource):
    """Keeps what was read until it is taken."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(pieces)
        self._passed: list[bytes] = []

    async def some(self, count: int) -> bytes:
        piece = await super().some(count)
        self._passed.append(piece)
        return piece

    def taken(self) -> bytes:
        data = b"".join(self._passed)
        self._passed.clear()
        return data


async def tar_end(member: NewMember) -> AsyncGenerator[bytes, None]:
    yield member_header(member.path.encode(), member.size, modified_seconds=int(time.time()))
    async for piece in member.body:
        yield piece
    yield padding(member.size) + END


async def compressed(tar: AsyncIterator[bytes], format: ArchiveFormat) -> AsyncGenerator[bytes, None]:
    compressor = compressor_of(format)
    async for piece in tar:
        if packed := await asyncio.to_thread(compressor.compress, piece):
            yield packed
    yield compressor.finish()


async def longer_zip(archive: StoredArchive, member: NewMember) -> AsyncGenerator[bytes, None]:
    """Python's `zipfile` writes the new directory, for which it wants a file."""
    with tempfile.SpooledTemporaryFile(SPOOLED_BYTES_MAX) as file:
        body = await archive.open_all()
        try:
            await spooled(file, body.chunks())
        finally:
            await body.close()
        await add_to_zip(file, member)
        async for piece in pieces_of(file):
            yield piece


async def add_to_zip(file: IO[bytes], member: NewMember) -> None:
    """Leaves the file at its beginning."""
    archive = await asyncio.to_thread(zipfile.ZipFile, file, "a")
    try:
        entry = zipfile.ZipInfo(member.path, time.gmtime()[:6])
        entry.file_size = member.size
        with archive.open(entry, "w") as opened:
            async for piece in member.body:
                await asyncio.to_thread(opened.write, piece)
    finally:
        await asyncio.to_thread(archive.close)
    file.seek(0)


async def spooled(file: IO[bytes], body: AsyncIterator[bytes]) -> int:
    """Bytes written."""
    size = 0
    async for piece in body:
        size += len(piece)
        await asyncio.to_thread(file.write, piece)
    return size


async def pieces_of(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, FRAME_BYTES):
        yield piece


def check_path(path: str) -> None:
    """What is written shall be harmless to unpack."""
    parts = path.split("/")
    if not path or len(path.encode()) > PATH_BYTES_MAX or "\x00" in path or ".." in parts or not parts[-1]:
        raise InvalidArgument(
            f"{path[:100]!r} cannot be the path of a member: 1 to {PATH_BYTES_MAX} bytes, no '..', no '/' at its end"
        )
    if path.startswith("/"):
        raise InvalidArgument(f"{path[:100]!r} cannot be the path of a member: it begins with '/'")
