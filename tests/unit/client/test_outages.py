"""A client that stays connected while processes of the cluster die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal_client.bucket import BucketClient
from shoal_client.client import ShoalClient
from shoal_core.errors import ControlPlaneDown, OwnerUnreachable, Unavailable
from support.node import Nodes

NAMES = [str(number) for number in range(20)]


@pytest.fixture
def own_nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path) as nodes:
        nodes.etcd.start()
        for target in ("t1", "t2"):
            nodes.target(target).start()
        nodes.proxy("p1").start()
        yield nodes


def connect(nodes: Nodes) -> ShoalClient:
    return ShoalClient.connect(nodes.processes["p1"].ready["public_address"], ca=nodes.ca)


async def filled_bucket(client: ShoalClient) -> BucketClient:
    await client.create_bucket("photos")
    bucket = client.bucket("photos")
    for name in NAMES:
        await bucket.put(name, name.encode())
    return bucket


async def outcomes(bucket: BucketClient) -> list[bytes | BaseException]:
    return await asyncio.gather(*(bucket.get(name) for name in NAMES), return_exceptions=True)


async def outcomes_once_reachable(bucket: BucketClient) -> list[bytes | BaseException]:
    """The new map arrives when the target has joined again; there is nothing in this process to await."""
    for _ in range(400):
        found = await outcomes(bucket)
        if not any(isinstance(outcome, Unavailable) for outcome in found):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("objects were unreachable for 20 s")


async def test_objects_of_a_killed_target_are_unreachable_until_it_is_back(own_nodes: Nodes) -> None:
    async with connect(own_nodes) as client:
        bucket = await filled_bucket(client)
        own_nodes.processes["t2"].kill()
        failed = [outcome for outcome in await outcomes(bucket) if not isinstance(outcome, bytes)]
        assert 0 < len(failed) < len(NAMES)
        assert all(isinstance(outcome, OwnerUnreachable) for outcome in failed)
        with pytest.raises(OwnerUnreachable):
            [_ async for _ in bucket.list()]
        own_nodes.processes["t2"].start()
        assert await outcomes_once_reachable(bucket) == [name.encode() for name in NAMES]


async def test_objects_are_read_and_written_without_a_proxy(own_nodes: Nodes) -> None:
    async with connect(own_nodes) as client:
        bucket = await filled_bucket(client)
        own_nodes.processes["p1"].kill()
        assert await outcomes(bucket) == [name.encode() for name in NAMES]
        await bucket.put("new", b"data")
        with pytest.raises(ControlPlaneDown):
            await client.create_bucket("other")
