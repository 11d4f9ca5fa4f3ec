"""Generated writes of small objects, most of them plain, many of them nearly so."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import quote

from support.lane_requests import Generator, Signed, header_signed, presigned

SIZES = (0, 1, 100, 4096, 32_767, 32_768, 32_769, 20_000, 70_000)
LARGE_SIZES = (300_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1)
"""In bytes, about the largest that the index holds, and the largest that take the lane."""
TYPES = ("text/plain", "application/json", 'image/x; a="b"', "a/b\u00ff", "")


def said_of(body: bytes) -> tuple[tuple[str, str], ...]:
    """As most SDKs do, which the lane knows."""
    crc32, sha256 = zlib.crc32(body).to_bytes(4), hashlib.sha256(body).digest()
    return (
        ("x-amz-checksum-crc32", base64.b64encode(crc32).decode()),
        ("x-amz-checksum-sha256", base64.b64encode(sha256).decode()),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
    )


def checksum_headers(body: bytes) -> tuple[tuple[str, str], ...]:
    """Right ones and wrong ones, of which few take the lane."""
    crc32 = zlib.crc32(body).to_bytes(4)
    return (
        ("Content-MD5", base64.b64encode(hashlib.md5(body).digest()).decode()),
        ("Content-MD5", base64.b64encode(bytes(16)).decode()),
        ("Content-MD5", "nonsense"),
        ("x-amz-checksum-crc32", base64.b64encode(crc32).decode()),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("ais-checksum-type", "md5"),
        ("ais-checksum-value", "0" * 32),
        ("x-amz-meta-colour", "blue"),
        ("Ais-Custom-Md", "a=b"),
        ("If-None-Match", "*"),
        ("If-Match", '"0"'),
        ("Content-Encoding", "gzip"),
        ("Content-Language", "de"),
        ("x-amz-copy-source", "/lane/plain"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-decoded-content-length", "5"),
        ("Range", "bytes=0-5"),
        ("Cache-Control", "no-store"),
    )


class PutGenerator(Generator):
    """Writes of `names` of `bucket`, in an order that `seed` fixes. An answer always comes: what the header announces
    is sent, or more."""

    def __init__(self, bucket: str, names: Sequence[str], seed: int) -> None:
        super().__init__(bucket, names, seed)
        self._changes = (*self._changes, self._told, self._told, self._length)

    def next(self) -> Signed:
        chosen = self._random
        is_rest = chosen.random() < 0.4
        prefix = "/v1/objects" if is_rest else chosen.choice(["", "/s3"])
        path = f"{prefix}/{self._bucket}/{quote(chosen.choice(self._names), safe='/-_.~')}"
        body = chosen.randbytes(chosen.choice(LARGE_SIZES if chosen.random() < 0.02 else SIZES))
        request = Signed("PUT", path, body=body)
        request.headers.append(("Content-Length", str(len(body))))
        if chosen.random() < 0.3:
            request.headers.append(("Content-Type", chosen.choice(TYPES)))
        if chosen.random() < 0.3:
            request.headers.append(("User-Agent", chosen.choice(["ais/1.4", "Boto3/1.40", "curl"])))
        if is_rest and chosen.random() < 0.5:
            request.query.append(("provider", "ais"))
        if chosen.random() < 0.3:
            request.headers += chosen.sample(said_of(body), chosen.choice([1, 1, 2]))
        unusual = chosen.random() < 0.4
        if unusual and (is_rest or chosen.random() < 0.5):
            request, unusual = chosen.choice(self._changes)(request), False
        if is_rest:
            return request
        request = self._signed(request, wrong=unusual and chosen.random() < 0.5)
        return chosen.choice(self._changes)(request) if unusual and not request.unusual else request

    def _signed(self, request: Signed, *, wrong: bool) -> Signed:
        payload = hashlib.sha256(request.body).hexdigest()
        ways: list[Callable[..., Signed]] = [
            presigned,
            partial(header_signed, payload=payload),
            partial(header_signed, payload="UNSIGNED-PAYLOAD"),
        ]
        try:
            if wrong and self._random.random() < 0.3:
                payload = self._random.choice(
                    ["0" * 64, hashlib.sha256(b"").hexdigest(), "x", payload.upper()]
                )
                return replace(header_signed(request, payload=payload), unusual="signature: another payload")
            how = self._random.choice(ways)
            return self._wrongly_signed(request, how) if wrong else how(request)
        except (KeyError, UnicodeEncodeError):
            return request

    def _told(self, request: Signed) -> Signed:
        name, value = self._random.choice(checksum_headers(request.body))
        return request.with_header(name, value, f"header {name}: {value[:40]!r}")

    def _length(self, request: Signed) -> Signed:
        """Said in another way. (Of a length shorter than the body, test_fast_put_outcomes.py knows.)"""
        size = len(request.body)
        value = self._random.choice([f"0{size}", f"+{size}", "", "-1", f"{size},{size}", f"{size} "])
        headers = [header for header in request.headers if header[0] != "Content-Length"]
        return replace(
            request, headers=[*headers, ("Content-Length", value)], unusual=f"content-length {value!r}"
        )
