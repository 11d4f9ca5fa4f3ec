"""One etcd shared by the tests that leave it alive, one of its own for those that kill it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from shoal_core.etcd.client import EtcdClient
from support.cutting_proxy import CuttingProxy
from support.etcd import EtcdServer

PREFIXES = count()


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("etcd")).start()
    yield server
    server.kill()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
async def client(shared_etcd: EtcdServer) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([shared_etcd.endpoint], tls=None) as client:
        yield client


@pytest.fixture
async def own_client(own_etcd: EtcdServer) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([own_etcd.endpoint], tls=None) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    """Room of the test's own in the shared store."""
    return f"/test/{next(PREFIXES)}/"


@pytest.fixture
async def proxy(shared_etcd: EtcdServer) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(shared_etcd.endpoint) as proxy:
        yield proxy


@pytest.fixture
async def proxied(proxy: CuttingProxy) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([proxy.endpoint], tls=None, timeout_seconds=3) as client:
        await client.get("warm-up")
        yield client
