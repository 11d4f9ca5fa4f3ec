"""A gateway application around one target's store in memory, asked in process."""

from __future__ import annotations

import pytest
from starlette.types import Scope

from shoal_core.access import NO_PERMISSIONS, Permission, Principal
from shoal_gateway.app import GatewayApplication
from shoal_gateway.guard import LocalGuard
from shoal_gateway.parts import Parts
from support.asgi import Asking
from support.memory_gateway import application_of, memory_parts
from support.memory_store import MemoryObjectStore


class NamedGuard(LocalGuard):
    """Admits everybody whom the real one admits, as somebody with less power."""

    def __init__(self, principal: Principal) -> None:
        super().__init__(port=51080)
        self._principal = principal

    def authenticate(self, scope: Scope) -> Principal:
        super().authenticate(scope)
        return self._principal


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore("t[t1]:mp1")


@pytest.fixture
async def parts(store: MemoryObjectStore) -> Parts:
    return await memory_parts(store)


@pytest.fixture
def application(parts: Parts) -> GatewayApplication:
    return application_of(parts, LocalGuard(port=51080))


@pytest.fixture
def ask(application: GatewayApplication) -> Asking:
    return Asking(application)


@pytest.fixture
def ask_as(parts: Parts) -> dict[str, Asking]:
    """Callers by name."""
    reader = Principal("reader", "user", "guest", Permission.GET)
    nobody = Principal("nobody", "user", "guest", NO_PERMISSIONS)
    return {each.name: Asking(application_of(parts, NamedGuard(each))) for each in (reader, nobody)}
