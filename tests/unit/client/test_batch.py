"""`ShoalClient.read_batch`, from the targets themselves and through the proxy: order, errors, large items, leaving."""

from __future__ import annotations

import asyncio
import os

import pytest

from shoal_client.batch import CALL_ITEMS_MAX, BatchItem
from shoal_client.bucket import BucketClient
from shoal_client.client import ShoalClient
from shoal_core.errors import BucketNotFound, InvalidArgument, ObjectNotFound, RangeNotSatisfiable
from support.tars import tar_of

SIZES = (0, 1, 4096, 32768, 32769, 70_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 5)
BODIES = {f"o-{size}": os.urandom(size) for size in SIZES}
MEMBERS = {f"m/{number}": os.urandom(number * 3000) for number in range(30)}


@pytest.fixture
async def filled(bucket: BucketClient) -> BucketClient:
    for name, body in BODIES.items():
        await bucket.put(name, body)
    await bucket.put("shard.tar", tar_of(MEMBERS))
    return bucket


async def test_items_come_in_order_whatever_their_size(client: ShoalClient, filled: BucketClient) -> None:
    names = [*BODIES, *reversed(BODIES)] * 3
    items = [BatchItem(filled.reference, name) for name in names]
    items[7:7] = [BatchItem(filled.reference, "shard.tar", member) for member in MEMBERS]
    expected = [BODIES[name] for name in names]
    expected[7:7] = MEMBERS.values()
    found = [result async for result in client.read_batch(items)]
    assert [result.error for result in found] == [None] * len(items)
    assert [len(result.data) for result in found] == [len(data) for data in expected]
    assert all(result.data == data for result, data in zip(found, expected, strict=True))


async def test_errors_stand_in_their_places(client: ShoalClient, filled: BucketClient) -> None:
    reference = filled.reference
    items = [
        BatchItem(reference, "o-4096", start=1, length=10),
        BatchItem(reference, "none"),
        BatchItem(reference, "shard.tar", "none"),
        BatchItem(reference, f"o-{(3 << 20) + 5}", start=100, length=-1),
        BatchItem(reference, "o-1", start=0, length=2),
        BatchItem(reference, "shard.tar", "m/3", start=9, length=-1),
        BatchItem(reference, "o-4096", "member"),
        BatchItem(reference, "o-1"),
    ]
    found = [result async for result in client.read_batch(items)]
    kinds = [type(result.error) for result in found]
    assert kinds == [
        type(None), ObjectNotFound, ObjectNotFound, type(None), RangeNotSatisfiable, type(None), InvalidArgument,
        type(None),
    ]  # fmt: skip
    assert found[0].data == BODIES["o-4096"][1:11]
    assert found[3].data == BODIES[f"o-{(3 << 20) + 5}"][100:]
    assert found[5].data == MEMBERS["m/3"][9:]
    assert found[7].data == BODIES["o-1"]


async def test_batches_longer_than_a_call(client: ShoalClient, filled: BucketClient) -> None:
    items = [BatchItem(filled.reference, "o-1"), BatchItem(filled.reference, "o-4096")] * CALL_ITEMS_MAX
    count = 0
    async for result in client.read_batch(items):
        assert result.data == BODIES[items[count].name]
        count += 1
    assert count == len(items)


async def test_who_leaves_early_leaves_nothing_running(client: ShoalClient, filled: BucketClient) -> None:
    before = len(asyncio.all_tasks())
    items = [BatchItem(filled.reference, name) for name in [*BODIES, "none"] * 20]
    for stop in (1, 10, 50):
        found = client.read_batch(items)
        for _ in range(stop):
            await anext(found)
        await found.aclose()
    for _ in range(50):
        if len(asyncio.all_tasks()) <= before:
            break
        await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) <= before
    assert [result.data async for result in client.read_batch(items[:1])] == [b""]


async def test_what_makes_no_sense_is_said_at_once(client: ShoalClient, filled: BucketClient) -> None:
    with pytest.raises(BucketNotFound):
        await anext(aiter(client.read_batch([BatchItem("no-such-bucket", "x")])))
    for start, length in ((1, 0), (-1, 1), (0, -2)):
        with pytest.raises(InvalidArgument):
            await anext(aiter(client.read_batch([BatchItem(filled.reference, "o-1", "", start, length)])))
