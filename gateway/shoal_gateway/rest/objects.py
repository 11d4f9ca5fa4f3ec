"""The object path `/v1/objects/{bucket}/{name}`: plain ASGI; a FastAPI route costs three times as much.

The name is taken from the raw path and decoded exactly once; nothing normalises it on the way.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping

from shoal_archive.archives import Archives
from shoal_core.body_stream import check_headers
from shoal_core.errors import (
    DataCorrupt,
    InvalidArgument,
    NotImplementedYet,
    NotModified,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from shoal_core.names import checked_object_name
from shoal_core.objects import Bucket, Checksum, ObjectBody, ObjectInfo, Preconditions, PutRequest
from shoal_gateway.call import Call, decode_once
from shoal_gateway.exchange import Exchange, Headers
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import OBJECT, OBJECTS, Route, permission_of, require_built
from shoal_gateway.redirecting import Redirecting
from shoal_gateway.rest import copying, promoting, uploads
from shoal_gateway.rest.actions import ActionMessage, decode_action, decode_value
from shoal_gateway.rest.appending import APPEND_TYPE, AppendRoutes
from shoal_gateway.rest.archives import APPEND_HEADER, ArchiveRoutes, is_of_archive
from shoal_gateway.rest.conditions import parse_preconditions, parse_range, strong_etags
from shoal_gateway.rest.copying import CopyRoutes
from shoal_gateway.rest.documented import Documentation
from shoal_gateway.rest.errors import MethodNotAllowed
from shoal_gateway.rest.names import reference_of
from shoal_gateway.rest.object_headers import (
    checksum_headers,
    entity_headers,
    full_head_headers,
    header_value,
    selected_head_headers,
    validator_headers,
)
from shoal_gateway.rest.promoting import PromoteRoutes
from shoal_gateway.rest.uploads import PART_NUMBER, UPLOAD_ID, UploadRoutes

PREFIX = b"/v1/objects/"
METHODS = ("GET", "HEAD", "PUT", "DELETE", "POST", "PATCH")
ACTIONS = (
    ("POST", uploads.BEGIN),
    ("POST", uploads.COMPLETE),
    ("DELETE", uploads.ABORT),
    ("POST", copying.RENAME),
    ("PATCH", ""),
)
"""What action messages may ask of an object; that of PATCH, the custom properties, has no name."""
BUCKET_ACTIONS = (("POST", promoting.PROMOTE),)
"""What they may ask where the path names no object."""
NEW_PROPERTIES = "set-new-custom"
ACTION_BYTES_MAX = 1 << 20
MD5_BYTES = 16
CHECKSUM_TYPES = ("xxhash2", "crc32c", "md5", "sha256", "sha512")
DEFAULT_CONTENT_TYPE = "application/octet-stream"

UNBUILT_PARAMETERS = {
    "uploadId": "multipart upload",
    "partNumber": "multipart upload",
    "etl_name": "ETL",
    "etl_pipeline": "ETL",
    "etl_args": "ETL",
}
"""Each changes what the request means, so none may be overlooked. Sent empty, they mean nothing."""

OBJECT_DOCUMENTATION = {
    ("GET", ""): Documentation(
        "Read an object, a range of it, or members of an archive.",
        query={
            "archpath": "Path of one member of the archive that the object is.",
            "archregx": "Which members to send as one tar; `archmode` says how it is meant.",
            "archmode": "`regexp` (RE2), `prefix`, `suffix`, `substr` or `wdskey`.",
            "archmime": "Format of the archive, if its name does not tell: `.tar`, `.tgz`, `.tar.lz4`, `.zip`.",
        },
        headers={"Range": "One range of bytes.", "If-None-Match": "Etags that the caller has already."},
        answer="The bytes.",
        body=bytes,
        statuses=(200, 206, 304),
        example_path="/v1/objects/{bucket}/p-1",
    ),
    ("HEAD", ""): Documentation(
        "Tell what is known of an object.",
        query={
            "props": "Which properties, with commas between: checksum, atime, version, custom, chunked ..."
        },
        answer="Headers.",
        example_path="/v1/objects/{bucket}/p-1",
    ),
    ("PUT", ""): Documentation(
        "Write an object, a part of an upload, more of an object, or a member of an archive.",
        query={
            "uploadId": "The upload that this is a part of.",
            "partNumber": "The number of the part, 1 to 10,000.",
            "append_type": "`append` adds the body to the object, `flush` shows what was added.",
            "append_handle": "As the answer before gave it.",
            "archpath": "Add the body to the archive under this path.",
            "object_to": "Copy the object instead, without a body, to `provider/@#/bucket/object`.",
        },
        headers={
            "ais-checksum-type": "Type of the checksum that is sent: xxhash2, crc32c, md5, sha256, sha512.",
            "ais-checksum-value": "It in hexadecimal; a body with another is refused.",
            "Ais-Pine": "With `archpath`: 1 makes the archive if need be (default), 2 does not.",
        },
        answer="Checksum and etag in headers.",
        example_path="/v1/objects/{bucket}/new",
    ),
    ("DELETE", ""): Documentation(
        "Remove an object.", answer="Nothing.", example_path="/v1/objects/{bucket}/p-1"
    ),
    ("POST", uploads.BEGIN): Documentation(
        "Begin an upload in parts.",
        answer="The upload's id, as text.",
        body=str,
        example_path="/v1/objects/{bucket}/parts",
    ),
    ("POST", uploads.COMPLETE): Documentation(
        "Make an object of the parts of an upload.",
        text="The value lists the parts: `part-number` and `etag`, which may be empty.",
        query={"uploadId": "Which upload."},
        answer="Nothing.",
        example=[{"part-number": 1, "etag": ""}],
        example_query="uploadId={upload}",
        example_path="/v1/objects/{bucket}/parts",
    ),
    ("POST", copying.RENAME): Documentation(
        "Give an object another name in its bucket, the message's `name`.",
        "An object that has the name is replaced.",
        example_name="renamed",
        example_path="/v1/objects/{bucket}/p-1",
    ),
    ("PATCH", ""): Documentation(
        "Add custom properties to an object.",
        "The message has no action; its value maps names to values. The version stays.",
        query={"set-new-custom": "Drop the properties that the object has."},
        example={"value": {"color": "blue"}},
        example_path="/v1/objects/{bucket}/p-1",
    ),
    ("DELETE", uploads.ABORT): Documentation(
        "Give up an upload, and free its parts.",
        query={"uploadId": "Which upload."},
        answer="Nothing.",
        example_query="uploadId={upload}",
        example_path="/v1/objects/{bucket}/parts",
    ),
}
"""By method and action."""

UPLOAD_FIELDS = (UPLOAD_ID, PART_NUMBER)


class ObjectRoutes:
    """Every method of one object, and what action messages ask for; the rest is answered 501."""

    def __init__(self, parts: Parts, redirecting: Redirecting, archives: Archives) -> None:
        self._parts = parts
        self._archives = ArchiveRoutes(parts.objects, archives)
        self._redirecting = redirecting
        self._handlers: Mapping[str, Callable[[Call, Exchange], Awaitable[None]]] = {
            "GET": self._get,
            "HEAD": self._head,
            "PUT": self._put,
            "DELETE": self._delete,
            "POST": self._post,
            "PATCH": self._post,
        }
        self._uploads = UploadRoutes(parts.objects)
        self._appending = AppendRoutes(parts.objects)
        self._copying = CopyRoutes(parts)
        self._promoting = PromoteRoutes(parts)

    async def __call__(self, call: Call, exchange: Exchange) -> None:
        handler = self._handlers.get(call.method)
        if handler is None:
            allow = ", ".join(METHODS)
            raise MethodNotAllowed(f"{call.method} is not a method of objects; use {allow}", allow=allow)
        raw_bucket, _, raw_name = call.raw_path[len(PREFIX) :].partition(b"/")
        call.bucket = reference_of(call, decode_once(raw_bucket))
        call.object_name = decode_once(raw_name)
        if not call.object_name and handler != self._post:
            raise InvalidArgument("the path names no object: use /v1/objects/{bucket}/{name}")
        await handler(call, exchange)

    async def _get(self, call: Call, exchange: Exchange) -> None:
        bucket = await self._resolve(call)
        if location := self._redirecting.location(call, bucket):
            return await answer_redirect(location, exchange)
        if is_of_archive(call):
            return await self._archives.get(bucket, call, exchange)
        try:
            body = await self._open(bucket, call)
        except NotModified:
            return await self._answer_not_modified(bucket, call, exchange)
        try:
            await send_object(body, exchange)
        finally:
            await body.close()

    async def _head(self, call: Call, exchange: Exchange) -> None:
        bucket = await self._resolve(call)
        preconditions = parse_preconditions(call.headers)
        try:
            info = await self._parts.objects.head(bucket, call.object_name, preconditions=preconditions)
        except NotModified:
            return await self._answer_not_modified(bucket, call, exchange)
        if "props" in call.query:
            headers = selected_head_headers(info, call.query["props"])
        else:
            headers = full_head_headers(info, bucket.reference)
        await exchange.answer(200, headers)

    async def _answer_not_modified(self, bucket: Bucket, call: Call, exchange: Exchange) -> None:
        """304 names the version that the client has, so that caches can go on with it."""
        info = await self._parts.objects.head(bucket, call.object_name)
        await exchange.answer(304, validator_headers(info))

    async def _put(self, call: Call, exchange: Exchange) -> None:
        if call.query.get(copying.DESTINATION):
            source = await self._resolve(call, method="GET")
            return await exchange.answer(200, put_headers(await self._copying.copy(source, call)))
        bucket = await self._resolve(call)
        if location := self._redirecting.location(call, bucket):
            return await answer_redirect(location, exchange)
        size = announced_size(call)
        checksums = tuple(dict.fromkeys(announced_checksums(call) + content_md5(call)))
        if call.query.get(UPLOAD_ID):
            return await self._uploads.put_part(bucket, call, exchange, size=size, checksums=checksums)
        request = PutRequest(
            name=call.object_name,
            size=size,
            content_type=content_type(call),
            checksums=checksums,
            preconditions=parse_preconditions(call.headers),
        )
        if is_of_archive(call) or APPEND_HEADER in call.headers:
            info = await self._archives.put(bucket, call, request, exchange.body())
            return await exchange.answer(200, put_headers(info))
        if call.query.get(APPEND_TYPE):
            return await self._appending(bucket, call, exchange, request)
        info = await self._parts.objects.put(bucket, request, exchange.body())
        await exchange.answer(200, put_headers(info))

    async def _delete(self, call: Call, exchange: Exchange) -> None:
        """With an action message it is another operation, which must not delete the object."""
        if has_body(call):
            return await self._post(call, exchange)
        bucket = await self._resolve(call)
        preconditions = parse_preconditions(call.headers)
        await self._parts.objects.delete(bucket, call.object_name, preconditions=preconditions)
        await exchange.answer(200, [NO_CONTENT])

    async def _post(self, call: Call, exchange: Exchange) -> None:
        """What an action message asks for. What is not built yet says so, after checking that the caller may."""
        message = decode_action(await limited_body(exchange))
        if call.method == "DELETE" and not message.action:
            raise InvalidArgument(
                "this DELETE has a body without an action: leave it out to remove the object"
            )
        route = Route(call.method, template_of(call), message.action)
        permission_of(route)
        require_built(route)
        bucket = await self._resolve(call, action=message.action)
        match message.action:
            case uploads.BEGIN:
                request = PutRequest(name=call.object_name, content_type=content_type(call))
                await self._uploads.begin(bucket, request, exchange)
            case uploads.COMPLETE:
                await self._uploads.complete(bucket, call, exchange, message)
            case uploads.ABORT:
                await self._uploads.abort(bucket, call, exchange)
            case copying.RENAME:
                await self._copying.rename(bucket, call, message)
                await exchange.answer(200, [NO_CONTENT])
            case promoting.PROMOTE:
                await self._promoting(bucket, message)
                await exchange.answer(200, [NO_CONTENT])
            case "":
                await self._annotate(bucket, call, message)
                await exchange.answer(200, [NO_CONTENT])

    async def _annotate(self, bucket: Bucket, call: Call, message: ActionMessage) -> None:
        """Custom properties are added to those that the object has, or take their place."""
        properties = decode_value(message, dict[str, str]) or {}
        check_headers(properties, {})
        preconditions = parse_preconditions(call.headers)
        await self._parts.objects.annotate(
            bucket,
            call.object_name,
            properties,
            replace=call.flag(NEW_PROPERTIES),
            preconditions=preconditions,
        )

    async def _resolve(self, call: Call, *, action: str = "", method: str = "") -> Bucket:
        """`method`: the one whose permission is demanded, if it is not the call's."""
        assert call.bucket is not None
        permission = permission_of(Route(method or call.method, template_of(call), action))
        bucket = await self._parts.buckets.resolve(
            call.bucket, permission=permission, principal=call.principal
        )
        refuse_unbuilt(call, action)
        if call.object_name:
            call.object_name = checked_object_name(call.object_name)
        return bucket

    async def _open(self, bucket: Bucket, call: Call) -> ObjectBody:
        """The object, or the range of it; `If-Range` turns the range into a wish."""
        store, name = self._parts.objects, call.object_name
        preconditions = parse_preconditions(call.headers)
        if (if_range := call.headers.get("if-range")) is None:
            try:
                requested = parse_range(call.headers.get("range"))
            except RangeNotSatisfiable:
                # That there is no object, or not the one meant, goes before (RFC 9110, 13.2.1).
                await store.head(bucket, name, preconditions=preconditions)
                raise
            return await store.open(bucket, name, range=requested, preconditions=preconditions)
        info = await store.head(bucket, name, preconditions=preconditions)
        if '"' in if_range and info.etag in strong_etags(if_range):
            requested, same = parse_range(call.headers.get("range")), Preconditions(if_version=info.version)
            try:
                return await store.open(bucket, name, range=requested, preconditions=same)
            except PreconditionFailed:
                pass
        # Changed since, or a date, which cannot tell two versions of one second apart: send all of it.
        return await store.open(bucket, name, preconditions=preconditions)


