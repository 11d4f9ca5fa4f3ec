"""Generated reads of objects, most of them plain, many of them nearly so: what the fast lane must tell apart.

Signed by a signer of its own, since the tests' other one (botocore) takes longer than both answers.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import quote
from uuid import UUID

from support.s3_signing import ACCESS_KEY, REGION, SECRET

HOST = "localhost"
INVOCATION = "amz-sdk-invocation-id"
"""Another one in each request; signed where it is spelled so, as some SDKs do."""
EMPTY = hashlib.sha256(b"").hexdigest()
NEAR_MISSES = 0.4
"""Share of requests that one change makes unusual, or wrong."""


@dataclass
class Signed:
    """One read, before it is put into bytes. Headers are sent as they stand here."""

    method: str
    path: str
    """Encoded."""
    query: list[tuple[str, str]] = field(default_factory=list)
    """Encoded names and values."""
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("Host", HOST)])
    version: str = "HTTP/1.1"
    body: bytes = b""
    unusual: str = ""
    """What was changed, for the report of a difference."""
    head: Callable[[bytes], bytes] = bytes
    """Last change of the bytes themselves."""

    def encoded(self) -> bytes:
        query = "&".join(f"{name}={value}" if value != "\0" else name for name, value in self.query)
        lines = [f"{self.method} {self.path}{'?' if query else ''}{query} {self.version}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return self.head("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")) + self.body

    def with_header(self, name: str, value: str, unusual: str) -> Signed:
        return replace(self, headers=[*self.headers, (name, value)], unusual=unusual)


@lru_cache(16)
def key_of(date: str, region: str, secret: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(
    request: Signed, *, signed_headers: Sequence[str], payload: str, timestamp: str, region: str = REGION
) -> str:
    values = {name.lower(): value for name, value in request.headers}
    headers = "".join(f"{name}:{' '.join(values[name].split())}\n" for name in signed_headers)
    query = "&".join(f"{name}={value}" for name, value in sorted(request.query))
    canonical = "\n".join([request.method, request.path, query, headers, ";".join(signed_headers), payload])
    scope = f"{timestamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.digest(key_of(timestamp[:8], region, SECRET), text.encode(), "sha256").hex()


def timestamp_of(seconds: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def presigned(
    request: Signed,
    *,
    age_seconds: int = 0,
    expires: int = 3600,
    access_key: str = ACCESS_KEY,
    region: str = REGION,
) -> Signed:
    timestamp = timestamp_of(time.time() - age_seconds)
    credential = quote(f"{access_key}/{timestamp[:8]}/{region}/s3/aws4_request", safe="")
    claim = [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", credential),
        ("X-Amz-Date", timestamp),
        ("X-Amz-SignedHeaders", "host"),
        ("X-Amz-Expires", str(expires)),
    ]
    request = replace(request, query=[*request.query, *claim])
    proof = signature(
        request, signed_headers=["host"], payload="UNSIGNED-PAYLOAD", timestamp=timestamp, region=region
    )
    return replace(request, query=[*request.query, ("X-Amz-Signature", proof)])


def header_signed(
    request: Signed,
    *,
    age_seconds: int = 0,
    access_key: str = ACCESS_KEY,
    region: str = REGION,
    payload: str = EMPTY,
) -> Signed:
    timestamp = timestamp_of(time.time() - age_seconds)
    request = replace(
        request, headers=[*request.headers, ("X-Amz-Date", timestamp), ("X-Amz-Content-SHA256", payload)]
    )
    names = sorted(
        name.lower()
        for name, _ in request.headers
        if name.lower() == "host" or "x-amz" in name.lower() or name == INVOCATION
    )
    proof = signature(request, signed_headers=names, payload=payload, timestamp=timestamp, region=region)
    credential = f"{access_key}/{timestamp[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(names)}, Signature={proof}"
    return replace(request, headers=[*request.headers, ("Authorization", text)])


HARMLESS_HEADERS = (
    ("User-Agent", "Boto3/1.40 md/Botocore"), ("Accept", "*/*"), ("Accept-Encoding", "identity"),
    ("Connection", "keep-alive"), (INVOCATION, ""), ("amz-sdk-request", "attempt=1"),
    ("Content-Type", "application/json"), ("Cache-Control", "no-cache"),
)  # fmt: skip
UNUSUAL_HEADERS = (
    ("If-Match", '"0"'), ("If-Match", "*"), ("If-None-Match", "*"), ("If-None-Match", '"x", W/"y"'),
    ("If-Modified-Since", "Mon, 01 Jan 2035 00:00:00 GMT"), ("If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT"),
    ("If-Modified-Since", "yesterday"), ("If-Range", '"x"'), ("Origin", "http://evil.example"), ("Origin", "null"),
    ("Origin", "http://localhost:1"), ("X-Request-Id", "mine-1"), ("X-Request-Id", "no good id"),
    ("Expect", "100-continue"), ("Upgrade", "websocket"), ("Connection", "close"), ("Connection", "upgrade"),
    ("Content-Length", "0"), ("Content-Length", "-1"), ("Content-Length", "x"), ("TE", "trailers"), ("Cookie", "a=b"),
    ("X-Forwarded-For", "10.0.0.1"), ("X-Amz-Meta-A", "b"), ("X-Amz-Security-Token", "t"), ("X-Amz-Acl", "private"),
    ("X-Amz-Tagging", "a=b"), ("X-Amz-Checksum-Mode", "ENABLED"), ("X-Amz-Expected-Bucket-Owner", "me"),
    ("X-Amz-Mfa", "1"), ("Ais-Pine", "x"), ("Host", HOST), ("Host", "evil.example"), ("Authorization", "Bearer x"),
    ("Authorization", ""), ("Range", "bytes=0-0"), ("User-Agent", "caf\u00e9"), ("Accept", "a\x01b"), ("Accept", "\t*"),
    ("Bad Name", "x"), ("X" * 300, "y"), ("X", "y" * 3000), ("X-Amz-Date", "20200101T000000Z"), ("Date", "today"),
)  # fmt: skip
RANGES = (
    "bytes=0-0", "bytes=1-", "bytes=0-99", "bytes=100-100000", "bytes=4095-4096", "bytes=1048575-1048576",
    "bytes=65535-", "bytes=0-999999999999",
)  # fmt: skip
UNUSUAL_RANGES = (
    "bytes=-5", "bytes=-0", "bytes=5-3", "bytes=9999999999-", "bytes=0-0,5-6", "bytes=", "bytes=a-b", "items=0-5",
    "bytes= 0-5", "Bytes=0-5", "bytes=0-5 ", "bytes=0 - 5", "bytes=00000000000000000000000-5", "bytes=0-5-", "",
    "bytes=\u0663-5",
)  # fmt: skip
REST_QUERIES = (
    "provider=ais", "provider=", "provider=aws", "provider=nonsense", "namespace=", "namespace=%40%23",
    "namespace=%23x", "props=", "props=name,size", "props=nonsense", "archpath=a", "archpath=", "etl_name=x",
    "uuid=1", "a=b&a=c", "%", "provider=%ff", "provider=ais&provider=aws", "props=checksum&provider=ais",
    "provider=ais&props=version", "&", "=",
)  # fmt: skip
S3_QUERIES = (
    "x-id=GetObject", "x-id=HeadObject", "x-id=PutObject", "versionId=null", "versionId=", "versionId=5", "acl", "acl=",
    "tagging=", "partNumber=1", "uploadId=x", "response-content-type=text%2Fplain", "prefix=a", "attributes=",
    "torrent=", "list-type=2", "X-Amz-Foo=1", "unknown=1", "unknown=",
)  # fmt: skip


class Generator:
    """Requests for `names` of `bucket`, in an order that `seed` fixes."""

    def __init__(self, bucket: str, names: Sequence[str], seed: int) -> None:
        self._random = random.Random(seed)
        self._bucket = bucket
        self._names = names
        self._changes: Sequence[Callable[[Signed], Signed]] = (
            self._header, self._header, self._query, self._range, self._path, self._bytes, self._method, self._missing,
        )  # fmt: skip

    def next(self) -> Signed:
        chosen = self._random
        is_rest = chosen.random() < 0.4
        name = quote(
            chosen.choice(self._names), safe="/-_.~" if chosen.random() < 0.8 or not is_rest else "-_.~"
        )
        prefix = "/v1/objects" if is_rest else chosen.choice(["", "/s3"])
        request = Signed(chosen.choice(["GET", "GET", "GET", "HEAD"]), f"{prefix}/{self._bucket}/{name}")
        if is_rest and chosen.random() < 0.4:
            request.query.append(("provider", "ais"))
        request.headers += chosen.sample(HARMLESS_HEADERS, chosen.choice([0, 0, 1, 3, 6]))
        request.headers = [self._numbered(header) for header in request.headers]
        if chosen.random() < 0.15 and request.method == "GET":
            request.headers.append(("Range", chosen.choice(RANGES)))
        unusual = chosen.random() < NEAR_MISSES
        if unusual and (is_rest or chosen.random() < 0.5):
            # Changed before it is signed, so that the signature is good.
            request, unusual = chosen.choice(self._changes)(request), False
        if not is_rest:
            request = self._signed(request, wrong=unusual and chosen.random() < 0.5)
            if unusual and not request.unusual:
                request = chosen.choice(self._changes)(request)
        return request

    def _numbered(self, header: tuple[str, str]) -> tuple[str, str]:
        if header[0] != INVOCATION:
            return header
        number = str(UUID(int=self._random.getrandbits(128)))
        return self._random.choice([INVOCATION, INVOCATION.title()]), number

    def _signed(self, request: Signed, *, wrong: bool) -> Signed:
        chosen = self._random
        how = presigned if chosen.random() < 0.6 else header_signed
        try:
            if not wrong:
                return how(request)
            return self._wrongly_signed(request, how)
        except (KeyError, UnicodeEncodeError):
            # Nothing that a signer could sign: it goes out unsigned.
            return request

    def _wrongly_signed(self, request: Signed, how: Callable[..., Signed]) -> Signed:
        kind = self._random.choice(
            [
                "none",
                "stale",
                "future",
                "key",
                "region",
                "signature",
                "expires",
                "case",
                "twice",
                "payload",
                "order",
            ]
        )
        request = replace(request, unusual=f"signature: {kind}")
        match kind:
            case "none":
                return request
            case "stale":
                return how(request, age_seconds=self._random.choice([3700, 100_000]))
            case "future":
                return how(request, age_seconds=-self._random.choice([60, 1000]))
            case "key":
                return how(request, access_key="AKIDOTHER")
            case "region":
                return how(request, region=self._random.choice(["us-east-1", "elsewhere"]))
            case "expires" if how is presigned:
                # One second must be over for both of the ways that are compared, and not between them.
                expires = self._random.choice([0, 1, 604_800, 604_801, 9_999_999])
                return presigned(request, expires=expires, age_seconds=60 if expires == 1 else 0)
            case "payload" if how is not presigned:
                return header_signed(
                    request, payload=self._random.choice(["UNSIGNED-PAYLOAD", "0" * 64, "x"])
                )
        signed = how(request)
        if how is not presigned:
            name, value = signed.headers[-1]
            changed = {"signature": f"{value[:-1]}{'0' if value[-1] != '0' else '1'}", "case": value.upper()}
            again = [(name, value)] if kind == "twice" else []
            return replace(signed, headers=[*signed.headers[:-1], (name, changed.get(kind, value)), *again])
        if kind == "order":
            return replace(signed, query=self._random.sample(signed.query, len(signed.query)))
        name, value = signed.query[-1]
        changed = {"signature": f"{'0' if value[0] != '0' else '1'}{value[1:]}", "case": value.upper()}
        again = [self._random.choice(signed.query)] if kind == "twice" else []
        return replace(signed, query=[*signed.query[:-1], (name, changed.get(kind, value)), *again])

    def _header(self, request: Signed) -> Signed:
        name, value = self._random.choice(UNUSUAL_HEADERS)
        return request.with_header(name, value, f"header {name}: {value[:40]!r}")

    def _query(self, request: Signed) -> Signed:
        is_rest = request.path.startswith("/v1/")
        text = self._random.choice(REST_QUERIES if is_rest else S3_QUERIES)
        pairs = [
            (name, value if mark else "\0")
            for name, mark, value in (item.partition("=") for item in text.split("&"))
        ]
        return replace(request, query=[*request.query, *pairs], unusual=f"query {text}")

    def _range(self, request: Signed) -> Signed:
        value = self._random.choice(UNUSUAL_RANGES)
        headers = [header for header in request.headers if header[0] != "Range"]
        return replace(request, headers=[*headers, ("Range", value)], unusual=f"range {value!r}")

    def _path(self, request: Signed) -> Signed:
        before, _, name = request.path.rpartition("/")
        path = self._random.choice(
            [
                f"/{request.path}", f"{before}//{name}", f"{before}/../{name}", f"{request.path}/", f"{before}/",
                f"{request.path}%00", f"{request.path}%", f"{request.path}%zz", f"{request.path}%25",
                f"{request.path}%ff", f"http://{HOST}{request.path}", f"{request.path}#x", f"{request.path};v=1",
                before, f"{request.path}+",
                request.path.replace("lane", "l%61ne"), request.path.replace("lane", "other"), f"{request.path}\\x",
                request.path.replace("/v1/", "/V1/"), f"{request.path}{'x' * 1100}", "/", "*", f"{request.path}?",
                request.path.replace("/s3/", "/s3//"), f"{request.path}\u00e9", f"{request.path}<>[]^`{{|}}",
            ]
        )  # fmt: skip
        return replace(request, path=path, unusual=f"path {path[:80]}")

    def _bytes(self, request: Signed) -> Signed:
        changes: dict[str, Callable[[bytes], bytes]] = {
            "bare newlines": lambda head: head.replace(b"\r\n", b"\n"),
            "a space before a colon": lambda head: head.replace(b": ", b" : ", 1),
            "no space after colons": lambda head: head.replace(b": ", b":"),
            "spaces around values": lambda head: head.replace(b": ", b":   ").replace(b"\r\n", b"  \r\n", 2),
            "a tab after a colon": lambda head: head.replace(b": ", b":\t", 1),
            "a folded line": lambda head: head.replace(b"\r\n\r\n", b"\r\n x\r\n\r\n"),
            "names in upper case": lambda head: head.replace(b"Host", b"HOST"),
            "an empty line in front": lambda head: b"\r\n" + head,
            "two spaces": lambda head: head.replace(b" HTTP", b"  HTTP"),
            "HTTP/1.0": lambda head: head.replace(b" HTTP/1.1", b" HTTP/1.0"),
            "HTTP/1.2": lambda head: head.replace(b" HTTP/1.1", b" HTTP/1.2"),
            "no version": lambda head: head.replace(b" HTTP/1.1", b""),
            "a zero byte": lambda head: head.replace(b"Host: ", b"Host: \0"),
            "a bare return": lambda head: head.replace(b"\r\n\r\n", b"\r\nA: b\rc\r\n\r\n"),
            "no host": lambda head: head.replace(b"Host: localhost\r\n", b""),
            "another host": lambda head: head.replace(b"Host: localhost", b"Host: example.com"),
            "a host in capitals": lambda head: head.replace(b"Host: localhost", b"Host: LocalHost"),
            "a host with another port": lambda head: head.replace(b"Host: localhost", b"Host: localhost:1"),
            "a header without colon": lambda head: head.replace(b"\r\n\r\n", b"\r\nNothing\r\n\r\n"),
            "many headers": lambda head: head.replace(b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * 150 + b"\r\n"),
        }
        what = self._random.choice(list(changes))
        return replace(request, head=changes[what], unusual=what)

    def _method(self, request: Signed) -> Signed:
        method = self._random.choice(["get", "Get", "OPTIONS", "TRACE", "GETX", "HEADER", "PATCH", "BREW"])
        return replace(request, method=method, unusual=f"method {method}")

    def _missing(self, request: Signed) -> Signed:
        return replace(request, path=f"{request.path}-missing", unusual="a name that is not there")
