"""Which requests are answered at the socket, and with what.

The same tables of permissions, the same bucket directory, the same store and the same functions that make headers as
on the ordinary path; only ASGI, tasks and threads are left out. Whatever cannot be answered here with success is None,
and the ordinary path answers it, errors included.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from shoal_core.errors import ShoalError
from shoal_core.names import checked_object_name
from shoal_core.objects import OBJECT_NAME_BYTES_MAX, Bucket, BucketReference, ObjectInfo, PutRequest
from shoal_core.s3_keys import AccessKeys
from shoal_core.telemetry import new_request_id
from shoal_gateway.call import decode_once
from shoal_gateway.guard import LocalGuard
from shoal_gateway.lane.heads import PlainHeads
from shoal_gateway.lane.requests import (
    HASHED_BYTES_MAX,
    KNOWN_HEADERS,
    LaneRequest,
    parse_head,
    parse_put,
    plain_range,
)
from shoal_gateway.lane.signature import LaneVerifier
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import OBJECT, Route, permission_of
from shoal_gateway.rest import objects as rest_objects
from shoal_gateway.rest.object_headers import entity_headers, full_head_headers, selected_head_headers
from shoal_gateway.rest.objects import PREFIX as OBJECT_PREFIX
from shoal_gateway.s3 import objects as s3_objects
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.face import is_s3
from shoal_gateway.s3.object_headers import DEFAULT_CONTENT_TYPE as S3_CONTENT_TYPE, object_headers
from shoal_gateway.s3.objects import wants_checksums
from shoal_gateway.s3.operations import PERMISSIONS
from shoal_gateway.s3.requests import PREFIX as S3_PREFIX
from shoal_store.keys import PlacedName, encode_name, placed
from shoal_store.local import LocalObjectStore
from shoal_store.ready import ReadyObject
from shoal_store.writer import INLINE_BYTES_MAX

Headers = list[tuple[bytes, bytes]]
REST_PERMISSIONS = {method: permission_of(Route(method, OBJECT)) for method in ("GET", "HEAD", "PUT")}
S3_PERMISSIONS = {
    "GET": PERMISSIONS["GetObject"],
    "HEAD": PERMISSIONS["HeadObject"],
    "PUT": PERMISSIONS["PutObject"],
}
S3_ROOT = S3_PREFIX + b"/"
REST_QUERIES = frozenset({b"", b"provider=ais"})
PROPS_QUERY = re.compile(rb"(?:provider=ais&)?props=([a-z,-]{0,200})(?:&provider=ais)?")

CONTROLS = bytes(code for code in (*range(32), 127) if code != 9)
"""What would end a header, or is no text."""


class LaneAnswer(msgspec.Struct, gc=False):
    """`found` holds the body's bytes, or the open files that have them."""

    surface: str
    method: str
    status: int
    head: bytes
    """From the status line to the empty line."""
    found: ReadyObject


class Meant(msgspec.Struct, gc=False):
    """What a request means, and that its caller may have it."""

    surface: str
    bucket: Bucket
    name: PlacedName
    store: LocalObjectStore


@dataclass(slots=True)
class LanePut:
    """A write that is on its way. `outcome` fails as `ObjectStore.put` does."""

    surface: str
    outcome: asyncio.Future[ObjectInfo]

    def head(self, info: ObjectInfo, common: Headers) -> bytes | None:
        """What is answered once it is safe. None for headers that HTTP cannot carry."""
        request_id = new_request_id().encode()
        if self.surface == "s3":
            headers = [*common, *s3_objects.put_headers(info), (b"x-amz-request-id", request_id)]
        else:
            headers = [*common, *rest_objects.put_headers(info)]
        return head_of(b"HTTP/1.1 200 OK", [*headers, (b"x-request-id", request_id)])


