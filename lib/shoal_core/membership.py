"""Membership and liveness, kept apart: `members/<id>` is for good, `alive/<id>` hangs on a lease.

`Membership` is what a process does for itself: join, keep its lease, say how far it is. `ClusterView` is what it sees
of all: the cluster map, kept true by watches and kept on disk for restarts without etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from shoal_core.cache import load_snapshot, save_snapshot
from shoal_core.cluster_map import ClusterMap, Member, MemberRole
from shoal_core.errors import ConfigurationError, Conflict, ControlPlaneDown, ShoalError
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.lease import Lease
from shoal_core.etcd.mirror import Mirror
from shoal_core.etcd.values import ABSENT, Absent, ModRevisionEquals, Put, Snapshot
from shoal_core.telemetry import get_logger

ROOT = "/shoal/v1/"
CLUSTER_KEY = f"{ROOT}cluster"
PLACEMENT_KEY = f"{ROOT}placement"
SEALED_KEY = f"{ROOT}sealed"
"""Written with the first bucket: from then on objects may exist, and no new target may take slots from another."""
MEMBERS_PREFIX = f"{ROOT}members/"
ALIVE_PREFIX = f"{ROOT}alive/"

LEASE_SECONDS = 10
RETRY_SECONDS = 0.5
FILL_SECONDS_MAX = 2.0
JOIN_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    cluster_id: str
    created_ns: int


@dataclass(frozen=True, slots=True)
class PlacementShare:
    id: str
    weight: float
    failure_domain: str = ""


@dataclass(frozen=True, slots=True)
class PlacementRecord:
    epoch: int
    targets: tuple[PlacementShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Alive:
    observed: int
    """etcd revision up to which this process has applied what concerns it."""
    pid: int
    started_ns: int


def decode_alive(value: bytes) -> Alive:
    return msgspec.json.decode(value, type=Alive)


class Membership:
    """One process's own membership. `start` joins and keeps the lease in the background, through outages of etcd."""

    def __init__(
        self, etcd: EtcdClient, cluster_id: str, member: Member, *, lease_ttl_seconds: int = LEASE_SECONDS
    ) -> None:
        self._etcd = etcd
        self._cluster_id = cluster_id
        self._member = member
        self._lease_ttl_seconds = lease_ttl_seconds
        self._lease: Lease | None = None
        self._started_ns = time.time_ns()
        self._observed = 0
        self._more_observed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.leased = asyncio.Event()
        """Set once the first lease is held."""

    async def join(self) -> None:
        """Register. Raises ConfigurationError when this process does not belong here, ControlPlaneDown without etcd."""
        await self._check_cluster()
        for _ in range(JOIN_ATTEMPTS):
            with contextlib.suppress(Conflict):
                return await self._register()
        raise ControlPlaneDown(
            f"member {self._member.id} could not join: others change the cluster all the time"
        )

    def start(self) -> None:
        """Keep the lease from now on; call after `join`, or before it when etcd is away: then this joins too."""
        assert self._keeper is None, "membership is started once"
        self._keeper = asyncio.create_task(self._keep(), name=f"membership-{self._member.id}")

    def deadline(self) -> float:
        """Boot-time seconds until which this process may speak as a member; 0 without a lease. Any thread."""
        lease = self._lease
        return lease.deadline() if lease is not None and lease.is_held() else 0.0

    def observed(self, revision: int) -> None:
        """Say that everything up to this revision has been applied here. Written soon, newest only."""
        if revision > self._observed:
            self._observed = revision
            self._more_observed.set()

    async def close(self) -> None:
        """Leave at once: others need not wait for the lease to run out."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._lease is not None:
            lease, self._lease = self._lease, None
            with contextlib.suppress(ShoalError):
                await lease.revoke()
            await lease.close()

    async def _check_cluster(self) -> None:
        ours = msgspec.json.encode(ClusterIdentity(self._cluster_id, time.time_ns()))
        found = await self._etcd.get(CLUSTER_KEY)
        if found is None:
            with contextlib.suppress(Conflict):
                await self._etcd.put_if(CLUSTER_KEY, ours, expected_mod_revision=ABSENT)
                return
            found = await self._etcd.get(CLUSTER_KEY)
        there = msgspec.json.decode(found.value, type=ClusterIdentity).cluster_id if found else ""
        if there != self._cluster_id:
            raise ConfigurationError(
                f"etcd belongs to cluster {there}, member {self._member.id} to {self._cluster_id}: "
                "point etcd_endpoints at its own cluster"
            )

    async def _register(self) -> None:
        key = MEMBERS_PREFIX + self._member.id
        found = await self._etcd.get(key)
        if found is not None:
            known = msgspec.json.decode(found.value, type=Member)
            kept = replace(
                self._member, state=known.state, weight=known.weight, failure_domain=known.failure_domain
            )
            if known.role is not self._member.role:
                raise ConfigurationError(
                    f"{self._member.id} is the id of a {known.role} in this cluster already"
                )
            if kept != known:
                await self._etcd.put_if(
                    key, msgspec.json.encode(kept), expected_mod_revision=found.mod_revision
                )
        elif self._member.role is MemberRole.TARGET:
            await self._join_placement(key)
        else:
            await self._etcd.put_if(key, msgspec.json.encode(self._member), expected_mod_revision=ABSENT)

    async def _join_placement(self, key: str) -> None:
        """A new target takes its share of the slots; only while no object can lie in them (decisions/0006)."""
        if await self._etcd.get(SEALED_KEY) is not None:
            raise ConfigurationError(
                f"target {self._member.id} is new, and the cluster has buckets already: moving objects to a new "
                "target is not built yet; start a new cluster with all its targets"
            )
        found = await self._etcd.get(PLACEMENT_KEY)
        old = msgspec.json.decode(found.value, type=PlacementRecord) if found else PlacementRecord(0)
        share = PlacementShare(self._member.id, self._member.weight, self._member.failure_domain)
        new = PlacementRecord(old.epoch + 1, (*old.targets, share))
        result = await self._etcd.transaction(
            [
                ModRevisionEquals(PLACEMENT_KEY, found.mod_revision if found else ABSENT),
                Absent(key),
                Absent(SEALED_KEY),
            ],
            [Put(PLACEMENT_KEY, msgspec.json.encode(new)), Put(key, msgspec.json.encode(self._member))],
        )
        if not result.succeeded:
            raise Conflict("another target joined at the same time")

    async def _keep(self) -> None:
        """Join if need be, hold a lease, tell what was observed; begin anew when the lease is lost."""
        while True:
            try:
                await self.join()
                await self._live()
            except ControlPlaneDown as error:
                get_logger().warning("membership-waits", member=self._member.id, reason=error.message)
            except ShoalError as error:
                get_logger().error("membership-failed", member=self._member.id, reason=error.message)
            await asyncio.sleep(RETRY_SECONDS)

    async def _live(self) -> None:
        lease = Lease(self._etcd, self._lease_ttl_seconds)
        await lease.start()
        try:
            await self._report(lease)
            self._lease = lease
            self.leased.set()
            while not lease.lost.is_set():
                await first_of(lease.lost, self._more_observed)
                if self._more_observed.is_set() and not lease.lost.is_set():
                    await self._report(lease)
            get_logger().warning("lease-lost", member=self._member.id)
        finally:
            if self._keeper is None or not self._keeper.cancelling():
                self._lease = None
                await lease.close()

    async def _report(self, lease: Lease) -> None:
        self._more_observed.clear()
        alive = Alive(self._observed, os.getpid(), self._started_ns)
        try:
            await self._etcd.put(
                ALIVE_PREFIX + self._member.id, msgspec.json.encode(alive), lease_id=lease.id
            )
        except ControlPlaneDown:
            # Said again with the next attempt; the lease itself decides whether we still live.
            self._more_observed.set()
            await asyncio.sleep(RETRY_SECONDS)


class ClusterView:
    """The cluster map as this process sees it. `start` waits at most two seconds for etcd, then goes by the cache."""

    def __init__(self, etcd: EtcdClient, cache_file: Path, *, cluster_id: str = "") -> None:
        self._cache_file = cache_file
        self._cluster_id = cluster_id
        cached = load_snapshot(cache_file)
        self._mirrors = {
            prefix: Mirror(etcd, prefix, initial=part_of(cached, prefix))
            for prefix in (CLUSTER_KEY, PLACEMENT_KEY, MEMBERS_PREFIX, ALIVE_PREFIX)
        }
        self._followers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._saving = asyncio.Lock()
        self.current = self._build()

    @property
    def connected(self) -> bool:
        return all(mirror.connected for mirror in self._mirrors.values())

    @property
    def revision(self) -> int:
        """Of the members and the placement; liveness alone does not count."""
        return max(self._mirrors[PLACEMENT_KEY].revision, self._mirrors[MEMBERS_PREFIX].revision)

    async def start(self) -> None:
        for mirror in self._mirrors.values():
            self._followers.append(asyncio.create_task(self._follow(mirror), name=f"view-{mirror.prefix}"))
            mirror.start()
        with contextlib.suppress(ControlPlaneDown, TimeoutError):
            async with asyncio.timeout(FILL_SECONDS_MAX):
                for mirror in self._mirrors.values():
                    await mirror.wait_until_filled(FILL_SECONDS_MAX)
        self._take()

    async def refresh(self, timeout_seconds: float) -> None:
        """Give the watches a moment to bring what a peer has told us is new."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self.changed()

    async def changed(self) -> None:
        """Until the map is another one than now."""
        await self._changed.wait()

    async def close(self) -> None:
        for task in self._followers:
            task.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        for mirror in self._mirrors.values():
            await mirror.close()

    async def _follow(self, mirror: Mirror) -> None:
        async with contextlib.aclosing(mirror.changes()) as changes:
            async for _ in changes:
                self._take()
                if mirror.prefix != ALIVE_PREFIX:
                    await self.save()

    async def save(self) -> None:
        """Write the cache now; in turn, because an older state must not replace a newer one."""
        async with self._saving:
            await asyncio.to_thread(save_snapshot, self._cache_file, self._snapshot())

    def _take(self) -> None:
        built = self._build()
        if built != self.current:
            self.current = built
            done, self._changed = self._changed, asyncio.Event()
            done.set()

    def _snapshot(self) -> Snapshot:
        """Of everything but liveness, which is nothing to remember."""
        kept = [mirror for prefix, mirror in self._mirrors.items() if prefix != ALIVE_PREFIX]
        items = tuple(item for mirror in kept for item in mirror.snapshot().items)
        return Snapshot(self.revision, items)

    def _build(self) -> ClusterMap:
        identity = self._mirrors[CLUSTER_KEY].get(CLUSTER_KEY)
        placement = self._mirrors[PLACEMENT_KEY].get(PLACEMENT_KEY)
        known = (
            msgspec.json.decode(identity.value, type=ClusterIdentity)
            if identity
            else ClusterIdentity(self._cluster_id, 0)
        )
        placed = (
            msgspec.json.decode(placement.value, type=PlacementRecord) if placement else PlacementRecord(0)
        )
        return ClusterMap(
            cluster_id=known.cluster_id,
            revision=max(mirror.revision for mirror in self._mirrors.values()),
            placement_epoch=placed.epoch,
            members=self._members(placed),
            created_ns=known.created_ns,
        )

    def _members(self, placed: PlacementRecord) -> tuple[Member, ...]:
        """Targets with the weights that placement counts with; one that is not placed yet is left out."""
        shares = {share.id: share for share in placed.targets}
        alive, members = self._mirrors[ALIVE_PREFIX], []
        for item in self._mirrors[MEMBERS_PREFIX].items.values():
            member = msgspec.json.decode(item.value, type=Member)
            if member.role is MemberRole.TARGET:
                if (share := shares.get(member.id)) is None:
                    continue
                member = replace(member, weight=share.weight, failure_domain=share.failure_domain)
            members.append(replace(member, alive=alive.get(ALIVE_PREFIX + member.id) is not None))
        return tuple(sorted(members, key=lambda member: (member.role, member.id)))


def part_of(snapshot: Snapshot | None, prefix: str) -> Snapshot | None:
    if snapshot is None:
        return None
    return Snapshot(snapshot.revision, tuple(item for item in snapshot.items if item.key.startswith(prefix)))


async def first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
