"""AWS Signature Version 4: who signed this request, and is it the request that was signed?

Written from AWS's "Authenticating Requests (AWS Signature Version 4)". One function, `verify`, takes the request as it
came from the socket and answers with the verified caller and what the signature says of the body; nothing else in the
S3 face looks at credentials.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from shoal_core.access import Principal
from shoal_core.s3_keys import AccessKeys
from shoal_gateway.s3.errors import S3Error

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_SECONDS_MAX = 15 * 60
PRESIGNED_SECONDS_MAX = 7 * 24 * 3600
FALLBACK_REGION = "us-east-1"
"""What clients sign for that were told no region."""
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = frozenset(
    {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    }
)

PLAIN = re.compile(rb"[A-Za-z0-9~_.-]*", re.ASCII)
PLAIN_PATH = re.compile(rb"[A-Za-z0-9~_./-]*", re.ASCII)
TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as received: header names in lower case, path and query not decoded."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good signature proves."""

    principal: Principal
    payload: str
    """`x-amz-content-sha256`: 64 hexadecimal digits, UNSIGNED, or one of STREAMING."""
    signature: str
    """Seed of the chunk signatures of a streaming body."""
    signing_key: bytes
    scope: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What the request says of its own signature."""

    access_key: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    payload: str
    expires_seconds: int | None


def verify(request: Request, *, keys: AccessKeys, region: str, now: datetime) -> Verified:
    """Raises S3Error with AWS's code for everything that is not a good signature of this very request."""
    claim = claim_of(request)
    check_scope(claim, region)
    check_time(claim, now)
    check_headers(request, claim)
    if (known := keys.find(claim.access_key)) is None:
        raise S3Error(
            "InvalidAccessKeyId", "The AWS access key ID you provided does not exist in our records."
        )
    key = signing_key(known.secret, claim.scope)
    expected = sign(key, claim, canonical_request(request, claim.signed_headers, claim.payload))
    if not hmac.compare_digest(expected.encode(), claim.signature.encode(errors="surrogateescape")):
        raise S3Error(
            "SignatureDoesNotMatch", "The signature we calculated does not match the one you provided."
        )
    return Verified(known.principal, claim.payload, claim.signature, key, claim.scope, claim.timestamp)


def claim_of(request: Request) -> Claim:
    presigned = any(item.startswith(b"X-Amz-Signature=") for item in request.raw_query.split(b"&"))
    if presigned and any(name == b"authorization" for name, _ in request.headers):
        raise S3Error("InvalidArgument", "Only one auth mechanism allowed: a header or the query string.")
    return presigned_claim(request) if presigned else header_claim(request)


@lru_cache(64)
def signing_key(secret: bytes, scope: str) -> bytes:
    """The HMAC chain over date, region, service and terminator: derived once a day, and no verification of anything."""
    key = b"AWS4" + secret
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_request(request: Request, signed_headers: Sequence[str], payload: str) -> str:
    path = canonical(request.raw_path, safe="/") or "/"
    values = header_values(request.headers)
    headers = "".join(f"{name}:{values.get(name, '')}\n" for name in signed_headers)
    parts = (
        request.method,
        path,
        canonical_query(request.raw_query),
        headers,
        ";".join(signed_headers),
        payload,
    )
    return "\n".join(parts)