NO_CONTENT = (b"content-length", b"0")


def template_of(call: Call) -> str:
    return OBJECT if call.object_name else OBJECTS


async def answer_redirect(location: bytes, exchange: Exchange) -> None:
    """Not AIStore's 301, which clients and caches may keep for ever: the signature ends, and owners change."""
    headers = [(b"location", location), (b"cache-control", b"no-store"), NO_CONTENT]
    await exchange.answer(307, headers)


async def send_object(body: ObjectBody, exchange: Exchange) -> None:
    status, length, headers = body_headers(body)
    await send_pieces(body, exchange, status=status, length=length, headers=headers)


async def send_pieces(
    body: ObjectBody, exchange: Exchange, *, status: int, length: int, headers: Headers
) -> None:
    """The first piece is read, and so verified, before the status goes out."""
    chunks = body.chunks()
    piece = await anext(chunks, b"")
    await exchange.start(status, headers)
    sent = len(piece)
    await exchange.write(piece, more=sent < length)
    if sent >= length:
        return
    gone = asyncio.ensure_future(exchange.wait_disconnected())
    try:
        async for piece in chunks:
            if gone.done():
                return
            sent += len(piece)
            await exchange.write(piece, more=sent < length)
    finally:
        gone.cancel()
    if sent < length:
        raise DataCorrupt(f"the object ended {length - sent} bytes early: the connection is cut")


