"""`Mirror`: the keys of a prefix kept true in memory; goes on showing its last state while etcd is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Self

from shoal_core.errors import ControlPlaneDown
from shoal_core.etcd.values import KeyValue, Snapshot, WatchBatch

if TYPE_CHECKING:
    from shoal_core.etcd.client import EtcdClient


@dataclass(frozen=True, slots=True)
class MirrorChange:
    """Keys that were changed or deleted since the last MirrorChange; look them up in the mirror."""

    revision: int
    keys: frozenset[str]


class Mirror:
    """`async with Mirror(client, prefix) as mirror:`, or `start` and `close`.

    `start` does not wait for etcd: a process that starts during an outage fills the mirror from its cached
    `initial` snapshot, or waits with `wait_until_filled`.
    """

    def __init__(self, client: EtcdClient, prefix: str, *, initial: Snapshot | None = None) -> None:
        self.prefix = prefix
        self._client = client
        self._items: dict[str, KeyValue] = {item.key: item for item in initial.items} if initial else {}
        self._revision = initial.revision if initial else 0
        self._watch = client.watch_prefix(prefix)
        self._filled = False
        self._advanced = asyncio.Condition()
        self._subscriptions: set[_Subscription] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def items(self) -> Mapping[str, KeyValue]:
        """A live, read-only view, by whole key."""
        return MappingProxyType(self._items)

    @property
    def revision(self) -> int:
        """Everything under the prefix up to this etcd revision is in `items`."""
        return self._revision

    @property
    def connected(self) -> bool:
        """False: `items` may be old, because etcd is not delivering at the moment."""
        return self._filled and self._watch.connected

    def get(self, key: str) -> KeyValue | None:
        return self._items.get(key)

    def snapshot(self) -> Snapshot:
        """What to cache on disk, and to give back as `initial`."""
        return Snapshot(self._revision, tuple(self._items[key] for key in sorted(self._items)))

    def start(self) -> Self:
        assert self._task is None, "a mirror is started once"
        self._task = asyncio.create_task(self._follow(), name=f"etcd-mirror-{self.prefix}")
        return self

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._watch.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def wait_until_filled(self, timeout_seconds: float) -> None:
        """Until etcd's own state, not a cached one, is here. Raises ControlPlaneDown after the timeout."""
        await self._wait(lambda: self._filled, timeout_seconds, what="its first list")

    async def wait_for_revision(self, revision: int, timeout_seconds: float) -> None:
        """Until a change made under this prefix at `revision` is here; else raises ControlPlaneDown.

        A revision at which only other keys changed may take long to be reached.
        """
        await self._wait(lambda: self._revision >= revision, timeout_seconds, what=f"revision {revision}")

    async def catch_up(self, timeout_seconds: float) -> None:
        """Until what etcd's quorum has now is here. Raises ControlPlaneDown."""
        now = await self._client.get_prefix(self.prefix, timeout_seconds=timeout_seconds)
        await self._wait(lambda: self._has(now), timeout_seconds, what=f"what was there at {now.revision}")

    def _has(self, snapshot: Snapshot) -> bool:
        """The revision alone would not do: it stands still while only other keys change."""
        if self._revision >= snapshot.revision:
            return True
        there = {item.key: item.mod_revision for item in snapshot.items}
        return there == {item.key: item.mod_revision for item in self._items.values()}

    async def changes(self) -> AsyncGenerator[MirrorChange, None]:
        """What changed from now on, for ever. A slow consumer gets fewer, larger changes and loses no key."""
        subscription = _Subscription()
        self._subscriptions.add(subscription)
        try:
            while True:
                await subscription.wake.wait()
                subscription.wake.clear()
                keys, subscription.pending = subscription.pending, set()
                yield MirrorChange(self._revision, frozenset(keys))
        finally:
            self._subscriptions.discard(subscription)

    async def _wait(self, reached: Callable[[], bool], timeout_seconds: float, *, what: str) -> None:
        try:
            async with asyncio.timeout(timeout_seconds), self._advanced:
                await self._advanced.wait_for(reached)
        except TimeoutError as error:
            state = "connected" if self.connected else "not connected"
            raise ControlPlaneDown(
                f"the local copy of etcd's {self.prefix} did not get {what} in {timeout_seconds:g} s; it is "
                f"{state} and at revision {self._revision}"
            ) from error

    async def _follow(self) -> None:
        async with self._watch:
            async for delivery in self._watch:
                keys = self._apply(delivery)
                if isinstance(delivery, Snapshot):
                    self._filled = True
                self._revision = delivery.revision
                for subscription in self._subscriptions:
                    subscription.add(keys)
                async with self._advanced:
                    self._advanced.notify_all()

    def _apply(self, delivery: WatchBatch | Snapshot) -> set[str]:
        """Take the delivery over; returns the keys that are different now."""
        if isinstance(delivery, Snapshot):
            before, now = self._items.copy(), {item.key: item for item in delivery.items}
            self._items.clear()
            self._items.update(now)
            return {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
        for event in delivery.events:
            if event.current is None:
                self._items.pop(event.key, None)
            else:
                self._items[event.key] = event.current
        return {event.key for event in delivery.events}


class _Subscription:
    """The keys that one consumer has still to hear of; bounded by the number of keys."""

    def __init__(self) -> None:
        self.pending: set[str] = set()
        self.wake = asyncio.Event()

    def add(self, keys: set[str]) -> None:
        if keys:
            self.pending |= keys
            self.wake.set()
