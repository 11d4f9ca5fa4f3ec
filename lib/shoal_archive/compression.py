"""gzip and LZ4 streams, piece by piece and in threads; what comes out is bounded however small the piece was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import lz4.frame
from isal import igzip_lib, isal_zlib

from shoal_archive.formats import ArchiveFormat
from shoal_archive.tar_reading import NotAnArchive
from shoal_core.objects import FRAME_BYTES

GZIP_LEVEL = 1
GZIP_WINDOW_BITS = 31
"""zlib's way to say: with gzip's header and trailer."""
DAMAGED: tuple[type[Exception], ...] = (igzip_lib.error, RuntimeError, EOFError)  # type: ignore[assignment]
STEP_BYTES = 16 << 10
"""Decompressed at once: at most 16 MiB come of it, however well it was packed."""
EXPANSION_MAX = 250
EXPANSION_FREE_BYTES = 256 << 20
"""A compressed archive may grow EXPANSION_MAX times, and this much in any case: more is taken for a bomb."""


class Decompressor(Protocol):
    """Of one gzip member or LZ4 frame, as both libraries have it."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes) -> bytes: ...


class Compressor(Protocol):
    """Of a stream of tar."""

    def compress(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


async def decompressed(packed: AsyncIterator[bytes], format: ArchiveFormat) -> AsyncIterator[bytes]:
    """The tar inside. Raises NotAnArchive, also for what expands beyond all measure."""
    decompressor: Decompressor | None = None
    taken = given = 0
    async for piece in packed:
        taken += len(piece)
        while piece:
            if decompressor is None or decompressor.eof:
                decompressor = decompressor_of(format)
            plain, piece = await asyncio.to_thread(_step, decompressor, piece)
            if decompressor.eof:
                # Tapes are filled up with zeros, and so are some files.
                piece = piece.lstrip(b"\x00")
            given += len(plain)
            if given > taken * EXPANSION_MAX + EXPANSION_FREE_BYTES:
                raise NotAnArchive(f"the archive expands more than {EXPANSION_MAX} times: it is a bomb")
            if plain:
                yield plain
    if decompressor is None or not decompressor.eof:
        raise NotAnArchive("the compressed archive ends too early")


def _step(decompressor: Decompressor, data: bytes) -> tuple[bytes, bytes]:
    """A frame or more of plain bytes, and the packed ones that are left.

    What is limited by `max_length` instead stays inside, and LZ4's library does not say that there is more.
    """
    found, size, used = list[bytes](), 0, 0
    try:
        while used < len(data) and size < FRAME_BYTES and not decompressor.eof:
            found.append(decompressor.decompress(data[used : used + STEP_BYTES]))
            size += len(found[-1])
            used = min(used + STEP_BYTES, len(data))
    except DAMAGED as error:
        raise NotAnArchive(f"the compressed archive is damaged: {error}") from error
    if decompressor.eof:
        used -= len(decompressor.unused_data or b"")
    return b"".join(found), data[used:]


def decompressor_of(format: ArchiveFormat) -> Decompressor:
    if format is ArchiveFormat.TAR_LZ4:
        return lz4.frame.LZ4FrameDecompressor()  # type: ignore[no-any-return]
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


class GzipCompressor:
    """ISA-L at its fastest level: several times zlib's speed at much the same ratio."""

    def __init__(self) -> None:
        self._stream = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW_BITS)

    def compress(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class Lz4Compressor:
    """One frame."""

    def __init__(self) -> None:
        self._stream = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes) -> bytes:
        return self._head() + bytes(self._stream.compress(data))

    def finish(self) -> bytes:
        return self._head() + bytes(self._stream.flush())

    def _head(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return bytes(self._stream.begin())


def compressor_of(format: ArchiveFormat) -> Compressor:
    return Lz4Compressor() if format is ArchiveFormat.TAR_LZ4 else GzipCompressor()