def body_headers(body: ObjectBody) -> tuple[int, int, Headers]:
    """Status, length of the body, and headers."""
    info, part = body.info, body.range
    headers = entity_headers(info)
    length = info.size if part is None else part.length
    headers.append((b"content-length", b"%d" % length))
    if part is None:
        return 200, length, headers
    last = part.offset + part.length - 1
    headers.append((b"content-range", b"bytes %d-%d/%d" % (part.offset, last, info.size)))
    return 206, length, headers


async def limited_body(exchange: Exchange) -> bytes:
    body = bytearray()
    async for piece in exchange.body():
        body += piece
        if len(body) > ACTION_BYTES_MAX:
            raise InvalidArgument(f"the action message is longer than {ACTION_BYTES_MAX} bytes")
    return bytes(body)


def refuse_unbuilt(call: Call, action: str) -> None:
    for name, what in UNBUILT_PARAMETERS.items():
        if call.query.get(name) and not (name in UPLOAD_FIELDS and is_of_upload(call, action)):
            raise NotImplementedYet(f"{what} is not built yet in this version of Shoal (parameter {name!r})")


def is_of_upload(call: Call, action: str) -> bool:
    """Whether this is one of the requests in which the fields of uploads mean something."""
    return action in uploads.OF_AN_UPLOAD or (call.method == "PUT" and bool(call.query.get(UPLOAD_ID)))


