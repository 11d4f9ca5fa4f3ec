"""What lies in a zip: its central directory, read by Python's `zipfile` from the end of the object alone."""

from __future__ import annotations

import asyncio
import io
import zipfile
import zlib
from collections.abc import AsyncIterator

from shoal_archive.sources import ReadRange
from shoal_archive.tar_reading import Member, NotAnArchive
from shoal_core.objects import FRAME_BYTES

TAIL_BYTES = 256 << 10
DIRECTORY_BYTES_MAX = 8 << 20
"""Of a central directory: a hundred thousand members, which `zipfile` needs 100 MB for while it reads them."""
LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 1
_DEFLATED_WINDOW = -15


class _OutsideTail(Exception):
    """What was asked for begins at `offset`."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


class _Tail(io.RawIOBase):
    """The end of a file that is otherwise not here."""

    def __init__(self, data: bytes, *, size: int) -> None:
        self._data = data
        self._begin = size - len(data)
        self._size = size
        self._position = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the beginning")
        self._position = base + offset
        return self._position

    def read(self, count: int = -1) -> bytes:
        if self._position < self._begin:
            raise _OutsideTail(self._position)
        at = self._position - self._begin
        data = self._data[at:] if count is None or count < 0 else self._data[at : at + count]
        self._position += len(data)
        return data


async def zip_members(read: ReadRange, size: int) -> list[Member]:
    """Files only, in the order of the directory. Raises NotAnArchive."""
    tail_bytes = min(TAIL_BYTES, size)
    while True:
        tail = await read(size - tail_bytes, tail_bytes)
        try:
            return await asyncio.to_thread(_members, _Tail(tail, size=size))
        except _OutsideTail as outside:
            if size - outside.offset > DIRECTORY_BYTES_MAX:
                raise NotAnArchive(
                    f"the zip's directory has more than {DIRECTORY_BYTES_MAX >> 20} MiB: it is not read"
                ) from outside
            tail_bytes = size - outside.offset


def _members(tail: _Tail) -> list[Member]:
    try:
        with zipfile.ZipFile(tail) as archive:
            return [member_of(entry) for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise NotAnArchive(f"this is no zip archive, or a damaged one: {error}") from error


def member_of(entry: zipfile.ZipInfo) -> Member:
    """`packed_bytes` says how it is stored: -1 for as it is. What cannot be read is found out when it is."""
    packed = -1 if entry.compress_type == zipfile.ZIP_STORED else entry.compress_size
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packed = UNREADABLE
    return Member(entry.filename, entry.file_size, entry.header_offset, packed)


UNREADABLE = -2
"""`packed_bytes` of a member that is encrypted, or packed in another way than zips commonly are."""


async def data_offset(read: ReadRange, member: Member) -> int:
    """Behind the local header, whose name and extra field may differ in length from the directory's."""
    head = await read(member.offset, LOCAL_HEADER_BYTES)
    if head[:4] != b"PK\x03\x04":
        raise NotAnArchive(f"the zip is damaged: no local header of {member.name[:100]!r}")
    names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    return member.offset + LOCAL_HEADER_BYTES + names


async def inflated(packed: AsyncIterator[bytes], member: Member) -> AsyncIterator[bytes]:
    """Exactly `member.size` bytes, or NotAnArchive."""
    stream, given = zlib.decompressobj(_DEFLATED_WINDOW), 0
    async for piece in packed:
        while piece:
            try:
                plain = await asyncio.to_thread(stream.decompress, piece, FRAME_BYTES)
            except zlib.error as error:
                raise NotAnArchive(f"zip member {member.name[:100]!r} is damaged: {error}") from error
            given += len(plain)
            if given > member.size:
                raise NotAnArchive(f"zip member {member.name[:100]!r} has more bytes than its directory says")
            if plain:
                yield plain
            piece = stream.unconsumed_tail
    rest = stream.flush()
    if rest:
        yield rest
    if given + len(rest) != member.size:
        raise NotAnArchive(f"zip member {member.name[:100]!r} has fewer bytes than its directory says")
