"""Which requests are answered at the socket, and with what.

The same tables of permissions, the same bucket directory, the same store and the same functions that make headers as
on the ordinary path; only ASGI, tasks and threads are left out. Whatever cannot be answered here with success is None,
and the ordinary path answers it, errors included.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from shoal_core.access import Permission
from shoal_core.errors import ShoalError
from shoal_core.names import checked_object_name
from shoal_core.objects import OBJECT_NAME_BYTES_MAX, Bucket, ObjectInfo, PutRequest, RangeRequest
from shoal_core.s3_keys import AccessKeys
from shoal_core.telemetry import new_request_id
from shoal_gateway.call import decode_once
from shoal_gateway.guard import LocalGuard
from shoal_gateway.lane.admitted import REPEATED, Admitted, WhileUnchanged
from shoal_gateway.lane.alike import Common, signed_read
from shoal_gateway.lane.heads import PlainHeads
from shoal_gateway.lane.requests import (
    CHECKSUM_HEADERS,
    HASHED_BYTES_MAX,
    KNOWN_HEADERS,
    OBJECTS,
    LaneRequest,
    parse_head,
    parse_put,
    plain_range,
)
from shoal_gateway.lane.signature import LaneVerifier, Proof, SignedForm
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import OBJECT, Route, permission_of
from shoal_gateway.rest import objects as rest_objects
from shoal_gateway.rest.object_headers import entity_headers, full_head_headers, selected_head_headers
from shoal_gateway.s3 import objects as s3_objects
from shoal_gateway.s3.checksums import ALGORITHMS, promised_in, proved
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.face import is_s3
from shoal_gateway.s3.object_headers import DEFAULT_CONTENT_TYPE as S3_CONTENT_TYPE, object_headers
from shoal_gateway.s3.objects import wants_checksums
from shoal_gateway.s3.operations import PERMISSIONS
from shoal_store.keys import PlacedName, encode_name, placed
from shoal_store.local import LocalObjectStore
from shoal_store.ready import ReadyObject, close_files
from shoal_store.writer import INLINE_BYTES_MAX

Headers = list[tuple[bytes, bytes]]
REST_PERMISSIONS = {method: permission_of(Route(method, OBJECT)) for method in ("GET", "HEAD", "PUT")}
S3_PERMISSIONS = {
    "GET": PERMISSIONS["GetObject"],
    "HEAD": PERMISSIONS["HeadObject"],
    "PUT": PERMISSIONS["PutObject"],
}
REST_GET = ("objects", "GET", 200)
REST_QUERIES = frozenset({b"", b"provider=ais"})
PROPS_QUERY = re.compile(rb"(?:provider=ais&)?props=([a-z,-]{0,200})(?:&provider=ais)?")

CONTROLS = bytes(code for code in (*range(32), 127) if code != 9)
"""What would end a header, or is no text."""


class LaneAnswer(msgspec.Struct, gc=False):
    """`found` holds the body's bytes, or the open files that have them."""

    labels: tuple[str, str, int]
    """Surface, method and status, by which it is counted."""
    head: bytes
    """From the status line to the empty line."""
    found: ReadyObject


