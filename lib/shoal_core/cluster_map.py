"""The cluster map: who belongs to the cluster, where each listens, and which target holds which slot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from shoal_core.errors import MemberNotFound, Unavailable
from shoal_core.objects import BucketId
from shoal_core.placement import PlacedTarget, Placement, slot_of


class MemberRole(StrEnum):
    PROXY = "proxy"
    TARGET = "target"
    GATEWAY = "gateway"


class MemberState(StrEnum):
    """Set by operators, never by a failure."""

    ACTIVE = "active"
    MAINTENANCE = "maintenance"
    DECOMMISSION = "decommission"


@dataclass(frozen=True, slots=True)
class Mountpath:
    """A disk of a target."""

    id: str
    path: str
    capacity_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the cluster; the fields are those of `shoal.cluster.v1.Member`. JSON in etcd: only ever add."""

    id: str
    role: MemberRole
    state: MemberState = MemberState.ACTIVE
    alive: bool = False
    public_address: str = ""
    internal_address: str = ""
    http_url: str = ""
    unix_socket: str = ""
    host_id: str = ""
    weight: float = 0.0
    failure_domain: str = ""
    mountpaths: tuple[Mountpath, ...] = ()


@dataclass(frozen=True)
class ClusterMap:
    """A map is never changed, only replaced."""

    cluster_id: str
    revision: int
    placement_epoch: int
    members: tuple[Member, ...]
    created_ns: int = 0

    @cached_property
    def placement(self) -> Placement:
        placed = (PlacedTarget(target.id, target.weight, target.failure_domain) for target in self.targets)
        return Placement.of(self.placement_epoch, placed)

    @cached_property
    def targets(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.role is MemberRole.TARGET)

    @cached_property
    def _by_id(self) -> dict[str, Member]:
        return {member.id: member for member in self.members}

    def member(self, member_id: str) -> Member:
        if (found := self._by_id.get(member_id)) is None:
            raise MemberNotFound(f"member {member_id} does not belong to this cluster", member=member_id)
        return found

    def target_of(self, bucket_id: BucketId, name: str) -> Member:
        """The primary of the object's slot, reachable or not."""
        return self.primary(slot_of(bucket_id, name))

    def primary(self, slot: int) -> Member:
        """The target that holds the slot, reachable or not."""
        return self._primaries[slot]

    @cached_property
    def _primaries(self) -> list[Member]:
        """Of every slot: each request asks for one."""
        if not self.targets:
            raise Unavailable("no target has joined the cluster yet: start one, then repeat")
        return list(map(self._by_id.__getitem__, self.placement.primary_ids))


def state_of(cluster_map: ClusterMap, member_id: str) -> MemberState:
    """Active until the map says otherwise."""
    states = (member.state for member in cluster_map.members if member.id == member_id)
    return next(states, MemberState.ACTIVE)
