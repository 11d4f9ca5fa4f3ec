"""The bytes of one version, verified block by block as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from shoal_core.errors import DataCorrupt
from shoal_core.objects import FRAME_BYTES, ByteRange, ObjectInfo
from shoal_store.chunkfile import ChunkReader
from shoal_store.disk_faults import Watching
from shoal_store.durability import storage_error
from shoal_store.threads import in_thread
from shoal_store.window import VerifiedWindow


@dataclass(slots=True)
class OpenPart:
    """An open chunk, and the bytes of it that are wanted."""

    reader: ChunkReader
    file_id: bytes
    """By which its record names it; that in the footer is another one where the file is a link."""
    offset: int
    end: int
    watching: Watching


class StoredBody:
    """`ObjectBody` over a record's payload or over the chunk files that hold the range."""

    def __init__(
        self,
        info: ObjectInfo,
        range: ByteRange | None,
        payload: bytes,
        parts: Sequence[OpenPart],
        window: VerifiedWindow | None,
    ) -> None:
        """`payload` is the whole of an object that the index holds; `window` is None where every read verifies."""
        self.info = info
        self.range = range
        self._payload = payload
        self._parts = parts
        self._window = window

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._payload:
            yield self._payload[self.range.offset :][: self.range.length] if self.range else self._payload
        for part in self._parts:
            block_bytes, offset = part.reader.footer.block_bytes, part.offset
            while offset < part.end:
                block_end = (offset // block_bytes + 1) * block_bytes
                piece = min(part.end, block_end, offset + FRAME_BYTES) - offset
                yield await in_thread(self._read, part, offset, piece)
                offset += piece

    def _read(self, part: OpenPart, offset: int, length: int) -> bytes:
        reader, file_id = part.reader, part.file_id
        block = offset // reader.footer.block_bytes
        known = self._window is not None and self._window.holds(file_id, block)
        try:
            with part.watching:
                data = reader.read(offset, length, verify=not known)
        except OSError as error:
            raise storage_error(error, f"cannot read chunk file {file_id.hex()}") from error
        if len(data) != length:
            raise DataCorrupt("a chunk file is shorter than its record says: run `shoal fsck`")
        if self._window is not None and not known:
            self._window.add(file_id, block, block_bytes=reader.footer.block_bytes)
        return data

    async def close(self) -> None:
        close_parts(self._parts)


def close_parts(parts: Sequence[OpenPart]) -> None:
    for part in parts:
        part.reader.close()
