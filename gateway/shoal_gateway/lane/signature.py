"""Signature Version 4 of the lane's requests: the same proof as `s3.signature.verify`, for its most usual forms alone.

A request whose signature is not proved good here, for whatever reason, is judged by `verify`, which says what is wrong.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from shoal_core.access import Principal
from shoal_core.s3_keys import AccessKey, AccessKeys
from shoal_gateway.lane.hashing import KeyedHash, digest_of, hash_under
from shoal_gateway.lane.requests import UNSIGNED, LaneRequest
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.signature import (
    ALGORITHM,
    FALLBACK_REGION,
    PLAIN_PATH,
    PRESIGNED_SECONDS_MAX,
    SKEW_SECONDS_MAX,
    canonical,
    time_of,
)

# Sorted and in AWS's encoding, which makes it its own canonical form.
_PRESIGNED = re.compile(
    rb"X-Amz-Algorithm=AWS4-HMAC-SHA256"
    rb"&X-Amz-Credential=([A-Za-z0-9]{1,128})%2F([0-9]{8})%2F([a-z0-9-]{1,64})%2Fs3%2Faws4_request"
    rb"&X-Amz-Date=([0-9]{8}T[0-9]{6}Z)&X-Amz-Expires=([0-9]{1,6})&X-Amz-SignedHeaders=host"
)
SIGNATURE = b"&X-Amz-Signature="
CLAIM_BYTES_MAX = 512
"""Of a presigned URL's query; a longer one matches nothing."""
_AUTHORIZATION = re.compile(
    rb"AWS4-HMAC-SHA256 Credential=([A-Za-z0-9]{1,128})/([0-9]{8})/([a-z0-9-]{1,64})/s3/aws4_request, ?"
    rb"SignedHeaders=([a-z0-9;-]{1,512}), ?Signature=([0-9a-f]{64})"
)
AMAZON = b"x-amz-"
"""Headers that begin so must be signed."""
INVOCATION = b"amz-sdk-invocation-id"
HOLE = b"\0"
"""Where the value of INVOCATION stands: no header has this byte."""
QUERIES = frozenset({b"", b"x-id=GetObject", b"x-id=HeadObject", b"x-id=PutObject"})
"""Each is its own canonical form, and means nothing."""


class Claim(msgspec.Struct, gc=False, frozen=True):
    """Who says to have signed, and when."""

    access_key: str
    region: bytes
    scope: str
    begin: bytes
    """Of the text that is signed, up to the digest of the request."""
    query: bytes
    """In its canonical form."""
    issued: float
    seconds_max: int


class SignedForm(msgspec.Struct, gc=False, frozen=True):
    """A signed request without its object's name and its signature: what many have in common that one client makes
    within a second."""

    key: AccessKey
    keyed: KeyedHash
    claim: Claim
    before: bytes
    """Of the canonical request, before the name."""
    behind: tuple[bytes, ...]
    """What is behind it: one piece, or two where the number of the invocation is signed, which stands between them."""


class Proof(msgspec.Struct, gc=False, frozen=True):
    """What of a signed request is its own."""

    name: bytes
    """In its canonical encoding."""
    signature: bytes
    invocation: bytes = b""
    """`amz-sdk-invocation-id`: the number that the client's SDK gave the request."""


