"""The fake in memory keeps the contract, so that what is tested with it is tested."""

from __future__ import annotations

import pytest

from contract.copy_contract import CopyContract
from contract.multipart_contract import MultipartContract
from contract.object_store_contract import ObjectStoreContract
from support.memory_store import MemoryObjectStore


class TestMemoryObjectStore(ObjectStoreContract, CopyContract, MultipartContract):
    @pytest.fixture
    def store(self) -> MemoryObjectStore:
        return MemoryObjectStore()
