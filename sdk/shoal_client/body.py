"""What users hand over as an object's content: bytes, a file, or an asynchronous iterator of pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import xxhash

from shoal_core.objects import FRAME_BYTES, Checksum

Content = bytes | bytearray | memoryview | Path | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """Content, ready to be sent. What can be read twice is, so that its checksum goes before the bytes."""

    pieces: Callable[[], AsyncIterator[bytes]]
    repeatable: bool
    size: int | None
    checksums: tuple[Checksum, ...]


async def source_of(content: Content, *, checksum: bool = True) -> Source:
    """Raises OSError for files that cannot be read and TypeError for text, which has no bytes of its own."""
    if isinstance(content, Path):
        size, value = await asyncio.to_thread(file_facts, content, checksum=checksum)
        return Source(lambda: file_pieces(content), True, size, as_checksums(value))
    if isinstance(content, bytes | bytearray | memoryview):
        data = bytes(content)
        value = await checksum_of(data) if checksum else ""
        return Source(lambda: bytes_pieces(data), True, len(data), as_checksums(value))
    if isinstance(content, AsyncIterable):
        return Source(lambda: aiter(content), False, None, ())
    raise TypeError(
        f"content is a {type(content).__name__}; give bytes (str.encode() makes them), a pathlib.Path or an "
        "asynchronous iterator of bytes"
    )


async def checksum_of(data: bytes) -> str:
    """A megabyte takes a tenth of a millisecond; more is worth a thread."""
    if len(data) <= FRAME_BYTES:
        return str(xxhash.xxh64_hexdigest(data))
    return str(await asyncio.to_thread(xxhash.xxh64_hexdigest, data))


def as_checksums(value: str) -> tuple[Checksum, ...]:
    return (Checksum("xxhash2", value),) if value else ()


def file_facts(path: Path, *, checksum: bool) -> tuple[int, str]:
    """Size and XXH64 of a file. Should it change before it is sent, the server finds the difference."""
    digest, size = xxhash.xxh64(), 0
    with path.open("rb") as file:
        if not checksum:
            return path.stat().st_size, ""
        while piece := file.read(FRAME_BYTES):
            digest.update(piece)
            size += len(piece)
    return size, str(digest.hexdigest())


async def file_pieces(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, FRAME_BYTES):
            yield piece
    finally:
        file.close()


async def bytes_pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), FRAME_BYTES):
        yield data[start : start + FRAME_BYTES]
