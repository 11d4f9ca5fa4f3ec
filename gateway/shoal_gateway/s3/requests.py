"""One S3 request: which bucket and key it means, what it asks for, and what a good signature proves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.types import Scope

from shoal_core.access import Principal
from shoal_core.objects import BucketReference
from shoal_core.s3_keys import AccessKeys
from shoal_gateway.call import Call, decode_once
from shoal_gateway.exchange import Exchange
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.signature import Request, Verified, verify

PREFIX = b"/s3"
METADATA_PREFIX = "x-amz-meta-"


@dataclass(slots=True)
class S3Request:
    """`bucket` is "" for the service itself, `key` is "" for a bucket."""

    call: Call
    exchange: Exchange
    bucket: str
    key: str
    verified: Verified
    host: str
    metadata: Mapping[str, str]
    """The user's own pairs, `x-amz-meta-` taken off."""
    raw_headers: Sequence[tuple[bytes, bytes]] = ()
    """As they came, repeated ones too."""

    @property
    def principal(self) -> Principal:
        return self.verified.principal

    @property
    def reference(self) -> BucketReference:
        return BucketReference(self.bucket)

    def header(self, name: str, default: str = "") -> str:
        return self.call.headers.get(name, default)

    def listed(self, name: str) -> list[str]:
        """The values of a header that is a list: some clients send a line for each."""
        lines = [text_of(value) for each, value in self.raw_headers if each == name.encode()]
        return [value.strip() for line in lines for value in line.split(",") if value.strip()]

    def parameter(self, name: str, default: str = "") -> str:
        return self.call.query.get(name, default)

    def number(self, name: str, *, default: int, largest: int) -> int:
        """A parameter that counts; larger ones mean the largest."""
        given = self.call.query.get(name)
        if given is None or given == "":
            return default
        if not (given.isascii() and given.isdigit() and len(given) < 12):
            raise S3Error("InvalidArgument", f"Provided {name} not an integer or within integer range.")
        return min(int(given), largest)


def split_path(raw_path: bytes) -> tuple[str, str]:
    """Bucket and key of a path in path style, decoded once."""
    if raw_path == PREFIX or raw_path.startswith(PREFIX + b"/"):
        raw_path = raw_path[len(PREFIX) :]
    raw_bucket, _, raw_key = raw_path.removeprefix(b"/").partition(b"/")
    return decode_once(raw_bucket), decode_once(raw_key)


def authenticated(
    call: Call, scope: Scope, exchange: Exchange, *, keys: AccessKeys, region: str
) -> S3Request:
    """Raises S3Error for everybody without a good signature."""
    request = Request(call.method, call.raw_path, scope["query_string"], scope["headers"])
    verified = verify(request, keys=keys, region=region, now=datetime.now(UTC))
    call.principal = verified.principal
    bucket, key = split_path(call.raw_path)
    call.bucket, call.object_name = BucketReference(bucket) if bucket else None, key
    metadata = metadata_of(scope["headers"])
    host = call.headers.get("host", "")
    return S3Request(call, exchange, bucket, key, verified, host, metadata, scope["headers"])


def metadata_of(headers: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """`x-amz-meta-*`; one sent twice is joined by a comma, as HTTP has it."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        if not raw_name.startswith(METADATA_PREFIX.encode()):
            continue
        name = raw_name.decode("latin-1").removeprefix(METADATA_PREFIX)
        value = text_of(raw_value)
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def text_of(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