class LaneVerifier:
    """Holds the keys; that something was verified is not remembered."""

    def __init__(self, keys: AccessKeys, region: str) -> None:
        self._keys = keys
        self._regions = frozenset({region.encode(), FALLBACK_REGION.encode()})

    def principal_of(self, request: LaneRequest) -> Principal | None:
        """Who signed this very request, if that can be proved here."""
        found = self.form_of(request)
        return found[0].key.principal if found is not None and self.proves(*found) else None

    def form_of(self, request: LaneRequest) -> tuple[SignedForm, Proof] | None:
        """What a request says of its signature, of which nothing is proved."""
        is_presigned = b"authorization" not in request.headers
        return self._presigned_form(request) if is_presigned else self._header_form(request)

    def proves(self, form: SignedForm, proof: Proof) -> bool:
        """Whether the request of this form was signed, and is in time."""
        claim = form.claim
        if not -SKEW_SECONDS_MAX <= time.time() - claim.issued <= claim.seconds_max:
            return False
        if self._keys.find(claim.access_key) is not form.key:
            return False
        request = b"%b%b%b" % (form.before, proof.name, proof.invocation.join(form.behind))
        expected = form.keyed.digest_of(claim.begin + digest_of(request).encode())
        return hmac.compare_digest(expected.encode(), proof.signature)

    def _presigned_form(self, request: LaneRequest) -> tuple[SignedForm, Proof] | None:
        query, signature = without_signature(request.raw_query)
        claim = presigned_claim(query) if len(query) <= CLAIM_BYTES_MAX else None
        return None if claim is None else self._form(request, claim, b"host", UNSIGNED, signature)

    def _header_form(self, request: LaneRequest) -> tuple[SignedForm, Proof] | None:
        headers = request.headers
        match = _AUTHORIZATION.fullmatch(headers[b"authorization"])
        payload = headers.get(b"x-amz-content-sha256", b"")
        if match is None or request.raw_query not in QUERIES:
            return None
        if payload != UNSIGNED and payload != digest_of(request.body).encode():
            return None
        access_key, date, region, names, signature = match.groups()
        timestamp = headers.get(b"x-amz-date", b"")
        claim = claim_of(access_key, date, region, timestamp, request.raw_query, int(SKEW_SECONDS_MAX))
        return None if claim is None else self._form(request, claim, names, payload, signature)

    def _form(
        self, request: LaneRequest, claim: Claim, names: bytes, payload: bytes, signature: bytes
    ) -> tuple[SignedForm, Proof] | None:
        """`names`: of the headers that are signed, with semicolons between them."""
        headers, signed = request.headers, names.split(b";")
        key = self._keys.find(claim.access_key) if claim.region in self._regions else None
        if key is None or b"host" not in signed:
            return None
        if any(name.startswith(AMAZON) and name not in signed for name in headers):
            return None
        lines = [
            b"%b:%b\n" % (name, HOLE if name == INVOCATION else value_of(headers, name)) for name in signed
        ]
        folder = canonical_path(b"%b%b/" % (request.root, request.raw_bucket))
        before = b"%b\n%b" % (request.method.encode(), folder)
        behind = b"\n%b\n%b\n%b\n%b" % (claim.query, b"".join(lines), names, payload)
        form = SignedForm(key, hash_under(key.secret, claim.scope), claim, before, tuple(behind.split(HOLE)))
        return form, Proof(canonical_path(request.raw_name), signature, value_of(headers, INVOCATION))


def value_of(headers: Mapping[bytes, bytes], name: bytes) -> bytes:
    """In its canonical form."""
    return b" ".join(headers.get(name, b"").split())


def canonical_path(raw: bytes) -> bytes:
    """Of a path or a part of one, between slashes."""
    return raw if PLAIN_PATH.fullmatch(raw) else canonical(raw, safe="/").encode()


def without_signature(raw_query: bytes) -> tuple[bytes, bytes]:
    """A presigned URL's query without its signature, and that."""
    query, _, signature = raw_query.rpartition(SIGNATURE)
    if (behind := signature.find(b"&")) >= 0:
        return query + signature[behind:], signature[:behind]
    return query, signature


@lru_cache(1024)
def presigned_claim(query: bytes) -> Claim | None:
    """What the query of a presigned URL claims, without its signature. All that a client presigns within a second says
    the same, so it is kept; nothing is believed of it."""
    # Names in front, so sorting makes it canonical.
    query = b"&".join(sorted(query.split(b"&")))
    if (match := _PRESIGNED.fullmatch(query)) is None:
        return None
    access_key, date, region, timestamp, expires = match.groups()
    if (seconds_max := int(expires)) > PRESIGNED_SECONDS_MAX:
        return None
    return claim_of(access_key, date, region, timestamp, query, seconds_max)


def claim_of(
    access_key: bytes, date: bytes, region: bytes, timestamp: bytes, query: bytes, seconds_max: int = 0
) -> Claim | None:
    """None unless the time is one, and on that date."""
    if timestamp[:8] != date or (issued := seconds_of(timestamp)) is None:
        return None
    scope = "/".join((date.decode(), region.decode(), "s3", "aws4_request"))
    begin = f"{ALGORITHM}\n{timestamp.decode()}\n{scope}\n".encode()
    return Claim(access_key.decode(), region, scope, begin, query, issued, seconds_max)


@lru_cache(256)
def seconds_of(timestamp: bytes) -> float | None:
    try:
        return time_of(timestamp.decode()).timestamp()
    except S3Error:
        return None
