"""A map finds members and owners, reachable or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from shoal_core.cluster_map import ClusterMap, Member, MemberRole, Mountpath
from shoal_core.errors import MemberNotFound, Unavailable
from shoal_core.objects import BucketId
from support.clusters import cluster_map_of

BUCKET = BucketId(b"12345678")


def test_objects_are_shared_by_the_targets_only() -> None:
    cluster_map = cluster_map_of("t1", "t2", "t3")
    cluster_map = replace(cluster_map, members=(*cluster_map.members, Member("p1", MemberRole.PROXY)))
    owners = Counter(cluster_map.target_of(BUCKET, str(number)).id for number in range(3_000))
    assert set(owners) == {"t1", "t2", "t3"}


def test_owner_does_not_change_when_it_is_not_reachable() -> None:
    alive = cluster_map_of("t1", "t2", "t3")
    dead = replace(alive, members=tuple(replace(member, alive=False) for member in alive.members))
    for number in range(100):
        assert dead.target_of(BUCKET, str(number)).id == alive.target_of(BUCKET, str(number)).id


def test_maps_that_place_alike_share_the_ranking() -> None:
    first, second = cluster_map_of("t1", "t2"), replace(cluster_map_of("t1", "t2"), revision=99)
    assert first.placement is second.placement


def test_cluster_without_targets_says_so() -> None:
    with pytest.raises(Unavailable, match="no target has joined"):
        ClusterMap("c1", 1, 0, ()).target_of(BUCKET, "a")


def test_unknown_member_is_not_found() -> None:
    with pytest.raises(MemberNotFound, match="t9"):
        cluster_map_of("t1").member("t9")


def test_member_record_of_a_later_release_is_read_without_what_we_do_not_know() -> None:
    member = Member("t1", MemberRole.TARGET, mountpaths=(Mountpath("m1", "/d", 5),))
    later = msgspec.json.decode(msgspec.json.encode(member)) | {"colour": "blue"}
    assert msgspec.json.decode(msgspec.json.encode(later), type=Member) == member
