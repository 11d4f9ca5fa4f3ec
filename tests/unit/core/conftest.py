"""One real etcd for the tests of what the core keeps in it, emptied before each of them; and servers of one cluster's
authority, with channels of its nodes and users to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import pytest

from shoal.chunk.v1 import chunk_pb2_grpc
from shoal.cluster.v1 import cluster_pb2_grpc
from shoal_core.certificates import ClusterAuthority, TlsFiles
from shoal_core.etcd.client import EtcdClient
from shoal_core.load import Load
from shoal_core.membership import ROOT
from shoal_core.rpc import Channels, Listener, add_listener, build_server
from support.etcd import EtcdServer
from support.rpc_servers import ChunkServicer, ClusterServicer, Start


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
async def etcd(shared_etcd: EtcdServer) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([shared_etcd.endpoint], tls=None) as client:
        await client.delete_prefix(ROOT)
        yield client


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ClusterAuthority:
    return ClusterAuthority.create(tmp_path_factory.mktemp("ca"), "cluster-a")


@pytest.fixture(scope="module")
def node_files(authority: ClusterAuthority, tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return authority.issue(tmp_path_factory.mktemp("target"), "target", "t1")


@pytest.fixture
async def start(node_files: TlsFiles) -> AsyncIterator[Start]:
    """Starts servers, and stops them at the end."""
    servers: list[grpc.aio.Server] = []

    async def started(
        servicer: ClusterServicer,
        *,
        mode: Listener = Listener.INTERNAL,
        address: str = "127.0.0.1:0",
        tls: TlsFiles = node_files,
        load: Load | None = None,
        chunks: ChunkServicer | None = None,
        **limits: float,
    ) -> str:
        server = build_server(
            node="t1",
            cluster_id="cluster-a",
            mode=mode,
            services=[
                lambda server: cluster_pb2_grpc.add_ClusterServiceServicer_to_server(servicer, server),
                lambda server: chunk_pb2_grpc.add_ChunkServiceServicer_to_server(
                    chunks or ChunkServicer(), server
                ),
            ],
            load=load,
            **limits,  # type: ignore[arg-type]  # one dictionary of numbers, some whole
        )
        bound = add_listener(server, address, tls=tls, mode=mode)
        await server.start()
        servers.append(server)
        return bound

    yield started
    for server in servers:
        await server.stop(0)


@pytest.fixture
async def node_channels(node_files: TlsFiles) -> AsyncIterator[Channels]:
    channels = Channels(node_files)
    yield channels
    await channels.close()


@pytest.fixture
async def user_channels(node_files: TlsFiles) -> AsyncIterator[Channels]:
    channels = Channels(TlsFiles(node_files.ca))
    yield channels
    await channels.close()
