"""One proxy and one target for the tests that leave them alive; nodes of their own for those that do not."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import pytest

from shoal.common.v1.common_pb2 import BucketReference
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from support.buckets import create_bucket
from support.node import Nodes

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def shared_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes(tmp_path_factory.mktemp("nodes")) as nodes:
        nodes.etcd.start()
        nodes.target("t1").start()
        nodes.proxy("p1").start()
        yield nodes


@pytest.fixture
def own_nodes(tmp_path: Path) -> Iterator[Nodes]:
    """etcd runs; the test starts what it needs."""
    with Nodes(tmp_path) as nodes:
        nodes.etcd.start()
        yield nodes


@pytest.fixture
async def proxy_channel(shared_nodes: Nodes) -> AsyncIterator[grpc.aio.Channel]:
    async with shared_nodes.channel("p1") as channel:
        yield channel


@pytest.fixture
async def target_channel(shared_nodes: Nodes) -> AsyncIterator[grpc.aio.Channel]:
    async with shared_nodes.channel("t1") as channel:
        yield channel


@pytest.fixture
async def bucket(proxy_channel: grpc.aio.Channel) -> BucketReference:
    """A new, empty bucket."""
    reference = BucketReference(name=f"bucket-{next(NUMBERS)}")
    await create_bucket(proxy_channel, reference)
    return reference


@pytest.fixture(params=["target", "proxy"])
def objects(request: pytest.FixtureRequest, bucket: BucketReference) -> ObjectServiceStub:
    """The object service, of the owner itself and through the proxy."""
    return ObjectServiceStub(request.getfixturevalue(f"{request.param}_channel"))
