"""Which requests are answered at the socket, and with what.

The same tables of permissions, the same bucket directory, the same store and the same functions that make headers as
on the ordinary path; only ASGI, tasks and threads are left out. Whatever cannot be answered here with success is None,
and the ordinary path answers it, errors included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from shoal_core.access import Permission, Principal
from shoal_core.errors import ShoalError
from shoal_core.objects import Bucket, BucketReference
from shoal_core.s3_keys import AccessKeys
from shoal_core.telemetry import new_request_id
from shoal_gateway.call import decode_once
from shoal_gateway.guard import LocalGuard
from shoal_gateway.lane.requests import LaneRequest, parse, plain_range
from shoal_gateway.lane.signature import LaneVerifier
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import OBJECT, Route, permission_of
from shoal_gateway.rest.object_headers import entity_headers, full_head_headers, selected_head_headers
from shoal_gateway.rest.objects import PREFIX as OBJECT_PREFIX
from shoal_gateway.s3.face import is_s3
from shoal_gateway.s3.object_headers import object_headers
from shoal_gateway.s3.objects import wants_checksums
from shoal_gateway.s3.operations import PERMISSIONS
from shoal_gateway.s3.requests import PREFIX as S3_PREFIX
from shoal_store.reader import StoreReader
from shoal_store.ready import ReadyObject

Headers = list[tuple[bytes, bytes]]
REST_PERMISSIONS = {method: permission_of(Route(method, OBJECT)) for method in ("GET", "HEAD")}
S3_PERMISSIONS = {"GET": PERMISSIONS["GetObject"], "HEAD": PERMISSIONS["HeadObject"]}
S3_ROOT = S3_PREFIX + b"/"
REST_QUERIES = frozenset({b"", b"provider=ais"})
PROPS_QUERY = re.compile(rb"(?:provider=ais&)?props=([a-z,-]{0,200})(?:&provider=ais)?")

CONTROLS = bytes(code for code in (*range(32), 127) if code != 9)
"""What would end a header, or is no text."""


@dataclass(slots=True)
class LaneAnswer:
    """`found` holds the body's bytes, or the open files that have them."""

    surface: str
    method: str
    status: int
    head: bytes
    """From the status line to the empty line."""
    found: ReadyObject


class Meant(NamedTuple):
    """What a request means, and that its caller may have it."""

    bucket: Bucket
    name: str
    reader: StoreReader


class FastLane:
    """One for each worker; every connection asks it first."""

    def __init__(self, parts: Parts, guard: LocalGuard, *, keys: AccessKeys, region: str) -> None:
        self._parts = parts
        self._guard = guard
        self._verifier = LaneVerifier(keys, region)

    def answer(self, data: bytes, *, peer: str, common: Headers) -> LaneAnswer | None:
        """The answer to the request that `data` is; None leaves it to the ordinary path.

        Args:
            peer: the caller's address, without port.
            common: headers of every answer, first.
        """
        request = parse(data)
        if request is None or not self._guard.trusts(peer, request.host):
            return None
        try:
            if request.raw_path.startswith(OBJECT_PREFIX):
                return self._rest_answer(request, common)
            return self._s3_answer(request, common) if is_s3(request.raw_path) else None
        except ShoalError:
            return None

    def _rest_answer(self, request: LaneRequest, common: Headers) -> LaneAnswer | None:
        raw_bucket, _, raw_name = request.raw_path[len(OBJECT_PREFIX) :].partition(b"/")
        selected = None
        if request.raw_query not in REST_QUERIES:
            props = PROPS_QUERY.fullmatch(request.raw_query)
            if props is None or request.method != "HEAD":
                return None
            selected = props[1].decode()
        if b"authorization" in request.headers:
            return None
        meant = self._meant(
            raw_bucket, raw_name, REST_PERMISSIONS[request.method], principal=self._guard.principal
        )
        found = None if meant is None else self._found(meant, request)
        if meant is None or found is None:
            return None
        info = found.record.info(meant.name, found.location)
        if request.method == "GET":
            headers = entity_headers(info)
        elif selected is None:
            headers = full_head_headers(info, meant.bucket.reference)
        else:
            headers = selected_head_headers(info, selected)
        return finished("objects", request, found, common + headers, new_request_id().encode())

    def _s3_answer(self, request: LaneRequest, common: Headers) -> LaneAnswer | None:
        raw_path = request.raw_path
        if raw_path.startswith(S3_ROOT):
            raw_path = raw_path[len(S3_PREFIX) :]
        raw_bucket, _, raw_name = raw_path[1:].partition(b"/")
        if not raw_name or (principal := self._verifier.principal_of(request)) is None:
            return None
        meant = self._meant(raw_bucket, raw_name, S3_PERMISSIONS[request.method], principal=principal)
        found = None if meant is None else self._found(meant, request)
        if meant is None or found is None:
            return None
        info = found.record.info(meant.name, found.location)
        mode = request.headers.get(b"x-amz-checksum-mode", b"").decode()
        headers = object_headers(info, checksums=found.range is None and wants_checksums(mode))
        request_id = new_request_id().encode()
        headers.append((b"x-amz-request-id", request_id))
        return finished("s3", request, found, common + headers, request_id)

    def _meant(
        self, raw_bucket: bytes, raw_name: bytes, permission: Permission, *, principal: Principal
    ) -> Meant | None:
        if b"%" in raw_bucket or not raw_name:
            return None
        bucket = self._parts.buckets.known(
            plain_reference(raw_bucket), permission=permission, principal=principal
        )
        if bucket is None:
            return None
        name = decode_once(raw_name)
        reader = self._parts.local_reader(bucket.id, name)
        return None if reader is None else Meant(bucket, name, reader)

    def _found(self, meant: Meant, request: LaneRequest) -> ReadyObject | None:
        asked = request.headers.get(b"range")
        requested = None if asked is None else plain_range(asked)
        if asked is not None and (requested is None or request.method == "HEAD"):
            return None
        return meant.reader.ready(meant.bucket, meant.name, requested, with_bytes=request.method == "GET")


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
    status, line = (200, b"HTTP/1.1 200 OK") if part is None else (206, b"HTTP/1.1 206 Partial Content")
    head = b"\r\n".join([line, *[b"%b: %b" % header for header in headers], b"\r\n"])
    if len(head) - len(head.translate(None, CONTROLS)) != 2 * len(headers) + 4:
        return None
    return LaneAnswer(surface, request.method, status, head, found)
