"""The storage engine keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.object_store_contract import ObjectStoreContract
from shoal_store.local import LocalObjectStore
from support.stores import local_store


class TestLocalObjectStore(ObjectStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[LocalObjectStore]:
        async with local_store(tmp_path) as store:
            yield store
