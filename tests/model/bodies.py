"""Bodies on their way to a store and back."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shoal_core.multipart import MultipartStore
from shoal_core.objects import Bucket, ObjectInfo, Preconditions, RangeRequest

PIECE_BYTES = 300_000


class Cut(Exception):
    """The writer went away in the middle of its body."""


async def in_pieces(body: bytes, *, cut: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]
    if cut:
        raise Cut


async def read_whole(
    store: MultipartStore, bucket: Bucket, name: str, wanted: RangeRequest | None, held: Preconditions
) -> tuple[ObjectInfo, bytes]:
    body = await store.open(bucket, name, range=wanted, preconditions=held)
    try:
        return body.info, b"".join([piece async for piece in body.chunks()])
    finally:
        await body.close()