def has_body(call: Call) -> bool:
    return call.headers.get("content-length", "0") != "0" or "transfer-encoding" in call.headers


def announced_size(call: Call) -> int | None:
    """None with chunked transfer encoding. The HTTP parser has already refused contradicting headers."""
    length = call.headers.get("content-length")
    if length is None:
        return None if "transfer-encoding" in call.headers else 0
    if not (length.isascii() and length.isdigit()):
        raise InvalidArgument(f"Content-Length is {length[:50]!r}: send a decimal number")
    return int(length)


def announced_checksums(call: Call) -> tuple[Checksum, ...]:
    kind = call.headers.get("ais-checksum-type", "").lower()
    value = call.headers.get("ais-checksum-value", "").lower()
    if not kind and not value:
        return ()
    if kind == "none":
        return ()
    if kind not in CHECKSUM_TYPES or not value:
        known = ", ".join(CHECKSUM_TYPES)
        raise InvalidArgument(
            f"cannot verify a checksum of type {kind[:50]!r}: send ais-checksum-type (one of {known}) "
            "and ais-checksum-value (hexadecimal)"
        )
    return (Checksum(kind, value),)


def content_md5(call: Call) -> tuple[Checksum, ...]:
    """HTTP's own way to say what the body is (RFC 1864); AIStore overlooks it."""
    if not (given := call.headers.get("content-md5")):
        return ()
    try:
        digest = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != MD5_BYTES:
        raise InvalidArgument("Content-MD5 is not the base64 of 16 bytes: correct it or leave it out")
    return (Checksum("md5", digest.hex()),)


def content_type(call: Call) -> str:
    return kept_content_type(call.headers.get("content-type", ""), call.headers.get("user-agent", ""))


def kept_content_type(given: str, user_agent: str) -> str:
    """AIStore's SDK and CLI send `application/json` with everything, which says nothing of the object."""
    if not given or not given.isascii() or user_agent.startswith("ais/"):
        return DEFAULT_CONTENT_TYPE
    return given


def put_headers(info: ObjectInfo) -> Headers:
    headers = [*checksum_headers(info), (b"etag", b'"%s"' % header_value(info.etag))]
    return [*headers, (b"ais-version", b"%d" % info.sequence), NO_CONTENT]
