"""Bodies that come as gRPC streams: a specification, frames without a gap, a finish; and what is checked of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Generic, TypeVar

from crc32c import crc32c

from shoal.common.v1 import common_pb2
from shoal.object.v1 import object_pb2, upload_pb2
from shoal_core.errors import ChecksumMismatch, DeadlineExceeded, InvalidArgument, SizeMismatch
from shoal_core.objects import FRAME_BYTES
from shoal_core.patience import PROGRESS_BYTES_MIN, Patience

IDLE_SECONDS_MAX = 60.0
"""In so many seconds of waiting, PROGRESS_BYTES_MIN of a body must come, or it is given up."""
METADATA_BYTES_MAX = 8 << 10
CHECKSUM_TYPES = frozenset({"xxhash2", "crc32c", "md5", "sha256", "sha512"})

Message = TypeVar("Message", object_pb2.PutObjectRequest, upload_pb2.PutPartRequest)


class UploadedBody(Generic[Message]):
    """The messages of one body, checked: specification, frames without a gap, finish."""

    def __init__(self, requests: AsyncIterator[Message], *, idle_seconds: float) -> None:
        self._requests: AsyncIterator[Message] = requests
        self._patience = Patience(idle_seconds)
        self.finish_headers: Mapping[str, str] = {}

    async def first(self) -> Message:
        """The message with the specification."""
        first = await self._next()
        if first is None or first.WhichOneof("message") != "specification":
            raise InvalidArgument("an upload begins with its specification, and this one does not")
        self._count(first.ByteSize())
        return first

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the body; ends only after a right finish message, else raises."""
        received = 0
        while (request := await self._next()) is not None:
            match request.WhichOneof("message"):
                case "frame":
                    data = checked_data(request.frame, expected_offset=received)
                    # Not the message's own size, for which it would be serialised.
                    self._count(len(data))
                    received += len(data)
                    yield data
                case "finish":
                    check_finish(request.finish, received=received)
                    self.finish_headers = dict(request.finish.headers)
                    check_headers({}, self.finish_headers)
                    return
                case other:
                    raise InvalidArgument(f"an upload holds frames and a finish, not {other or 'nothing'}")
        raise InvalidArgument(f"the upload ended after {received} bytes without its finish: nothing was kept")

    async def _next(self) -> Message | None:
        self._patience.begin()
        try:
            async with asyncio.timeout(self._patience.seconds) as deadline:
                return await anext(self._requests, None)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise self._too_slow() from error

    def _count(self, moved: int) -> None:
        """So many bytes came at the end of a wait."""
        if self._patience.is_out(moved):
            raise self._too_slow()

    def _too_slow(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"less than {PROGRESS_BYTES_MIN} bytes of the upload came in {self._patience.seconds:g} s and it was "
            "given up: send it again"
        )


def fill_frame(frame: object_pb2.Frame, data: bytes, *, offset: int) -> None:
    """In the message that will be sent: a message that is given a made one copies its bytes three times."""
    frame.offset = offset
    frame.data = data
    frame.crc32c = crc32c(data)


def checked_data(frame: object_pb2.Frame, *, expected_offset: int) -> bytes:
    if frame.offset != expected_offset:
        raise InvalidArgument(
            f"a frame for byte {frame.offset} came where byte {expected_offset} was due; send frames in order"
        )
    data = frame.data  # once: each look at the field makes new bytes
    if not 0 < len(data) <= FRAME_BYTES:
        raise InvalidArgument(f"a frame holds {len(data)} bytes; send 1 to {FRAME_BYTES}")
    if crc32c(data) != frame.crc32c:
        raise ChecksumMismatch(
            f"the frame for byte {frame.offset} was damaged on the way: its CRC32C differs; send it again",
            type="crc32c",
        )
    return data


def check_finish(finish: object_pb2.PutObjectFinish, *, received: int) -> None:
    if finish.size != received:
        raise SizeMismatch(
            f"the finish says {finish.size} bytes and {received} arrived; nothing was kept",
            announced=str(finish.size),
            received=str(received),
        )


def check_headers(metadata: Mapping[str, str], headers: Mapping[str, str]) -> None:
    size = sum(
        len(key.encode()) + len(value.encode()) for key, value in [*metadata.items(), *headers.items()]
    )
    if size > METADATA_BYTES_MAX:
        raise InvalidArgument(
            f"metadata has {size} bytes; at most {METADATA_BYTES_MAX} are kept", field="metadata"
        )


def check_checksums(checksums: Iterable[common_pb2.Checksum]) -> None:
    types = [checksum.type for checksum in checksums]
    for unknown in set(types) - CHECKSUM_TYPES:
        raise InvalidArgument(
            f"checksum type {unknown!r} is not one of {', '.join(sorted(CHECKSUM_TYPES))}", field="checksums"
        )
    if len(set(types)) != len(types):
        raise InvalidArgument("several checksums of one type were given; send one of each", field="checksums")
