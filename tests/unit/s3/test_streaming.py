"""`aws-chunked` bodies, cut into pieces at every place."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import AsyncIterator

import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.signature import Verified
from shoal_gateway.s3.streaming import EMPTY_SHA256, ChunkedBody

KEY, SCOPE, TIME, SEED = b"k" * 32, "20261123/shoal/s3/aws4_request", "20261123T000000Z", "0" * 64


def verified(payload: str) -> Verified:
    return Verified(LOCAL_ADMINISTRATOR, payload, SEED, KEY, SCOPE, TIME)


def signature(algorithm: str, previous: str, text: str) -> str:
    to_sign = f"{algorithm}\n{TIME}\n{SCOPE}\n{previous}\n{text}"
    return hmac.digest(KEY, to_sign.encode(), "sha256").hex()


def signed_body(chunks: list[bytes], trailers: dict[str, str] | None = None) -> bytes:
    """As AWS's documents describe the sender."""
    body, previous = b"", SEED
    for chunk in [*chunks, b""]:
        digest = hashlib.sha256(chunk).hexdigest()
        previous = signature("AWS4-HMAC-SHA256-PAYLOAD", previous, f"{EMPTY_SHA256}\n{digest}")
        body += b"%x;chunk-signature=%s\r\n" % (len(chunk), previous.encode())
        body += chunk + b"\r\n" if chunk else b""
    if trailers is None:
        return body + b"\r\n"
    text = "".join(f"{name}:{value}\n" for name, value in trailers.items())
    digest = hashlib.sha256(text.encode()).hexdigest()
    last = signature("AWS4-HMAC-SHA256-TRAILER", previous, digest)
    return body + text.replace("\n", "\r\n").encode() + f"x-amz-trailer-signature:{last}\r\n\r\n".encode()


def unsigned_body(chunks: list[bytes], trailers: dict[str, str]) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n"
    return body + "".join(f"{name}:{value}\r\n" for name, value in trailers.items()).encode() + b"\r\n"


async def pieces(data: bytes, chance: random.Random) -> AsyncIterator[bytes]:
    while data:
        size = chance.randint(1, 40)
        yield data[:size]
        data = data[size:]


async def decoded(data: bytes, payload: str, *, seed: int = 0) -> tuple[bytes, dict[str, str]]:
    body = ChunkedBody(pieces(data, random.Random(seed)), verified(payload))
    return b"".join([piece async for piece in body]), body.trailers


SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
CHUNKS = [b"a" * 100, b"\r\n0\r\n", b"z"]


@pytest.mark.parametrize("chunks", [[], [b"x"], CHUNKS])
async def test_all_four_forms_are_decoded(chunks: list[bytes]) -> None:
    whole, trailers = b"".join(chunks), {"x-amz-checksum-crc32": "abcd=="}
    for seed in range(20):
        assert await decoded(signed_body(chunks), SIGNED, seed=seed) == (whole, {})
        with_trailer = signed_body(chunks, trailers)
        assert await decoded(with_trailer, f"{SIGNED}-TRAILER", seed=seed) == (whole, trailers)
        unsigned = unsigned_body(chunks, trailers)
        assert await decoded(unsigned, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", seed=seed) == (whole, trailers)


async def test_every_changed_byte_of_a_signed_body_is_refused() -> None:
    for body, payload in (
        (signed_body(CHUNKS), SIGNED),
        (signed_body(CHUNKS, {"a": "b"}), f"{SIGNED}-TRAILER"),
    ):
        for position in range(len(body) - 4):
            changed = bytearray(body)
            changed[position] ^= 1
            if bytes(changed).lower() == body:
                continue
            with pytest.raises(S3Error):
                await decoded(bytes(changed), payload)


async def test_every_truncation_is_refused() -> None:
    body = signed_body(CHUNKS)
    for length in range(len(body) - 4):
        with pytest.raises(S3Error):
            await decoded(body[:length], SIGNED)


@pytest.mark.parametrize(
    "body",
    [
        b"-1\r\n",
        b"zz\r\n",
        b"fffffffff\r\n",
        b"ffffffff\r\n",
        b"x" * 5000,
        b"1\r\naXX0\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
    ],
)
async def test_lies_about_lengths_are_refused(body: bytes) -> None:
    with pytest.raises(S3Error):
        await decoded(body, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")


async def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(S3Error):
        await decoded(signed_body([b"x"]) + b"more", SIGNED)
