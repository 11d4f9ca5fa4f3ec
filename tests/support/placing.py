"""Giving slots to other targets, as rebalance will: a new placement, written to etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import Layout, read_layout
from shoal_core.certificates import TlsFiles
from shoal_core.etcd.client import EtcdClient
from shoal_core.membership import ALIVE_PREFIX, PLACEMENT_KEY, PlacementRecord, PlacementShare
from shoal_core.node import etcd_tls
from support.cluster import Cluster

Result = TypeVar("Result", covariant=True)


class Work(Protocol[Result]):
    def __call__(self, etcd: EtcdClient) -> Coroutine[Any, Any, Result]: ...


def place_on(cluster: Cluster, *targets: str) -> int:
    """Every slot goes to one of these; returns the new epoch."""

    async def place(etcd: EtcdClient) -> int:
        found = await etcd.get(PLACEMENT_KEY)
        assert found is not None
        old = msgspec.json.decode(found.value, type=PlacementRecord)
        new = PlacementRecord(old.epoch + 1, tuple(PlacementShare(target, 1.0) for target in targets))
        await etcd.put_if(PLACEMENT_KEY, msgspec.json.encode(new), expected_mod_revision=found.mod_revision)
        return new.epoch

    return with_etcd(cluster, place)


def has_lease(cluster: Cluster, member: str) -> bool:
    async def look(etcd: EtcdClient) -> bool:
        return await etcd.get(ALIVE_PREFIX + member) is not None

    return with_etcd(cluster, look)


def layout_of(cluster: Cluster) -> Layout:
    layout = read_layout(DataFolder(cluster.data))
    assert layout is not None
    return layout


def with_etcd(cluster: Cluster, work: Work[Result]) -> Result:
    folder = DataFolder(cluster.data)
    endpoint = f"127.0.0.1:{layout_of(cluster).ports['etcd-client']}"

    async def connected() -> Result:
        tls = etcd_tls(TlsFiles.node(folder.certificates("supervisor")))
        async with EtcdClient((endpoint,), tls=tls) as etcd:
            return await work(etcd)

    return asyncio.run(connected())
