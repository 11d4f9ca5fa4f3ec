"""The storage engine keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.copy_contract import CopyContract
from contract.multipart_contract import MultipartContract
from contract.object_store_contract import ObjectStoreContract
from shoal_store.local import LocalObjectStore
from support.stores import local_store


class TestLocalObjectStore(ObjectStoreContract, CopyContract, MultipartContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[LocalObjectStore]:
        async with local_store(tmp_path) as store:
            yield store
