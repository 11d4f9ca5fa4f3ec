"""AIStore's append: an object that grows by PUTs with `append_type=append`, and is seen by others at the flush.

It is a multipart upload under another name: each append is a part, the flush completes. What the object holds when the
first append comes becomes the first part; if it is replaced before the flush, the flush fails rather than undo that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shoal_core.errors import InvalidArgument, ObjectNotFound
from shoal_core.multipart import PARTS_MAX, Completion, MultipartStore, PartChoice
from shoal_core.objects import Bucket, ObjectInfo, Preconditions, PutRequest, Version
from shoal_gateway.call import Call
from shoal_gateway.exchange import Exchange
from shoal_gateway.rest.object_headers import checksum_headers, header_value
from shoal_gateway.rest.uploads import NO_CONTENT, explained

APPEND_TYPE, APPEND_HANDLE = "append_type", "append_handle"
APPEND, FLUSH = "append", "flush"
HANDLE_HEADER = b"ais-append-handle"
_HANDLE = re.compile(r"([0-9a-f]{32})\.([0-9]{1,5})\.([0-9a-f]{0,24})")


@dataclass(frozen=True, slots=True)
class Handle:
    """What the client carries from one append to the next: `<upload>.<parts so far>.<version it began with>`."""

    upload_id: str
    parts: int
    version: str
    """Of the object that is appended to, in hexadecimal; "" when there was none."""

    @staticmethod
    def of(text: str) -> Handle:
        if (match := _HANDLE.fullmatch(text)) is None:
            raise InvalidArgument(
                f"{APPEND_HANDLE} is {text[:40]!r}: send the one that the last append answered"
            )
        return Handle(match[1], int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.upload_id}.{self.parts}.{self.version}"

    @property
    def preconditions(self) -> Preconditions:
        if self.version:
            return Preconditions(if_version=Version(bytes.fromhex(self.version)))
        return Preconditions(if_none_match=("*",))

    def grown(self) -> Handle:
        if self.parts == PARTS_MAX:
            raise InvalidArgument(f"{PARTS_MAX} appends are the most before a flush: flush, and begin again")
        return Handle(self.upload_id, self.parts + 1, self.version)


class AppendRoutes:
    """What follows once the bucket is resolved and the caller may write to it."""

    def __init__(self, store: MultipartStore) -> None:
        self._store = store

    async def __call__(self, bucket: Bucket, call: Call, exchange: Exchange, request: PutRequest) -> None:
        """`request` is what a plain PUT would be."""
        kind, given = call.query[APPEND_TYPE], call.query.get(APPEND_HANDLE, "")
        if kind not in (APPEND, FLUSH):
            raise InvalidArgument(f"{APPEND_TYPE} is {kind[:20]!r}: use {APPEND} or {FLUSH}")
        if kind == FLUSH and not given:
            raise InvalidArgument(f"nothing was appended that could be flushed: send {APPEND_HANDLE}")
        with explained(call):
            handle = Handle.of(given) if given else await self._begun(bucket, request)
            if request.size != 0:
                handle = handle.grown()
                part = PutRequest(name=request.name, size=request.size, checksums=request.checksums)
                body = exchange.body()
                await self._store.put_part(bucket, handle.upload_id, handle.parts, part, body)
            if kind == APPEND:
                await exchange.answer(200, [(HANDLE_HEADER, str(handle).encode()), NO_CONTENT])
                return
            info = await self._flushed(bucket, request.name, handle)
        headers = [*checksum_headers(info), (b"etag", b'"%s"' % header_value(info.etag))]
        await exchange.answer(200, [*headers, NO_CONTENT])

    async def _begun(self, bucket: Bucket, request: PutRequest) -> Handle:
        """A new upload, its first part what the object holds now."""
        try:
            body = await self._store.open(bucket, request.name)
        except ObjectNotFound:
            upload = await self._store.begin_upload(bucket, request)
            return Handle(upload.id, 0, "")
        try:
            info = body.info
            kept = PutRequest(
                name=info.name, content_type=info.content_type, metadata=info.metadata, headers=info.headers
            )
            upload = await self._store.begin_upload(bucket, kept)
            handle = Handle(upload.id, 0, info.version.hex())
            if not info.size:
                return handle
            part = PutRequest(name=info.name, size=info.size)
            try:
                await self._store.put_part(bucket, upload.id, 1, part, body.chunks())
            except BaseException:
                await self._store.abort_upload(bucket, info.name, upload.id)
                raise
            return handle.grown()
        finally:
            await body.close()

    async def _flushed(self, bucket: Bucket, name: str, handle: Handle) -> ObjectInfo:
        if not handle.parts:
            raise InvalidArgument("nothing was appended that could be flushed")
        _, present = await self._store.list_parts(bucket, name, handle.upload_id)
        choices = tuple(PartChoice(part.number, part.etag) for part in present)
        completion = Completion(choices, preconditions=handle.preconditions)
        return await self._store.complete_upload(bucket, name, handle.upload_id, completion)
