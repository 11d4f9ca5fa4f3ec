"""One proxy and one target for the tests that leave them alive; nodes of their own for those that do not."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import pytest

from shoal.bucket.v1.bucket_pb2 import CreateBucketRequest
from shoal.bucket.v1.bucket_pb2_grpc import BucketServiceStub
from shoal.common.v1.common_pb2 import BucketReference
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from support.node import Nodes

NUMBERS = itertools.count()


def channel_to(nodes: Nodes, address: str) -> grpc.aio.Channel:
    """What a plain stub in any language needs: an address and the authority's certificate."""
    credentials = grpc.ssl_channel_credentials(nodes.ca.read_bytes())
    return grpc.aio.secure_channel(address, credentials)


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
    address = shared_nodes.processes["p1"].ready["public_address"]
    async with channel_to(shared_nodes, address) as channel:
        yield channel


@pytest.fixture
async def target_channel(shared_nodes: Nodes) -> AsyncIterator[grpc.aio.Channel]:
    address = shared_nodes.processes["t1"].ready["public_address"]
    async with channel_to(shared_nodes, address) as channel:
        yield channel


@pytest.fixture
async def bucket(proxy_channel: grpc.aio.Channel) -> BucketReference:
    """A new, empty bucket."""
    reference = BucketReference(name=f"bucket-{next(NUMBERS)}")
    await BucketServiceStub(proxy_channel).CreateBucket(CreateBucketRequest(bucket=reference), timeout=10)
    return reference


@pytest.fixture(params=["target", "proxy"])
def objects(request: pytest.FixtureRequest, bucket: BucketReference) -> ObjectServiceStub:
    """The object service, of the owner itself and through the proxy."""
    return ObjectServiceStub(request.getfixturevalue(f"{request.param}_channel"))