class Judged(msgspec.Struct, gc=False):
    """What a request means but for the object's name, once it is proved that the caller may do this in the bucket."""

    surface: str
    bucket: Bucket
    request: LaneRequest
    """Its name may be another one's."""
    is_get: bool
    range: RangeRequest | None
    selected: str | None
    """The properties that a HEAD of AIStore's asks for."""


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
        self._local_store = parts.local_store
        self._guard = guard
        self._rest_buckets = admitted_to(parts, REST_PERMISSIONS)
        self._s3_buckets = admitted_to(parts, S3_PERMISSIONS)
        self._repeated = WhileUnchanged[tuple[str, bytes, bytes], Judged](parts.buckets)
        """By the caller's address and the head without the object's name."""
        self._signed = WhileUnchanged[tuple[str, Common], tuple[Judged, SignedForm]](parts.buckets)
        """By the caller's address and what signed reads have in common."""
        self._verifier = LaneVerifier(keys, region)
        self._heads = PlainHeads()

    def answer(self, data: bytes, *, peer: str, common: Headers) -> LaneAnswer | None:
        """The answer to the request that `data` is; None leaves it to the ordinary path.

        Args:
            peer: the caller's address, without port.
            common: headers of every answer, first.
        """
        try:
            if (repeated := REPEATED.fullmatch(data)) is not None:
                before, raw_name, rest = repeated.groups()
                if (judged := self._repeated.get(key := (peer, before, rest))) is None:
                    judged = self._judged_head(data, peer)
                    if judged is not None:
                        self._repeated.keep(key, judged)
            elif (signed := signed_read(data)) is not None:
                alike, proof = signed
                judged, raw_name = self._judged_signed(data, (peer, alike), proof), proof.name
            else:
                judged, raw_name = self._judged_head(data, peer), b""
            if judged is None:
                return None
            name = placed(judged.bucket.id, raw_name or encoded_name(judged.request))
            if (store := self._local_store(name)) is None:
                return None
            if judged.surface == "objects":
                return self._rest_answer(judged, name, store, common)
            return self._s3_answer(judged, name, store, common)
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
            return None if self._target_of(request) is None else request
        except ShoalError:
            return None

    def put(self, request: LaneRequest) -> LanePut | None:
        """The write, already under way; None leaves it to the ordinary path."""
        try:
            if (target := self._target_of(request)) is None:
                return None
            judged, name, store = target
            put = put_request(judged, name)
            if request.size <= INLINE_BYTES_MAX:
                inline = store.put_inline(judged.bucket, put, bytes(request.body))
                return LanePut(judged.surface, asyncio.ensure_future(inline))
            begun = store.put_whole(judged.bucket, put, request.body)
        except (ShoalError, S3Error):
            return None
        return LanePut(judged.surface, asyncio.ensure_future(begun))

    def _target_of(self, request: LaneRequest) -> tuple[Judged, PlacedName, LocalObjectStore] | None:
        """Raises ShoalError."""
        if (judged := self._judged(request)) is None:
            return None
        name = placed(judged.bucket.id, encoded_name(request))
        store = self._local_store(name)
        return None if store is None else (judged, name, store)

    def _rest_answer(
        self, judged: Judged, name: PlacedName, store: LocalObjectStore, common: Headers
    ) -> LaneAnswer | None:
        is_get = judged.is_get
        if (found := store.reader.ready(judged.bucket, name, judged.range, with_bytes=is_get)) is None:
            return None
        if is_get and (head := self._heads.rest(found, common)) is not None:
            return LaneAnswer(("objects", "GET", 206) if found.range else REST_GET, head, found)
        info = found.record.info(name.encoded.decode(), found.location)
        if is_get:
            headers = entity_headers(info)
        elif judged.selected is None:
            headers = full_head_headers(info, judged.bucket.reference)
        else:
            headers = selected_head_headers(info, judged.selected)
        return finished(judged, found, common + headers, new_request_id().encode())

    def _s3_answer(
        self, judged: Judged, name: PlacedName, store: LocalObjectStore, common: Headers
    ) -> LaneAnswer | None:
        request, is_get = judged.request, judged.is_get
        if (found := store.reader.ready(judged.bucket, name, judged.range, with_bytes=is_get)) is None:
            return None
        checksums = False
        if found.record.headers and found.range is None:
            checksums = wants_checksums(request.headers.get(b"x-amz-checksum-mode", b"").decode())
        if (head := self._heads.s3(found, common, checksums=checksums)) is not None:
            return LaneAnswer(("s3", request.method, 206 if found.range else 200), head, found)
        info = found.record.info(name.encoded.decode(), found.location)
        headers = object_headers(info, checksums=checksums)
        request_id = new_request_id().encode()
        headers.append((b"x-amz-request-id", request_id))
        return finished(judged, found, common + headers, request_id)

    def _judged_head(self, data: bytes, peer: str) -> Judged | None:
        """Raises PermissionDenied."""
        request = parse_head(data, KNOWN_HEADERS)
        if request is None or not self._guard.trusts(peer, request.headers[b"host"]):
            return None
        return self._judged(request)

    def _judged_signed(self, data: bytes, key: tuple[str, Common], proof: Proof) -> Judged | None:
        """What is kept is all but the proof. Raises PermissionDenied."""
        if (kept := self._signed.get(key)) is not None:
            return kept[0] if self._verifier.proves(kept[1], proof) else None
        judged = self._judged_head(data, key[0])
        if judged is not None and (found := self._verifier.form_of(judged.request)) is not None:
            form, said = found
            if said == proof:
                self._signed.keep(key, (judged, form))
        return judged

    def _judged(self, request: LaneRequest) -> Judged | None:
        """Of a request from somebody who is trusted. Raises PermissionDenied."""
        is_get, requested, selected = request.method == "GET", None, None
        if (asked := request.headers.get(b"range")) is not None:
            requested = plain_range(asked)
            if requested is None or not is_get:
                return None
        if request.root == OBJECTS:
            if b"authorization" in request.headers:
                return None
            if request.raw_query not in REST_QUERIES:
                props = PROPS_QUERY.fullmatch(request.raw_query)
                if props is None or request.method != "HEAD":
                    return None
                selected = props[1].decode()
            surface, admitted, principal = "objects", self._rest_buckets, self._guard.principal
        else:
            if request.root == b"/" and not is_s3(b"/" + request.raw_bucket):
                return None
            if (signer := self._verifier.principal_of(request)) is None:
                return None
            surface, admitted, principal = "s3", self._s3_buckets, signer
        bucket = admitted[request.method].bucket(request.raw_bucket, principal)
        return None if bucket is None else Judged(surface, bucket, request, is_get, requested, selected)


