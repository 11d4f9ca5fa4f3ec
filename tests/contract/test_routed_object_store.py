"""Three targets behind one store keep the contract, on this host and over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from contract.copy_contract import CopyContract
from contract.multipart_contract import MultipartContract
from contract.object_store_contract import BUCKETS, ObjectStoreContract
from shoal_client.routed import RoutedObjectStore
from shoal_core.cluster_map import ClusterMap
from shoal_core.multipart import MultipartStore
from support.clusters import cluster_map_of
from support.stores import local_store, remote_store

MAP: ClusterMap = cluster_map_of("t1", "t2", "t3")


def routed(stores: dict[str, MultipartStore]) -> RoutedObjectStore:
    return RoutedObjectStore(lambda: MAP, lambda member: stores[member.id])


class TestRoutedOverLocalStores(ObjectStoreContract, CopyContract, MultipartContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[RoutedObjectStore]:
        stores: dict[str, MultipartStore] = {}
        async with AsyncExitStack() as stack:
            for target in MAP.targets:
                owned = MAP.placement.owned(target.id)
                local = local_store(tmp_path, target=target.id, owned=owned)
                stores[target.id] = await stack.enter_async_context(local)
            yield routed(stores)


class TestRoutedOverRemoteStores(ObjectStoreContract, CopyContract, MultipartContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[RoutedObjectStore]:
        stores: dict[str, MultipartStore] = {}
        async with AsyncExitStack() as stack:
            for target in MAP.targets:
                owned = MAP.placement.owned(target.id)
                local = await stack.enter_async_context(local_store(tmp_path, target=target.id, owned=owned))
                remote = remote_store(tmp_path, local, *BUCKETS, target=target.id)
                stores[target.id] = await stack.enter_async_context(remote)
            yield routed(stores)