def canonical_query(raw_query: bytes) -> str:
    """Names and values decoded once and encoded AWS's way, sorted, without the signature itself."""
    pairs = []
    for item in raw_query.split(b"&"):
        name, _, value = item.partition(b"=")
        if item and name != b"X-Amz-Signature":
            pairs.append((canonical(name), canonical(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def canonical(raw: bytes, *, safe: str = "") -> str:
    """Decoded once, and encoded AWS's way; most texts are their own encoding."""
    if (PLAIN_PATH if safe else PLAIN).fullmatch(raw):
        return raw.decode("ascii")
    return quote(unquote_to_bytes(raw), safe=f"{safe}~-_.")


def sign(key: bytes, claim: Claim, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode(errors="surrogateescape")).hexdigest()
    text = f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def header_values(headers: Headers) -> dict[str, str]:
    values: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = (
            raw_name.decode("latin-1"),
            " ".join(raw_value.decode("utf-8", "surrogateescape").split()),
        )
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def header_claim(request: Request) -> Claim:
    values = header_values(request.headers)
    authorization = values.get("authorization", "")
    if b"AWSAccessKeyId=" in request.raw_query:
        raise S3Error("InvalidRequest", f"Signature Version 2 is not supported. Presign with {ALGORITHM}.")
    if not authorization:
        raise S3Error(
            "AccessDenied", "Anonymous access is not allowed: sign the request with Signature Version 4."
        )
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise S3Error(
            "InvalidRequest", f"The authorization mechanism {algorithm!r} is not supported. Use {ALGORITHM}."
        )
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if not fields.keys() >= {"Credential", "SignedHeaders", "Signature"}:
        raise S3Error(
            "AuthorizationHeaderMalformed", "Credential, SignedHeaders and Signature must all be given."
        )
    payload = values.get("x-amz-content-sha256")
    if payload is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    access_key, scope = split_credential(fields["Credential"], "AuthorizationHeaderMalformed")
    timestamp = values.get("x-amz-date") or from_http_date(values.get("date", ""))
    signed = tuple(fields["SignedHeaders"].split(";"))
    return Claim(access_key, scope, signed, fields["Signature"], timestamp, payload, None)


def presigned_claim(request: Request) -> Claim:
    malformed = "AuthorizationQueryParametersError"
    fields: dict[str, str] = {}
    for item in request.raw_query.split(b"&"):
        name, _, value = item.partition(b"=")
        if name.startswith(b"X-Amz-"):
            if name.decode("latin-1") in fields:
                raise S3Error(
                    malformed, f"The query parameter {name.decode('latin-1')} is given more than once."
                )
            fields[name.decode("latin-1")] = unquote_to_bytes(value).decode("utf-8", "replace")
    wanted = {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"}
    if not fields.keys() >= wanted or fields["X-Amz-Algorithm"] != ALGORITHM:
        raise S3Error(
            malformed, f"Query-string authentication needs {', '.join(sorted(wanted))} with {ALGORITHM}."
        )
    access_key, scope = split_credential(fields["X-Amz-Credential"], malformed)
    expires = fields["X-Amz-Expires"]
    if not (expires.isascii() and expires.isdigit() and len(expires) < 9):
        raise S3Error(malformed, "X-Amz-Expires should be a number of seconds.")
    if int(expires) > PRESIGNED_SECONDS_MAX:
        raise S3Error(malformed, f"X-Amz-Expires must be at most {PRESIGNED_SECONDS_MAX} seconds.")
    signed = tuple(fields["X-Amz-SignedHeaders"].split(";"))
    payload = header_values(request.headers).get("x-amz-content-sha256", UNSIGNED)
    return Claim(
        access_key, scope, signed, fields["X-Amz-Signature"], fields["X-Amz-Date"], payload, int(expires)
    )


def split_credential(credential: str, malformed: str) -> tuple[str, str]:
    access_key, _, scope = credential.partition("/")
    if not access_key or scope.count("/") != 3:
        raise S3Error(malformed, "The credential should be <access key>/<date>/<region>/s3/aws4_request.")
    return access_key, scope


def check_scope(claim: Claim, region: str) -> None:
    code = (
        "AuthorizationHeaderMalformed"
        if claim.expires_seconds is None
        else "AuthorizationQueryParametersError"
    )
    date, scope_region, service, terminator = claim.scope.split("/")
    if (service, terminator) != ("s3", "aws4_request") or date != claim.timestamp[:8]:
        raise S3Error(code, "The credential scope should be <date of the request>/<region>/s3/aws4_request.")
    if scope_region not in (region, FALLBACK_REGION):
        raise S3Error(code, f"The region {scope_region!r} is wrong; expecting {region!r}.", Region=region)


def check_time(claim: Claim, now: datetime) -> None:
    signed_at = time_of(claim.timestamp)
    age_seconds = (now - signed_at).total_seconds()
    if claim.expires_seconds is None:
        if abs(age_seconds) > SKEW_SECONDS_MAX:
            raise S3Error(
                "RequestTimeTooSkewed", "The difference between the request time and ours is too large."
            )
    elif age_seconds > claim.expires_seconds:
        raise S3Error("AccessDenied", "Request has expired.")
    elif age_seconds < -SKEW_SECONDS_MAX:
        raise S3Error("AccessDenied", "Request is not valid yet.")


def time_of(timestamp: str) -> datetime:
    """Of the form 20260131T235959Z."""
    try:
        if not TIMESTAMP.fullmatch(timestamp):
            raise ValueError
        numbers = (timestamp[:4], *(timestamp[at : at + 2] for at in (4, 6, 9, 11, 13)))
        year, month, day, hour, minute, second = map(int, numbers)
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise S3Error("AccessDenied", "A signed request needs a date as in 20260131T235959Z.") from None


def check_headers(request: Request, claim: Claim) -> None:
    """`host` and every `x-amz-*` header must be signed: an unsigned one could change what the request does."""
    signed = set(claim.signed_headers)
    unsigned = sorted(
        {name.decode("latin-1") for name, _ in request.headers if name.startswith(b"x-amz-")} - signed
    )
    if "host" not in signed or unsigned:
        missing = ", ".join(unsigned or ["host"])
        raise S3Error(
            "AccessDenied", f"There were headers present in the request which were not signed: {missing}"
        )


def from_http_date(value: str) -> str:
    try:
        return datetime.strptime(value, "%a, %d %b %Y %H:%M:%S GMT").strftime("%Y%m%dT%H%M%SZ")
    except ValueError:
        raise S3Error(
            "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header."
        ) from None
