"""AIStore's multipart upload: begun, completed and aborted by action messages, its parts PUT with `uploadId`.

The texts of some errors are part of the interface: AIStore's clients look for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import msgspec

from shoal_core.errors import InvalidArgument, InvalidPart, UploadNotFound
from shoal_core.multipart import PARTS_MAX, Completion, MultipartStore, PartChoice, PartInfo
from shoal_core.objects import Bucket, Checksum, PutRequest
from shoal_gateway.call import Call
from shoal_gateway.exchange import Exchange, Headers
from shoal_gateway.rest.actions import ActionMessage, decode_value
from shoal_gateway.rest.conditions import parse_preconditions
from shoal_gateway.rest.object_headers import checksum_headers, header_value

BEGIN, COMPLETE, ABORT = "mpt-upload", "mpt-complete", "mpt-abort"
OF_AN_UPLOAD = (COMPLETE, ABORT)
UPLOAD_ID, PART_NUMBER = "uploadId", "partNumber"
NO_CONTENT = (b"content-length", b"0")


class ListedPart(msgspec.Struct, frozen=True):
    """A part as the one who completes names it. Without an etag, whatever was sent last under the number is meant."""

    part_number: Annotated[int, msgspec.Meta(ge=1, le=PARTS_MAX)] = msgspec.field(name="part-number")
    etag: str = ""


class UploadRoutes:
    """What follows once the bucket is resolved and the caller may write to it."""

    def __init__(self, store: MultipartStore) -> None:
        self._store = store

    async def begin(self, bucket: Bucket, request: PutRequest, exchange: Exchange) -> None:
        upload = await self._store.begin_upload(bucket, request)
        await exchange.answer(200, text_headers(upload.id), upload.id.encode())

    async def put_part(
        self,
        bucket: Bucket,
        call: Call,
        exchange: Exchange,
        *,
        size: int | None,
        checksums: Sequence[Checksum],
    ) -> None:
        if size == 0:
            raise InvalidArgument("part of invalid size (0): a part has at least one byte")
        request = PutRequest(name=call.object_name, size=size, checksums=tuple(checksums))
        with explained(call):
            part = await self._store.put_part(
                bucket, call.query[UPLOAD_ID], part_number(call), request, exchange.body()
            )
        await exchange.answer(200, [(b"etag", b'"%s"' % header_value(part.etag)), NO_CONTENT])

    async def complete(self, bucket: Bucket, call: Call, exchange: Exchange, message: ActionMessage) -> None:
        listed = decode_value(message, list[ListedPart])
        if not listed:
            raise InvalidArgument("no chunks: the list of the upload's parts is empty")
        upload_id = upload_id_of(call)
        with explained(call):
            _, present = await self._store.list_parts(bucket, call.object_name, upload_id)
            completion = Completion(chosen(listed, present), preconditions=parse_preconditions(call.headers))
            info = await self._store.complete_upload(bucket, call.object_name, upload_id, completion)
        headers = [*checksum_headers(info), (b"etag", b'"%s"' % header_value(info.etag))]
        await exchange.answer(200, [*headers, (b"ais-version", b"%d" % info.sequence), NO_CONTENT])

    async def abort(self, bucket: Bucket, call: Call, exchange: Exchange) -> None:
        with explained(call):
            await self._store.abort_upload(bucket, call.object_name, upload_id_of(call))
        await exchange.answer(200, [NO_CONTENT])


class explained:
    """In AIStore's words, an upload that is not under way "does not exist"."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, UploadNotFound):
            raise UploadNotFound(
                f"upload {self._call.query.get(UPLOAD_ID, '')[:64]!r} of {self._call.bucket}/{self._call.object_name} "
                "does not exist: it was completed or aborted, or never began"
            ) from error


def chosen(listed: Sequence[ListedPart], present: Sequence[PartInfo]) -> tuple[PartChoice, ...]:
    """The parts in the order of their numbers, whatever the order of the list. Raises InvalidPart."""
    known = {part.number: part for part in present}
    numbers = Counter(part.part_number for part in listed)
    twice = sorted(number for number, times in numbers.items() if times > 1)
    missing = sorted(numbers.keys() - known.keys())
    if twice or missing:
        which = f"part {twice[0]} is listed twice" if twice else f"part {missing[0]} was never uploaded"
        raise InvalidPart(f"partial completion is not allowed: {which}")
    ordered = sorted(listed, key=lambda part: part.part_number)
    return tuple(
        PartChoice(part.part_number, part.etag.strip('"') or known[part.part_number].etag) for part in ordered
    )


def upload_id_of(call: Call) -> str:
    if upload_id := call.query.get(UPLOAD_ID):
        return upload_id
    raise InvalidArgument(f"the query names no upload: send {UPLOAD_ID}")


def part_number(call: Call) -> int:
    given = call.query.get(PART_NUMBER, "")
    if not (given.isascii() and given.isdigit() and len(given) < 6 and 1 <= int(given) <= PARTS_MAX):
        raise InvalidArgument(f"{PART_NUMBER} is {given[:20]!r}: number parts from 1 to {PARTS_MAX}")
    return int(given)


def text_headers(text: str) -> Headers:
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
