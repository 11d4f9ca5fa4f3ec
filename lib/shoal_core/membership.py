"""Membership and liveness, kept apart: `members/<id>` is for good, `alive/<id>` hangs on a lease.

`Membership` is what a process does for itself: join, keep its lease, say how far it is. `ClusterView` is what it sees
of all: the cluster map, kept true by watches and kept on disk for restarts without etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Set
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from shoal_core.cache import decoded, keep_saved, load_snapshot
from shoal_core.cluster_map import ClusterMap, Member, MemberRole
from shoal_core.errors import ConfigurationError, Conflict, ControlPlaneDown, ShoalError, Unavailable
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.lease import Lease
from shoal_core.etcd.mirror import Mirror
from shoal_core.etcd.values import ABSENT, Absent, KeyValue, ModRevisionEquals, Put, Snapshot
from shoal_core.host import host_id
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
JOIN_PAUSE_SECONDS_MAX = 0.05
REFUSED_SECONDS = 10.0


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
    host_id: str = ""


def decode_alive(value: bytes) -> Alive:
    return msgspec.json.decode(value, type=Alive)


CatchUp = Callable[[], Awaitable[None]]


async def nothing_to_learn() -> None: ...


class Membership:
    """One process's own membership. `start` joins and keeps the lease in the background, through outages of etcd."""

    def __init__(
        self,
        etcd: EtcdClient,
        cluster_id: str,
        member: Member,
        *,
        lease_ttl_seconds: int = LEASE_SECONDS,
        catch_up: CatchUp = nothing_to_learn,
    ) -> None:
        """`catch_up` runs between the grant of a lease and the first write under it."""
        self._catch_up = catch_up
        self._etcd = etcd
        self._cluster_id = cluster_id
        self._member = member
        self._lease_ttl_seconds = lease_ttl_seconds
        self._lease: Lease | None = None
        self._started_ns = time.time_ns()
        self._observed = 0
        self._more_observed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._replaced = asyncio.Event()
        self.leased = asyncio.Event()
        """Set once the first lease is held."""

    async def join(self) -> None:
        """Register. Raises ConfigurationError when this process does not belong here, ControlPlaneDown without etcd."""
        if self._member.role is MemberRole.TARGET and not self._member.weight > 0:
            raise ConfigurationError(
                f"target {self._member.id} has weight {self._member.weight:g} and would get no objects: "
                "give it one above 0"
            )
        await self._check_cluster()
        if self._member.role is MemberRole.TARGET:
            await self._wait_until_alone()
        for _ in range(JOIN_ATTEMPTS):
            with contextlib.suppress(Conflict):
                return await self._register()
            await asyncio.sleep(random.uniform(0, JOIN_PAUSE_SECONDS_MAX))
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

    async def until_replaced(self) -> None:
        """Until another process is this target, which can happen to one that was stopped or cut off; then raises
        ConfigurationError: this process must end, for its disks may be old."""
        await self._replaced.wait()
        raise ConfigurationError(f"another process has become {self._member.id}: this one ends")

    async def close(self) -> None:
        """Leave at once: others need not wait for the lease to run out."""
        lease = self._lease
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if lease is not None:
            with contextlib.suppress(ShoalError):
                await lease.revoke()

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

    async def _wait_until_alone(self) -> None:
        """A predecessor's lease may outlive it. Raises ConfigurationError when it does not run out."""
        end = time.monotonic() + self._lease_ttl_seconds + RETRY_SECONDS
        while (other := await self._other()) is not None:
            if self.leased.is_set():
                self._replaced.set()
            if self.leased.is_set() or time.monotonic() >= end:
                raise ConfigurationError(
                    f"{self._member.id} runs already, as process {other.pid} of another host or container: a target "
                    "is one process; stop that one first"
                )
            await asyncio.sleep(RETRY_SECONDS)

    async def _other(self) -> Alive | None:
        """Another process that may be alive as this member. What runs on this host is not asked about: the lock of
        the mountpaths tells."""
        found = await self._etcd.get(ALIVE_PREFIX + self._member.id)
        return decode_alive(found.value) if found and is_other(found) else None

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
                f"target {self._member.id} is new, and the cluster has or had buckets: moving objects to a new "
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
            except Unavailable as error:
                get_logger().warning("membership-waits", member=self._member.id, reason=error.message)
            except ShoalError as error:
                get_logger().error("membership-failed", member=self._member.id, reason=error.message)
                # Only a person can change that.
                await asyncio.sleep(REFUSED_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    async def _live(self) -> None:
        lease = await Lease(self._etcd, self._lease_ttl_seconds).start()
        try:
            # Without a lease it was none of those for whom changes wait: slots may have gone to others.
            await self._catch_up()
            await self._claim(lease)
            self._lease = lease
            self.leased.set()
            while not lease.lost.is_set():
                await first_of(lease.lost, self._more_observed)
                if self._more_observed.is_set() and not lease.lost.is_set():
                    await self._report(lease)
            get_logger().warning("lease-lost", member=self._member.id)
        finally:
            self._lease = None
            await lease.close()

    async def _claim(self, lease: Lease) -> None:
        """The first report. Of two that would be the same target at once, one comes to nothing."""
        if self._member.role is not MemberRole.TARGET:
            return await self._report(lease)
        key = ALIVE_PREFIX + self._member.id
        found = await self._etcd.get(key)
        expected = found.mod_revision if found and not is_other(found) else ABSENT
        try:
            await self._etcd.put_if(key, self._alive(), expected_mod_revision=expected, lease_id=lease.id)
        except Conflict as error:
            raise ControlPlaneDown(f"another process has become {self._member.id}") from error

    def _alive(self) -> bytes:
        return msgspec.json.encode(Alive(self._observed, os.getpid(), self._started_ns, host_id()))

    async def _report(self, lease: Lease) -> None:
        self._more_observed.clear()
        try:
            await self._etcd.put(ALIVE_PREFIX + self._member.id, self._alive(), lease_id=lease.id)
        except ControlPlaneDown:
            # Said again with the next attempt; the lease itself decides whether we still live.
            self._more_observed.set()
            await asyncio.sleep(RETRY_SECONDS)


class ClusterView:
    """The cluster map as this process sees it. `start` waits at most two seconds for etcd, then goes by the cache."""

    def __init__(self, etcd: EtcdClient, cache_file: Path, *, cluster_id: str = "") -> None:
        self._etcd = etcd
        self._cache_file = cache_file
        self._cluster_id = cluster_id
        cached = load_snapshot(cache_file)
        self._mirrors = {
            prefix: Mirror(etcd, prefix, initial=part_of(cached, prefix))
            for prefix in (CLUSTER_KEY, PLACEMENT_KEY, MEMBERS_PREFIX, ALIVE_PREFIX)
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._placed = PlacementRecord(0)
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
            self._tasks.append(asyncio.create_task(self._follow(mirror), name=f"view-{mirror.prefix}"))
            mirror.start()
        saving = keep_saved(self._cache_file, self._snapshot, changed=self.changed)
        self._tasks.append(asyncio.create_task(saving, name="view-cache"))
        fills = (mirror.wait_until_filled(FILL_SECONDS_MAX) for mirror in self._mirrors.values())
        # What has not come by then comes later; until then the cache serves.
        await asyncio.gather(*fills, return_exceptions=True)
        self._take()

    async def refresh(self, timeout_seconds: float) -> None:
        """Bring in the placement as etcd has it now, because a peer says that ours is old."""
        with contextlib.suppress(ControlPlaneDown):
            found = await self._etcd.get(PLACEMENT_KEY, timeout_seconds=timeout_seconds)
            if found is not None:
                await self._mirrors[PLACEMENT_KEY].wait_for_revision(found.mod_revision, timeout_seconds)
        self._take()

    async def catch_up(self, timeout_seconds: float) -> None:
        """Until members and placement are known here as etcd's quorum has them now. Raises ControlPlaneDown."""
        for prefix in (PLACEMENT_KEY, MEMBERS_PREFIX):
            await self._mirrors[prefix].catch_up(timeout_seconds)
        self._take()

    async def changed(self) -> None:
        """Until the map is another one than now."""
        await self._changed.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for mirror in self._mirrors.values():
            await mirror.close()

    async def _follow(self, mirror: Mirror) -> None:
        async with contextlib.aclosing(mirror.changes()) as changes:
            async for _ in changes:
                self._take()

    def _take(self) -> None:
        """What members only report about themselves makes no new map."""
        built = self._build()
        if replace(built, revision=self.current.revision) != self.current:
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
        known = (identity and decoded(identity, ClusterIdentity)) or ClusterIdentity(self._cluster_id, 0)
        records = [decoded(item, Member) for item in self._mirrors[MEMBERS_PREFIX].items.values()]
        members = [member for member in records if member is not None]
        self._placed = self._newest_placement({member.id for member in members})
        return ClusterMap(
            cluster_id=known.cluster_id,
            revision=max(mirror.revision for mirror in self._mirrors.values()),
            placement_epoch=self._placed.epoch,
            members=self._members(members),
            created_ns=known.created_ns,
        )

    def _newest_placement(self, members: Set[str]) -> PlacementRecord:
        """The former one while a target is placed whose record has not come yet: the watches are two.

        Slots ranked without it would be wrong for good, because an epoch is taken over once.
        """
        item = self._mirrors[PLACEMENT_KEY].get(PLACEMENT_KEY)
        placed = (item and decoded(item, PlacementRecord)) or PlacementRecord(0)
        return placed if all(share.id in members for share in placed.targets) else self._placed

    def _members(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Targets with the weights that placement counts with; one that is not placed yet is left out."""
        shares = {share.id: share for share in self._placed.targets}
        alive, seen = self._mirrors[ALIVE_PREFIX], []
        for member in members:
            if member.role is MemberRole.TARGET:
                if (share := shares.get(member.id)) is None:
                    continue
                member = replace(member, weight=share.weight, failure_domain=share.failure_domain)
            seen.append(replace(member, alive=alive.get(ALIVE_PREFIX + member.id) is not None))
        return tuple(sorted(seen, key=lambda member: (member.role, member.id)))


def part_of(snapshot: Snapshot | None, prefix: str) -> Snapshot | None:
    if snapshot is None:
        return None
    return Snapshot(snapshot.revision, tuple(item for item in snapshot.items if item.key.startswith(prefix)))


def is_other(found: KeyValue) -> bool:
    """Whether it is said of a process on another host."""
    return decode_alive(found.value).host_id not in ("", host_id())


async def first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
