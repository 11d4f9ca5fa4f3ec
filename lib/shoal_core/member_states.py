"""Which members take part in the work: changed by operators alone, never by a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from shoal_core.cache import decoded
from shoal_core.cluster_map import Member, MemberRole, MemberState
from shoal_core.errors import Conflict, InvalidArgument, MemberNotFound, NotImplementedYet
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.values import ModRevisionEquals, Put
from shoal_core.membership import MEMBERS_PREFIX

ATTEMPTS = 5


class MemberStates:
    """Changes, by compare-and-swap."""

    def __init__(self, etcd: EtcdClient) -> None:
        self._etcd = etcd

    async def set(self, member_id: str, state: MemberState) -> Member:
        """Raises MemberNotFound, Conflict for the last active member of its role, NotImplementedYet."""
        if state is MemberState.DECOMMISSION:
            raise NotImplementedYet(
                "members cannot be decommissioned yet: objects do not move to other targets in this version of Shoal"
            )
        for _ in range(ATTEMPTS):
            found = [
                (item, member)
                for item in (await self._etcd.get_prefix(MEMBERS_PREFIX)).items
                if (member := decoded(item, Member)) is not None
            ]
            member = changeable(member_id, state, [member for _, member in found])
            if member.state is state:
                return member
            changed = replace(member, state=state)
            value = msgspec.json.encode(changed)
            # Two operators must not take out the last two at the same moment.
            seen = [
                ModRevisionEquals(item.key, item.mod_revision)
                for item, peer in found
                if peer.role is member.role
            ]
            if (await self._etcd.transaction(seen, [Put(MEMBERS_PREFIX + member_id, value)])).succeeded:
                return changed
        raise Conflict(f"others change member {member_id} all the time: repeat", member=member_id)


def changeable(member_id: str, state: MemberState, members: Sequence[Member]) -> Member:
    """The member, if it may have that state. Raises MemberNotFound, InvalidArgument, Conflict."""
    member = next((each for each in members if each.id == member_id), None)
    if member is None:
        raise MemberNotFound(f"there is no member {member_id[:64]!r} in this cluster", member=member_id[:64])
    if member.role is MemberRole.GATEWAY:
        raise InvalidArgument(f"{member_id} is a gateway, which has no state: stop it if it should not serve")
    others = [each for each in members if each.role is member.role and each.id != member_id]
    if state is not MemberState.ACTIVE and all(each.state is not MemberState.ACTIVE for each in others):
        raise Conflict(
            f"{member_id} is the last active {member.role}: put another one back to work first",
            member=member_id,
        )
    return member
