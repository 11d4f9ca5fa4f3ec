"""The archive that answers a batch, as it grows, and what became of each entry."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import IO

import msgspec

from shoal_archive.batch import Entry, Item
from shoal_archive.formats import ArchiveFormat
from shoal_archive.packing import packer_of
from shoal_core.errors import NotFound, ShoalError
from shoal_core.objects import FRAME_BYTES, BodyBytes
from shoal_gateway.exchange import Exchange

MISSING = "__404__"
PIECE_BYTES = 256 << 10
"""Members are put together until they are so many bytes."""


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """One entry of `in`."""

    objname: str = ""
    """Name of the object."""
    bucket: str = ""
    """Its bucket; without it the one of the path."""
    provider: str = ""
    """Provider of the bucket; `ais` without it."""
    uname: str = ""
    """All of these in one: `ais/@uuid#namespace/bucket/object`."""
    archpath: str = ""
    """Path of a member, if the object is an archive and one member is wanted."""
    opaque: str = ""
    """Comes back in the metadata; base64."""
    start: int = 0
    """First byte wanted."""
    length: int = 0
    """Bytes wanted; with `start` 0 or -1: all to the end."""


class BatchMessage(msgspec.Struct, frozen=True):
    """AIStore's MossReq."""

    wanted: list[Wanted] = msgspec.field(name="in", default_factory=list)
    """What is wanted, in the order in which it shall come."""
    mime: str = ".tar"
    """Format of the answer: `.tar`, `.tgz`, `.tar.lz4`, `.zip`."""
    coer: bool = False
    """Go on where an entry is missing."""
    onob: bool = False
    """Members are named without the bucket."""
    strm: bool = False
    """Answer the archive alone, as it grows."""
    coloc: int = 0
    """AIStore's hint at where the objects lie, 0 to 2; changes nothing here."""


class Outcome(msgspec.Struct, gc=False):
    """One entry of `out`, in the order of `in`."""

    objname: str
    bucket: str
    provider: str
    size: int
    archpath: str | msgspec.UnsetType = msgspec.UNSET
    opaque: str | msgspec.UnsetType = msgspec.UNSET
    err_msg: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Batch:
    """A message, understood: what is to be read, and under which names it goes into the archive."""

    message: BatchMessage
    format: ArchiveFormat
    items: Sequence[Item]
    names: Sequence[str]
    missing_max: int
    """Of the items, with `coer`."""


class TooManyMissing(NotFound):
    """More items of a batch could not be read than one may lack."""


class Packing:
    """The archive as it grows, and what became of each entry."""

    def __init__(self, batch: Batch, outcomes: list[Outcome] | None) -> None:
        """`outcomes`: None when nobody is told."""
        self._batch = batch
        self._outcomes = outcomes
        self._position = 0
        self._packer, self._compressor = packer_of(batch.format, modified_seconds=int(time.time()))
        self._gathered: list[BodyBytes] = []
        self._gathered_bytes = 0
        self._missing = 0

    @property
    def is_full(self) -> bool:
        return self._gathered_bytes >= PIECE_BYTES

    def add(self, entry: Entry) -> None:
        """One that is here, or missing. Raises what makes the whole batch fail."""
        name = self._batch.names[self._position]
        if entry.error is not None:
            self._missing += 1
            check_missing(self._batch, entry.error, self._missing)
            name = f"{MISSING}/{name}"
        self._gathered += self._packer.whole(name, entry.data)
        self._gathered_bytes += entry.size
        self._note(entry)

    async def add_large(self, entry: Entry) -> AsyncIterator[Sequence[BodyBytes]]:
        """Pieces of the archive."""
        name = self._batch.names[self._position]
        self._gathered.append(self._packer.begin(name, entry.size))
        async for data in entry.chunks(name):
            self._gathered.append(self._packer.piece(data))
            yield await self.taken()
        self._gathered.append(self._packer.finish())
        self._note(entry)

    def _note(self, entry: Entry) -> None:
        if self._outcomes is not None:
            self._outcomes.append(outcome(self._batch, self._position, entry))
        self._position += 1

    async def taken(self) -> Sequence[BodyBytes]:
        """All that was gathered since the last time."""
        pieces, self._gathered = self._gathered, []
        self._gathered_bytes = 0
        if self._compressor is None:
            return pieces
        return (await asyncio.to_thread(self._compressor.compress, b"".join(pieces)),)

    async def end(self) -> Sequence[BodyBytes]:
        self._gathered.append(self._packer.end())
        return [*await self.taken(), self._compressor.finish() if self._compressor else b""]

    def close(self) -> None:
        self._packer.close()


def check_missing(batch: Batch, error: ShoalError, missing: int) -> None:
    if not batch.message.coer:
        raise error
    if missing > batch.missing_max:
        raise TooManyMissing(
            f"more than {batch.missing_max} entries of the batch could not be read, the last: {error.message}"
        )


def outcome(batch: Batch, number: int, entry: Entry) -> Outcome:
    wanted, item = batch.message.wanted[number], batch.items[number]
    return Outcome(
        item.name,
        item.bucket.reference.name,
        item.bucket.reference.provider,
        entry.size,
        wanted.archpath or msgspec.UNSET,
        wanted.opaque or msgspec.UNSET,
        entry.error.message if entry.error else msgspec.UNSET,
    )


async def send_parts(
    batch: Batch, outcomes: list[Outcome], archive: IO[bytes], size: int, exchange: Exchange
) -> None:
    """multipart/mixed: the metadata, then the archive."""
    boundary = uuid.uuid4().hex
    metadata = msgspec.json.encode({"uuid": uuid.uuid4().hex[:12], "out": outcomes})
    head = part_head(boundary, "metadata", "application/json") + metadata + b"\r\n"
    head += part_head(boundary, "archive", batch.format.media_type)
    tail = f"\r\n--{boundary}--\r\n".encode()
    await exchange.start(
        200,
        [
            (b"content-type", f"multipart/mixed; boundary={boundary}".encode()),
            (b"content-length", b"%d" % (len(head) + size + len(tail))),
        ],
    )
    await exchange.write(head, more=True)
    archive.seek(0)
    while piece := await asyncio.to_thread(archive.read, FRAME_BYTES):
        await exchange.write(piece, more=True)
    await exchange.write(tail, more=False)


def part_head(boundary: str, name: str, media_type: str) -> bytes:
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {media_type}\r\n\r\n'
    ).encode()
