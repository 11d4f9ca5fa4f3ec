"""`Election`: one leader at a time for a duty, and the proof that makes a deposed leader's writes fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from shoal_core.errors import Conflict, ControlPlaneDown, LeaseLost
from shoal_core.etcd.calls import Backoff
from shoal_core.etcd.lease import Lease
from shoal_core.etcd.values import ABSENT, CreateRevisionEquals, KeyValue, Snapshot
from shoal_core.telemetry import get_logger

if TYPE_CHECKING:
    from shoal_core.etcd.client import EtcdClient

LEADER_PREFIX = "/shoal/v1/leader/"


class Leadership:
    """A won election. Between `lost` being true and being noticed lies time, so guard every write."""

    def __init__(self, client: EtcdClient, key: str, *, lease: Lease, create_revision: int) -> None:
        self.key = key
        self.create_revision = create_revision
        self.lost = asyncio.Event()
        self._client = client
        self._lease = lease
        self._task = asyncio.create_task(self._watch_loss(), name=f"etcd-leadership-{key}")

    def guard(self) -> CreateRevisionEquals:
        """The condition to add to each write of this leader: it fails once the leadership has ended."""
        return CreateRevisionEquals(self.key, self.create_revision)

    def is_held(self) -> bool:
        return not self.lost.is_set() and self._lease.is_held()

    async def resign(self) -> None:
        """Make room for the next leader at once; when etcd is away, the lease's end does it."""
        self.lost.set()
        self._task.cancel()
        await asyncio.wait([self._task])
        try:
            await self._lease.revoke()
        except ControlPlaneDown as error:
            get_logger().warning("etcd-leadership-not-resigned", key=self.key, reason=error.message)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.resign()

    async def _watch_loss(self) -> None:
        lease_lost = asyncio.create_task(self._lease.lost.wait())
        key_lost = asyncio.create_task(self._wait_until_key_is_gone())
        try:
            await asyncio.wait([lease_lost, key_lost], return_when=asyncio.FIRST_COMPLETED)
            get_logger().warning("etcd-leadership-lost", key=self.key)
        finally:
            self.lost.set()
            lease_lost.cancel()
            key_lost.cancel()
            await asyncio.wait([lease_lost, key_lost])

    async def _wait_until_key_is_gone(self) -> None:
        async with aclosing(current_values(self._client, self.key)) as values:
            async for current in values:
                if current is None or current.create_revision != self.create_revision:
                    return


class Election:
    """Candidates for `duty`; each has its own `candidate_id` (unique, UTF-8), which `observe` shows."""

    def __init__(
        self,
        client: EtcdClient,
        duty: str,
        *,
        candidate_id: str,
        ttl_seconds: int = 10,
        prefix: str = LEADER_PREFIX,
    ) -> None:
        self.key = prefix + duty
        self._client = client
        self._candidate_id = candidate_id
        self._ttl_seconds = ttl_seconds

    async def campaign(self) -> Leadership:
        """Wait, for ever if need be, until this candidate is the leader. An outage of etcd only delays it."""
        backoff = Backoff()
        while True:
            try:
                await self._wait_until_vacant()
                if leadership := await self._try_to_win():
                    return leadership
            except (ControlPlaneDown, LeaseLost) as error:
                get_logger().warning("etcd-campaign-interrupted", key=self.key, reason=error.message)
            await backoff.pause()

    async def leader(self) -> str | None:
        """Who leads now. Raises ControlPlaneDown."""
        return candidate_of(await self._client.get(self.key))

    async def observe(self) -> AsyncGenerator[str | None, None]:
        """The leader now and after each change; None: there is none. Never ends; close it (`aclosing`)."""
        async with aclosing(current_values(self._client, self.key)) as values:
            async for current in values:
                yield candidate_of(current)

    async def _wait_until_vacant(self) -> None:
        async with aclosing(current_values(self._client, self.key)) as values:
            async for current in values:
                if current is None:
                    return

    async def _try_to_win(self) -> Leadership | None:
        lease = await Lease(self._client, self._ttl_seconds).start()
        try:
            # The lease's id makes the value unique, so that a lost answer can be read back.
            value = f"{self._candidate_id} {lease.id:x}".encode()
            revision = await self._client.put_if(
                self.key, value, expected_mod_revision=ABSENT, lease_id=lease.id
            )
        except BaseException as error:
            with suppress(ControlPlaneDown):
                await lease.revoke()
            if isinstance(error, Conflict):
                return None
            raise
        return Leadership(self._client, self.key, lease=lease, create_revision=revision)


def candidate_of(current: KeyValue | None) -> str | None:
    return current.value.decode().rpartition(" ")[0] if current else None


async def current_values(client: EtcdClient, key: str) -> AsyncGenerator[KeyValue | None, None]:
    """The key now and after each change; never ends. Close it (`aclosing`)."""
    async with client.watch_key(key) as watch:
        async for delivery in watch:
            if isinstance(delivery, Snapshot):
                yield delivery.items[0] if delivery.items else None
                continue
            for event in delivery.events:
                yield event.current
