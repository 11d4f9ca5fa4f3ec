"""The storage engine behind gRPC with mutual TLS keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from contract.copy_contract import CopyContract
from contract.multipart_contract import MultipartContract
from contract.object_store_contract import BUCKETS, ObjectStoreContract
from shoal_client.remote import RemoteObjectStore
from support.stores import local_store, remote_store


class TestRemoteObjectStore(ObjectStoreContract, CopyContract, MultipartContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[RemoteObjectStore]:
        async with AsyncExitStack() as stack:
            local = await stack.enter_async_context(local_store(tmp_path))
            yield await stack.enter_async_context(remote_store(tmp_path, local, *BUCKETS))
