"""Mutual TLS to etcd by IP address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_core.errors import ConfigurationError, ControlPlaneDown
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.lease import Lease
from support.etcd import Authority, EtcdServer, free_ports


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("etcd"), tls=authority.issue("etcd")).start()
    yield server
    server.kill()


async def test_everything_works_over_mutual_tls(authority: Authority, server: EtcdServer) -> None:
    endpoints = [f"127.0.0.1:{free_ports(1)[0]}", server.endpoint]
    async with EtcdClient(endpoints, tls=authority.issue("gateway")) as client, Lease(client, 5) as lease:
        revision = await client.put("key", b"1", lease_id=lease.id)
        async with client.watch_key("key", start_revision=revision) as watch:
            assert (await anext(watch)).revision == revision


async def test_client_without_a_certificate_of_our_authority_gets_nothing(
    authority: Authority, server: EtcdServer, tmp_path: Path
) -> None:
    stranger = Authority.create(tmp_path).issue("stranger")
    mixed = replace(stranger, certificate_authority=authority.folder / "ca.pem")
    async with EtcdClient([server.endpoint], tls=mixed, timeout_seconds=0.5) as client:
        with pytest.raises(ControlPlaneDown):
            await client.get("key")


async def test_server_of_another_authority_is_not_believed(server: EtcdServer, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path).issue("stranger")
    async with EtcdClient([server.endpoint], tls=stranger, timeout_seconds=0.5) as client:
        with pytest.raises(ControlPlaneDown):
            await client.get("key")


async def test_server_with_another_name_is_not_believed(authority: Authority, server: EtcdServer) -> None:
    files = replace(authority.issue("gateway"), server_name="etcd.elsewhere")
    async with EtcdClient([server.endpoint], tls=files, timeout_seconds=0.5) as client:
        with pytest.raises(ControlPlaneDown):
            await client.get("key")


async def test_missing_tls_file_is_named(authority: Authority, tmp_path: Path) -> None:
    files = replace(authority.issue("gateway"), key=tmp_path / "missing.key")
    with pytest.raises(ConfigurationError, match=r"missing\.key"):
        EtcdClient(["127.0.0.1:1"], tls=files)
