"""`aws-chunked` bodies, cut into pieces at every place."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.signature import Verified
from shoal_gateway.s3.streaming import ChunkedBody
from support.aws_chunks import ChunkSigner, unsigned_body

KEY, SCOPE, TIME, SEED = b"k" * 32, "20261123/shoal/s3/aws4_request", "20261123T000000Z", "0" * 64
signed_body = ChunkSigner(KEY, SCOPE, TIME, SEED).body


def verified(payload: str) -> Verified:
    return Verified(LOCAL_ADMINISTRATOR, payload, SEED, KEY, SCOPE, TIME)


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
