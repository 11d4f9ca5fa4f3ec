"""Signature Version 4 of the lane's requests: the same proof as `s3.signature.verify`, for its most usual forms alone.

A request whose signature is not proved good here, for whatever reason, is judged by `verify`, which says what is wrong.
"""

from __future__ import annotations

import hmac
import re
import time
from functools import lru_cache
from hashlib import sha256

from shoal_core.access import Principal
from shoal_core.s3_keys import AccessKeys
from shoal_gateway.lane.requests import LaneRequest
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.signature import (
    ALGORITHM,
    FALLBACK_REGION,
    PLAIN_PATH,
    PRESIGNED_SECONDS_MAX,
    SKEW_SECONDS_MAX,
    canonical,
    signing_key,
    time_of,
)

# Sorted and in AWS's encoding, which makes it its own canonical form.
_PRESIGNED = re.compile(
    rb"X-Amz-Algorithm=AWS4-HMAC-SHA256"
    rb"&X-Amz-Credential=([A-Za-z0-9]{1,128})%2F([0-9]{8})%2F([a-z0-9-]{1,64})%2Fs3%2Faws4_request"
    rb"&X-Amz-Date=([0-9]{8}T[0-9]{6}Z)&X-Amz-Expires=([0-9]{1,6})&X-Amz-SignedHeaders=host"
)
_SIGNATURE = re.compile(rb"X-Amz-Signature=([0-9a-f]{64})")
_AUTHORIZATION = re.compile(
    rb"AWS4-HMAC-SHA256 Credential=([A-Za-z0-9]{1,128})/([0-9]{8})/([a-z0-9-]{1,64})/s3/aws4_request, ?"
    rb"SignedHeaders=([a-z0-9;-]{1,512}), ?Signature=([0-9a-f]{64})"
)
UNSIGNABLE = frozenset({b"x-amz-checksum-mode", b"x-amz-content-sha256", b"x-amz-date"})
"""Headers that must be signed, which they are not where `host` alone is."""
QUERIES = frozenset({b"", b"x-id=GetObject", b"x-id=HeadObject", b"x-id=PutObject"})
"""Each is its own canonical form, and means nothing."""


class LaneVerifier:
    """Holds the keys; nothing that was verified is remembered."""

    def __init__(self, keys: AccessKeys, region: str) -> None:
        self._keys = keys
        self._regions = frozenset({region.encode(), FALLBACK_REGION.encode()})

    def principal_of(self, request: LaneRequest) -> Principal | None:
        """Who signed this very request, if that can be proved here."""
        if b"authorization" in request.headers:
            return self._header_signed(request)
        return self._presigned(request)

    def _presigned(self, request: LaneRequest) -> Principal | None:
        # Names in front, so the signature is the fifth of six: `Signa` comes before `Signe`.
        items = sorted(request.raw_query.split(b"&"))
        if len(items) != 6 or (signature := _SIGNATURE.fullmatch(items.pop(4))) is None:
            return None
        query = b"&".join(items)
        if (match := _PRESIGNED.fullmatch(query)) is None or not UNSIGNABLE.isdisjoint(request.headers):
            return None
        access_key, date, region, timestamp, expires = match.groups()
        age_seconds = age_of(timestamp, date)
        seconds_max = int(expires)
        if (
            age_seconds is None
            or not -SKEW_SECONDS_MAX <= age_seconds <= seconds_max <= PRESIGNED_SECONDS_MAX
        ):
            return None
        signed = b"host:%b\n\nhost\nUNSIGNED-PAYLOAD" % request.headers[b"host"]
        return self._proved(request, query, signed, access_key, date, region, timestamp, signature[1])

    def _header_signed(self, request: LaneRequest) -> Principal | None:
        headers = request.headers
        match = _AUTHORIZATION.fullmatch(headers[b"authorization"])
        payload = headers.get(b"x-amz-content-sha256", b"")
        if match is None or request.raw_query not in QUERIES:
            return None
        if payload != b"UNSIGNED-PAYLOAD" and payload != sha256(request.body).hexdigest().encode():
            return None
        access_key, date, region, names, signature = match.groups()
        timestamp = headers.get(b"x-amz-date", b"")
        age_seconds = age_of(timestamp, date)
        if age_seconds is None or abs(age_seconds) > SKEW_SECONDS_MAX:
            return None
        signed_names = names.split(b";")
        if b"host" not in signed_names or any(
            name.startswith(b"x-amz-") and name not in signed_names for name in headers
        ):
            return None
        lines = [b"%b:%b\n" % (name, b" ".join(headers.get(name, b"").split())) for name in signed_names]
        signed = b"%b\n%b\n%b" % (b"".join(lines), names, payload)
        return self._proved(
            request, request.raw_query, signed, access_key, date, region, timestamp, signature
        )

    def _proved(
        self,
        request: LaneRequest,
        query: bytes,
        signed: bytes,
        access_key: bytes,
        date: bytes,
        region: bytes,
        timestamp: bytes,
        signature: bytes,
    ) -> Principal | None:
        known = self._keys.find(access_key.decode())
        if known is None or region not in self._regions:
            return None
        path = request.raw_path
        if not PLAIN_PATH.fullmatch(path):
            path = canonical(path, safe="/").encode()
        digest = sha256(b"%b\n%b\n%b\n%b" % (request.method.encode(), path, query, signed)).hexdigest()
        scope = "/".join((date.decode(), region.decode(), "s3", "aws4_request"))
        text = f"{ALGORITHM}\n{timestamp.decode()}\n{scope}\n{digest}"
        expected = hmac.digest(signing_key(known.secret, scope), text.encode(), "sha256").hex()
        return known.principal if hmac.compare_digest(expected.encode(), signature) else None


def age_of(timestamp: bytes, date: bytes) -> float | None:
    """Seconds since a time of the form 20260131T235959Z; None unless it is one, on that date."""
    if timestamp[:8] != date or (then := seconds_of(timestamp)) is None:
        return None
    return time.time() - then


@lru_cache(256)
def seconds_of(timestamp: bytes) -> float | None:
    try:
        return time_of(timestamp.decode()).timestamp()
    except S3Error:
        return None
