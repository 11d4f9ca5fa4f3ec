"""`Archives`: members of stored archives, one by one, some of them, or their names; over any `ObjectStore`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from weakref import WeakValueDictionary

from shoal_archive.compression import decompressed
from shoal_archive.formats import (
    KNOWN,
    SNIFFED_BYTES,
    ArchiveFormat,
    format_of_bytes,
    format_of_mime,
    format_of_name,
)
from shoal_archive.index import MEMBERS_MAX, ArchiveIndex, IndexCache, plain, read_index
from shoal_archive.selecting import Wanted
from shoal_archive.sources import StoredArchive, StreamSource
from shoal_archive.tar_blocks import END, member_header, padding
from shoal_archive.tar_reading import Member, NotAnArchive, TarReader
from shoal_archive.zip_reading import LOCAL_HEADER_BYTES, UNREADABLE, data_offset, inflated
from shoal_core.errors import DataCorrupt, ObjectNotFound, PreconditionFailed, TooBusy
from shoal_core.objects import Bucket, BucketId, ObjectInfo, ObjectStore, Version

ATTEMPTS = 5
"""Of reads of an archive that is replaced all the time."""


@dataclass(slots=True)
class MemberBody:
    """One open member. Whoever has it closes it."""

    info: ObjectInfo
    """Of the archive."""
    member: Member
    _chunks: AsyncIterator[bytes]
    _close: Callable[[], object]

    @property
    def size(self) -> int:
        return self.member.size

    def chunks(self) -> AsyncIterator[bytes]:
        """Exactly `size` bytes, or an error."""
        return self._chunks

    async def close(self) -> None:
        closing = self._close()
        if closing is not None:
            await closing  # type: ignore[misc]


class Archives:
    """Reads. The indexes that it remembers are of one process."""

    def __init__(self, store: ObjectStore, *, indexes: IndexCache | None = None) -> None:
        self._store = store
        self.indexes = indexes or IndexCache()
        self._turns = WeakValueDictionary[tuple[BucketId, str, Version], asyncio.Lock]()
        """Of those who read the index of one version; kept by them alone."""

    async def open_member(self, bucket: Bucket, name: str, path: str, *, mime: str = "") -> MemberBody:
        """Raises ObjectNotFound for the object and for the member, NotAnArchive."""
        for _ in range(ATTEMPTS):
            try:
                archive, format = await self.archive(bucket, name, mime)
                if format.is_compressed_tar:
                    return await self._found_in_stream(archive, format, path)
                index = await self.index(bucket, archive, format)
                if (member := index.by_name.get(plain(path))) is None:
                    raise no_member(bucket, name, path)
                return await self._open_place(archive, format, member)
            except PreconditionFailed:
                continue
        raise TooBusy(f"{bucket.reference}/{name} is replaced all the time: repeat later")

    async def members(self, bucket: Bucket, name: str, *, mime: str = "") -> tuple[ObjectInfo, list[Member]]:
        """Regular files, in stored order; at most MEMBERS_MAX. Raises as `open_member`."""
        archive, format = await self.archive(bucket, name, mime)
        if not format.is_compressed_tar:
            return archive.info, list((await self.index(bucket, archive, format)).members)
        found: list[Member] = []
        async with aclosing(self._stream(archive, format)) as members:
            async for member, _ in members:
                found.append(member)
                if len(found) > MEMBERS_MAX:
                    raise NotAnArchive(f"the archive has more than {MEMBERS_MAX} members")
        return archive.info, found

    async def selected(
        self, bucket: Bucket, name: str, wanted: Wanted, *, mime: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """A tar of the members that are wanted, in stored order."""
        archive, format = await self.archive(bucket, name, mime)
        if format.is_compressed_tar:
            async with aclosing(self._stream(archive, format)) as members:
                async for member, source in members:
                    if wanted(member.name):
                        async for piece in tar_member(member, exactly(source, member)):
                            yield piece
        else:
            for member in (await self.index(bucket, archive, format)).members:
                if wanted(member.name):
                    body = await self._open_place(archive, format, member)
                    try:
                        async for piece in tar_member(member, body.chunks()):
                            yield piece
                    finally:
                        await body.close()
        yield END

    async def archive(self, bucket: Bucket, name: str, mime: str) -> tuple[StoredArchive, ArchiveFormat]:
        """The current version, and how it is to be read."""
        info = await self._store.head(bucket, name)
        archive = StoredArchive(self._store, bucket, info)
        format = format_of_mime(mime) if mime else format_of_name(name)
        if format is None and info.size:
            format = format_of_bytes(await archive.read(0, min(SNIFFED_BYTES, info.size)))
        if format is None:
            raise NotAnArchive(f"{bucket.reference}/{name} is no archive: its name ends in none of {KNOWN}")
        return archive, format

    async def index(self, bucket: Bucket, archive: StoredArchive, format: ArchiveFormat) -> ArchiveIndex:
        name, version = archive.info.name, archive.info.version
        if (index := self._known_index(bucket, archive, format)) is not None:
            return index
        # All members of a new shard that a batch wants ask at once: one reads it, and the others find what that found.
        async with self._turns.setdefault((bucket.id, name, version), asyncio.Lock()):
            if (index := self._known_index(bucket, archive, format)) is None:
                index = await read_index(archive, format)
                self.indexes.put(bucket.id, name, index)
        return index

    def _known_index(
        self, bucket: Bucket, archive: StoredArchive, format: ArchiveFormat
    ) -> ArchiveIndex | None:
        index = self.indexes.get(bucket.id, archive.info.name, archive.info.version)
        return index if index is not None and index.format is format else None

    @staticmethod
    def format_of_new(name: str, mime: str) -> ArchiveFormat:
        """Of an archive that is to be made."""
        format = format_of_mime(mime) if mime else format_of_name(name)
        if format is None:
            raise NotAnArchive(
                f"the name of a new archive ends in one of {KNOWN}, or archmime says what it is"
            )
        return format

    async def _open_place(self, archive: StoredArchive, format: ArchiveFormat, member: Member) -> MemberBody:
        offset, length = member.offset, member.size
        if format is ArchiveFormat.ZIP:
            if member.packed_bytes == UNREADABLE:
                raise NotAnArchive(f"zip member {member.name[:100]!r} is encrypted, or packed in a rare way")
            if not 0 <= offset <= archive.info.size - LOCAL_HEADER_BYTES:
                raise NotAnArchive(f"the zip is damaged: no local header of {member.name[:100]!r}")
            offset = await data_offset(archive.read, member)
            length = member.size if member.packed_bytes < 0 else member.packed_bytes
        if not length:
            return MemberBody(archive.info, member, nothing(), lambda: None)
        if offset + length > archive.info.size:
            raise NotAnArchive(f"the archive ends within its member {member.name[:100]!r}")
        body = await archive.open(offset, length)
        chunks = body.chunks() if member.packed_bytes < 0 else inflated(body.chunks(), member)
        return MemberBody(archive.info, member, chunks, body.close)

    async def _found_in_stream(self, archive: StoredArchive, format: ArchiveFormat, path: str) -> MemberBody:
        members, wanted = self._stream(archive, format), plain(path)
        try:
            async for member, source in members:
                if plain(member.name) == wanted:
                    return MemberBody(archive.info, member, exactly(source, member), members.aclose)
        except BaseException:
            await members.aclose()
            raise
        raise ObjectNotFound(f"{archive.info.name} has no member {path[:200]!r}", name=archive.info.name)

    async def _stream(
        self, archive: StoredArchive, format: ArchiveFormat
    ) -> AsyncGenerator[tuple[Member, StreamSource], None]:
        """Each member, with the source standing before its bytes. What is not read of them is skipped."""
        body = await archive.open_all()
        try:
            source = StreamSource(decompressed(body.chunks(), format))
            reader = TarReader(source)
            while (member := await reader.next()) is not None:
                yield member, source
        finally:
            await body.close()


def no_member(bucket: Bucket, name: str, path: str) -> ObjectNotFound:
    return ObjectNotFound(f"{bucket.reference}/{name} has no member {path[:200]!r}", name=name)


async def nothing() -> AsyncIterator[bytes]:
    empty: tuple[bytes, ...] = ()
    for piece in empty:
        yield piece


async def exactly(source: StreamSource, member: Member) -> AsyncIterator[bytes]:
    left = member.size
    while left:
        piece = await source.some(left)
        if not piece:
            raise NotAnArchive(f"the archive ends within its member {member.name[:100]!r}")
        left -= len(piece)
        yield piece


async def tar_member(member: Member, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    name = member.name.encode(errors="surrogateescape")
    yield member_header(name, member.size, modified_seconds=member.modified_seconds)
    async for piece in exact(chunks, member.size, member.name):
        yield piece
    yield padding(member.size)


async def exact(chunks: AsyncIterator[bytes], size: int, what: str) -> AsyncIterator[bytes]:
    """Raises DataCorrupt when there are not `size` bytes in all."""
    sent = 0
    async for piece in chunks:
        sent += len(piece)
        yield piece
    if sent != size:
        raise DataCorrupt(f"{what[:100]!r} came with {sent} bytes instead of {size}")
