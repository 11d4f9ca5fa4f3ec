"""A bit that flips between client and server is noticed on the side that receives it, in both directions."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import grpc.aio
import pytest

from shoal_core.errors import ChecksumMismatch, DataCorrupt, ObjectNotFound
from shoal_core.multipart import MultipartStore
from shoal_core.objects import FRAME_BYTES, PutRequest, RangeRequest
from support.engines import BUCKET, get, in_pieces, put, running_engine
from support.flipping_channel import FlippingChannel
from support.stores import remote_store

MARK = b"the byte that flips"
CONTENT = os.urandom(FRAME_BYTES + 1000) + MARK + os.urandom(1000)


def flipping(channel: grpc.aio.Channel) -> grpc.aio.Channel:
    return cast(grpc.aio.Channel, FlippingChannel(channel, MARK))


async def read(store: MultipartStore, wanted: RangeRequest | None = None) -> AsyncIterator[bytes]:
    body = await store.open(BUCKET, "a", range=wanted)
    try:
        async for piece in body.chunks():
            yield piece
    finally:
        await body.close()


async def test_a_download_ends_before_the_byte_that_flipped(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", CONTENT)
        async with remote_store(tmp_path, engine.store, BUCKET, through=flipping) as remote:
            pieces = read(remote)
            assert await anext(pieces) == CONTENT[:FRAME_BYTES]
            with pytest.raises(DataCorrupt, match="damaged on the way at byte 1048576"):
                await anext(pieces)
            # A range beside it is whole.
            tail = [piece async for piece in read(remote, RangeRequest(len(CONTENT) - 500, None))]
            assert b"".join(tail) == CONTENT[-500:]


async def test_an_upload_is_refused_and_leaves_the_old_object(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", b"old")
        async with remote_store(tmp_path, engine.store, BUCKET, through=flipping) as remote:
            # Without a checksum of the whole: the frame's alone tells.
            with pytest.raises(ChecksumMismatch, match="CRC32C"):
                await remote.put(BUCKET, PutRequest("a"), in_pieces(CONTENT))
        assert await get(engine, "a") == b"old"


async def test_a_part_is_refused_and_is_not_there(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        async with remote_store(tmp_path, engine.store, BUCKET, through=flipping) as remote:
            upload = await remote.begin_upload(BUCKET, PutRequest("a"))
            with pytest.raises(ChecksumMismatch, match="CRC32C"):
                await remote.put_part(BUCKET, upload.id, 1, PutRequest("a"), in_pieces(CONTENT))
            assert (await remote.list_parts(BUCKET, "a", upload.id))[1] == ()
        with pytest.raises(ObjectNotFound):
            await engine.store.head(BUCKET, "a")


async def test_a_channel_that_flips_nothing_carries_everything(tmp_path: Path) -> None:
    async with (
        running_engine(tmp_path) as engine,
        remote_store(tmp_path, engine.store, BUCKET) as remote,
    ):
        await remote.put(BUCKET, PutRequest("a"), in_pieces(CONTENT))
        assert b"".join([piece async for piece in read(remote)]) == CONTENT