class FastLane:
    """One for each worker; every connection asks it first."""

    def __init__(self, parts: Parts, guard: LocalGuard, *, keys: AccessKeys, region: str) -> None:
        self._parts = parts
        self._guard = guard
        self._verifier = LaneVerifier(keys, region)
        self._heads = PlainHeads()

    def answer(self, data: bytes, *, peer: str, common: Headers) -> LaneAnswer | None:
        """The answer to the request that `data` is; None leaves it to the ordinary path.

        Args:
            peer: the caller's address, without port.
            common: headers of every answer, first.
        """
        request = parse_head(data, KNOWN_HEADERS)
        if request is None or not self._guard.trusts(peer, request.headers[b"host"]):
            return None
        try:
            if (meant := self._meant(request)) is None:
                return None
            if meant.surface == "objects":
                return self._rest_answer(meant, request, common)
            return self._s3_answer(meant, request, common)
        except ShoalError:
            return None

    def announced(self, data: bytes, *, peer: str) -> LaneRequest | None:
        """The write that `data` is or begins, to be given to `put` when all of it is here; None leaves it to the
        ordinary path."""
        request = parse_put(data)
        if request is None or not self._guard.trusts(peer, request.headers[b"host"]):
            return None
        if request.size <= HASHED_BYTES_MAX:
            return request
        try:
            # A large body is not gathered in vain: for another host, or for a caller who may not.
            return None if self._meant(request) is None else request
        except ShoalError:
            return None

    def put(self, request: LaneRequest) -> LanePut | None:
        """The write, already under way; None leaves it to the ordinary path."""
        try:
            meant = self._meant(request)
            if meant is None or (meant.surface == "objects" and request.raw_query not in REST_QUERIES):
                return None
            put = put_request(meant, request)
            if request.size <= INLINE_BYTES_MAX:
                return LanePut(
                    meant.surface,
                    asyncio.ensure_future(meant.store.put_inline(meant.bucket, put, bytes(request.body))),
                )
            begun = meant.store.put_whole(meant.bucket, put, request.body)
        except (ShoalError, S3Error):
            return None
        return LanePut(meant.surface, asyncio.ensure_future(begun))

    def _rest_answer(self, meant: Meant, request: LaneRequest, common: Headers) -> LaneAnswer | None:
        selected = None
        if request.raw_query not in REST_QUERIES:
            props = PROPS_QUERY.fullmatch(request.raw_query)
            if props is None or request.method != "HEAD":
                return None
            selected = props[1].decode()
        if (found := self._found(meant, request)) is None:
            return None
        if request.method == "GET" and (head := self._heads.rest(found, common)) is not None:
            return LaneAnswer("objects", "GET", 206 if found.range else 200, head, found)
        info = found.record.info(meant.name.encoded.decode(), found.location)
        if request.method == "GET":
            headers = entity_headers(info)
        elif selected is None:
            headers = full_head_headers(info, meant.bucket.reference)
        else:
            headers = selected_head_headers(info, selected)
        return finished("objects", request, found, common + headers, new_request_id().encode())

    def _s3_answer(self, meant: Meant, request: LaneRequest, common: Headers) -> LaneAnswer | None:
        if (found := self._found(meant, request)) is None:
            return None
        if (head := self._heads.s3(found, common)) is not None:
            return LaneAnswer("s3", request.method, 206 if found.range else 200, head, found)
        info = found.record.info(meant.name.encoded.decode(), found.location)
        mode = request.headers.get(b"x-amz-checksum-mode", b"").decode()
        headers = object_headers(info, checksums=found.range is None and wants_checksums(mode))
        request_id = new_request_id().encode()
        headers.append((b"x-amz-request-id", request_id))
        return finished("s3", request, found, common + headers, request_id)

    def _meant(self, request: LaneRequest) -> Meant | None:
        """Which object, once it is proved that the caller may do this to it. Raises PermissionDenied."""
        raw_path, principal = request.raw_path, self._guard.principal
        if raw_path.startswith(OBJECT_PREFIX):
            if b"authorization" in request.headers:
                return None
            surface, raw_path = "objects", raw_path[len(OBJECT_PREFIX) :]
            permission = REST_PERMISSIONS[request.method]
        else:
            surface, permission = "s3", S3_PERMISSIONS[request.method]
            if not is_s3(raw_path) or (signer := self._verifier.principal_of(request)) is None:
                return None
            principal = signer
            raw_path = raw_path[len(S3_ROOT) :] if raw_path.startswith(S3_ROOT) else raw_path[1:]
        raw_bucket, _, raw_name = raw_path.partition(b"/")
        if b"%" in raw_bucket or not raw_name:
            return None
        bucket = self._parts.buckets.known(
            plain_reference(raw_bucket), permission=permission, principal=principal
        )
        if bucket is None:
            return None
        if b"%" in raw_name or len(raw_name) > OBJECT_NAME_BYTES_MAX:
            raw_name = encode_name(decode_once(raw_name))
        name = placed(bucket.id, raw_name)
        store = self._parts.local_store(name)
        return None if store is None else Meant(surface, bucket, name, store)

    def _found(self, meant: Meant, request: LaneRequest) -> ReadyObject | None:
        asked = request.headers.get(b"range")
        requested = None if asked is None else plain_range(asked)
        if asked is not None and (requested is None or request.method == "HEAD"):
            return None
        reader, with_bytes = meant.store.reader, request.method == "GET"
        return reader.ready(meant.bucket, meant.name, requested, with_bytes=with_bytes)


def put_request(meant: Meant, request: LaneRequest) -> PutRequest:
    """What the ordinary path would make of it. Raises InvalidName and S3Error."""
    given, name = request.headers.get(b"content-type", b"").decode(), meant.name.encoded.decode()
    if meant.surface == "s3":
        kind = given or S3_CONTENT_TYPE
        name = s3_objects.checked_key(name)
        return PutRequest(name=name, size=len(request.body), content_type=kind, md5_etag=True)
    user_agent = request.headers.get(b"user-agent", b"").decode()
    return PutRequest(
        name=checked_object_name(name),
        size=len(request.body),
        content_type=rest_objects.kept_content_type(given, user_agent),
    )


@lru_cache(1024)
def plain_reference(raw_bucket: bytes) -> BucketReference:
    """Which rules the name breaks does not matter here: no such bucket is known."""
    return BucketReference(raw_bucket.decode())


def finished(
    surface: str, request: LaneRequest, found: ReadyObject, headers: Headers, request_id: bytes
) -> LaneAnswer | None:
    """None for headers that HTTP cannot carry."""
    size, part = found.record.size, found.range
    if part is not None:
        last = part.offset + part.length - 1
        headers.append((b"content-length", b"%d" % part.length))
        headers.append((b"content-range", b"bytes %d-%d/%d" % (part.offset, last, size)))
    elif request.method == "GET" or surface == "s3":
        headers.append((b"content-length", b"%d" % size))
    headers.append((b"x-request-id", request_id))
    head = head_of(b"HTTP/1.1 200 OK" if part is None else b"HTTP/1.1 206 Partial Content", headers)
    return None if head is None else LaneAnswer(surface, request.method, 206 if part else 200, head, found)


def head_of(status_line: bytes, headers: Headers) -> bytes | None:
    head = b"\r\n".join([status_line, *[b"%b: %b" % header for header in headers], b"\r\n"])
    if len(head) - len(head.translate(None, CONTROLS)) != 2 * len(headers) + 4:
        return None
    return head