def encoded_name(request: LaneRequest) -> bytes:
    """Raises InvalidName."""
    raw_name = request.raw_name
    if b"%" in raw_name or len(raw_name) > OBJECT_NAME_BYTES_MAX:
        return encode_name(decode_once(raw_name))
    return raw_name


def put_request(judged: Judged, placed_name: PlacedName) -> PutRequest:
    """What the ordinary path would make of it. Raises InvalidName and S3Error."""
    request, name = judged.request, placed_name.encoded.decode()
    given = request.headers.get(b"content-type", b"").decode()
    if judged.surface == "s3":
        kind = given or S3_CONTENT_TYPE
        name = s3_objects.checked_key(name)
        size, kept = len(request.body), proved_checksum(request)
        return PutRequest(name=name, size=size, content_type=kind, headers=kept, md5_etag=True)
    user_agent = request.headers.get(b"user-agent", b"").decode()
    return PutRequest(
        name=checked_object_name(name),
        size=len(request.body),
        content_type=rest_objects.kept_content_type(given, user_agent),
    )


def proved_checksum(request: LaneRequest) -> Mapping[str, str]:
    """What is kept of the checksum that came ahead of the body, if one did. Raises S3Error for one that is not its."""
    names = CHECKSUM_HEADERS & request.headers.keys()
    promised = promised_in({name.decode(): request.headers[name].decode() for name in names})
    digests = {name: ALGORITHMS[name]() for name in promised}
    for digest in digests.values():
        digest.update(bytes(request.body))
    return proved(promised, digests)


def admitted_to(parts: Parts, permissions: Mapping[str, Permission]) -> Mapping[str, Admitted]:
    return {method: Admitted(parts.buckets, permission) for method, permission in permissions.items()}


def finished(judged: Judged, found: ReadyObject, headers: Headers, request_id: bytes) -> LaneAnswer | None:
    """None for headers that HTTP cannot carry."""
    surface, method, size, part = judged.surface, judged.request.method, found.record.size, found.range
    if part is not None:
        last = part.offset + part.length - 1
        headers.append((b"content-length", b"%d" % part.length))
        headers.append((b"content-range", b"bytes %d-%d/%d" % (part.offset, last, size)))
    elif method == "GET" or surface == "s3":
        headers.append((b"content-length", b"%d" % size))
    headers.append((b"x-request-id", request_id))
    head = head_of(b"HTTP/1.1 200 OK" if part is None else b"HTTP/1.1 206 Partial Content", headers)
    if head is None:
        close_files(found.files)
        return None
    return LaneAnswer((surface, method, 206 if part else 200), head, found)


def head_of(status_line: bytes, headers: Headers) -> bytes | None:
    head = b"\r\n".join([status_line, *[b"%b: %b" % header for header in headers], b"\r\n"])
    if len(head) - len(head.translate(None, CONTROLS)) != 2 * len(headers) + 4:
        return None
    return head
