"""One etcd shared by the tests that leave it alive, one of its own for those that kill it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from shoal_core.etcd.client import EtcdClient
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
