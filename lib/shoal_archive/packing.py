"""Members into an archive that leaves as it grows: what a batch answers and what the archive job writes."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import IO, Protocol

from shoal_archive.compression import Compressor, compressor_of
from shoal_archive.formats import ArchiveFormat
from shoal_archive.tar_blocks import BLOCK_BYTES, END, member_header, padding
from shoal_core.objects import BodyBytes


class Packer(Protocol):
    """Each call returns what is to follow that of the call before."""

    def whole(self, name: str, data: BodyBytes) -> Sequence[BodyBytes]:
        """In pieces, so that they are copied once, by whoever puts many together."""
        ...

    def begin(self, name: str, size: int) -> bytes:
        """`size` bytes follow by `piece`, then `finish`."""
        ...

    def piece(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...

    def end(self) -> bytes: ...

    def close(self) -> None:
        """Also of an archive that was given up; any number of times."""
        ...


class TarPacker:
    """Plain tar."""

    def __init__(self, *, modified_seconds: int) -> None:
        self._modified_seconds = modified_seconds
        self._size = 0

    def whole(self, name: str, data: BodyBytes) -> Sequence[BodyBytes]:
        size = len(data)
        header = member_header(name.encode(), size, modified_seconds=self._modified_seconds)
        return (header, data, padding(size)) if size % BLOCK_BYTES else (header, data)

    def begin(self, name: str, size: int) -> bytes:
        self._size = size
        return member_header(name.encode(), size, modified_seconds=self._modified_seconds)

    def piece(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return padding(self._size)

    def end(self) -> bytes:
        return END

    def close(self) -> None:
        """Nothing is open."""


class ZipPacker:
    """Stored, not deflated: samples are compressed already. Python's `zipfile` writes it."""

    def __init__(self, *, modified_seconds: int) -> None:
        self._sink = _Sink()
        self._archive = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_STORED)  # type: ignore[call-overload]
        self._entry: IO[bytes] | None = None

    def whole(self, name: str, data: BodyBytes) -> Sequence[BodyBytes]:
        self._archive.writestr(zipfile.ZipInfo(name), data)
        return (self._sink.taken(),)

    def begin(self, name: str, size: int) -> bytes:
        entry = zipfile.ZipInfo(name)
        entry.file_size = size
        self._entry = self._archive.open(entry, "w")
        return self._sink.taken()

    def piece(self, data: bytes) -> bytes:
        assert self._entry is not None
        self._entry.write(data)
        return self._sink.taken()

    def finish(self) -> bytes:
        assert self._entry is not None
        self._entry.close()
        return self._sink.taken()

    def end(self) -> bytes:
        self._archive.close()
        return self._sink.taken()

    def close(self) -> None:
        if self._entry is not None:
            self._entry.close()
        self._archive.close()


class _Sink:
    """Where `zipfile` writes; it cannot seek, so sizes and checksums follow the members."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def flush(self) -> None:
        """As files have it."""

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def packer_of(format: ArchiveFormat, *, modified_seconds: int) -> tuple[Packer, Compressor | None]:
    """How members are put together, and what compresses the whole of it, if anything."""
    if format is ArchiveFormat.ZIP:
        return ZipPacker(modified_seconds=modified_seconds), None
    compressor = compressor_of(format) if format.is_compressed_tar else None
    return TarPacker(modified_seconds=modified_seconds), compressor
