"""Two targets and a proxy, as real processes around a real etcd, shared by the tests that leave them alive."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from shoal_client.bucket import BucketClient
from shoal_client.client import ShoalClient
from support.node import Nodes

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def live_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes(tmp_path_factory.mktemp("client")) as nodes:
        nodes.etcd.start()
        nodes.target("t1").start()
        nodes.target("t2").start()
        nodes.proxy("p1").start()
        yield nodes


@pytest.fixture
def proxy_address(live_nodes: Nodes) -> str:
    return str(live_nodes.processes["p1"].ready["public_address"])


@pytest.fixture(params=[True, False], ids=["direct", "relayed"])
async def client(
    request: pytest.FixtureRequest, live_nodes: Nodes, proxy_address: str
) -> AsyncIterator[ShoalClient]:
    async with ShoalClient.connect(proxy_address, ca=live_nodes.ca, direct=request.param) as client:
        yield client


@pytest.fixture
async def bucket(client: ShoalClient) -> BucketClient:
    """A new, empty bucket."""
    name = f"client-{next(NUMBERS)}"
    await client.create_bucket(name)
    return client.bucket(name)
