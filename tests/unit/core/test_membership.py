"""Joining, living and being seen, on a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_core import membership as membership_module
from shoal_core.buckets import BucketRegistry
from shoal_core.cluster_map import ClusterMap, Member, MemberRole, MemberState
from shoal_core.errors import ConfigurationError, ControlPlaneDown
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.mirror import Mirror
from shoal_core.host import boottime_seconds
from shoal_core.membership import (
    ALIVE_PREFIX,
    MEMBERS_PREFIX,
    PLACEMENT_KEY,
    ClusterView,
    Membership,
    decode_alive,
)
from shoal_core.objects import BucketProperties, BucketReference
from support.etcd import EtcdServer, free_ports
from support.waiting import eventually

PATIENCE_SECONDS = 15.0


def target(name: str, weight: float = 1.0) -> Member:
    return Member(name, MemberRole.TARGET, public_address="127.0.0.1:1", weight=weight)


PROXY = Member("p1", MemberRole.PROXY)


async def until(view: ClusterView, holds: Callable[[ClusterMap], bool]) -> ClusterMap:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds(view.current):
            await view.changed()
    return view.current


async def observed(etcd: EtcdClient, member: str, revision: int) -> None:
    """Until the member's own word says so."""
    async with Mirror(etcd, ALIVE_PREFIX) as mirror:
        await mirror.wait_until_filled(PATIENCE_SECONDS)
        while decode_alive(mirror.items[ALIVE_PREFIX + member].value).observed < revision:
            await mirror.wait_for_revision(mirror.revision + 1, PATIENCE_SECONDS)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def cache_file(tmp_path: Path) -> Path:
    return tmp_path / "cluster.cache"


@pytest.fixture
async def view(etcd: EtcdClient, cache_file: Path) -> AsyncIterator[ClusterView]:
    view = ClusterView(etcd, cache_file)
    await view.start()
    yield view
    await view.close()


async def start(etcd: EtcdClient, member: Member, stack: AsyncExitStack) -> Membership:
    membership = Membership(etcd, "c1", member)
    await membership.join()
    membership.start()
    stack.push_async_callback(membership.close)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await membership.leased.wait()
    return membership


async def test_each_new_target_takes_slots_in_a_new_epoch(etcd: EtcdClient, view: ClusterView) -> None:
    for number, weight in enumerate((1.0, 3.0), 1):
        await Membership(etcd, "c1", target(f"t{number}", weight)).join()
    seen = await until(view, lambda current: current.placement_epoch == 2)
    assert {each.id: each.weight for each in seen.placement.targets} == {"t1": 1.0, "t2": 3.0}
    assert seen.cluster_id == "c1"
    assert not any(member.alive for member in seen.members)


async def test_targets_that_join_at_once_all_get_slots(etcd: EtcdClient, view: ClusterView) -> None:
    await asyncio.gather(*(Membership(etcd, "c1", target(f"t{number}")).join() for number in range(8)))
    seen = await until(view, lambda current: current.placement_epoch == 8)
    assert len(seen.placement.targets) == 8


async def test_joining_again_changes_addresses_but_neither_weight_nor_epoch(
    etcd: EtcdClient, view: ClusterView
) -> None:
    await Membership(etcd, "c1", target("t1")).join()
    await Membership(etcd, "c1", replace(target("t1", 9.0), public_address="127.0.0.1:2")).join()
    seen = await until(
        view, lambda current: "127.0.0.1:2" in {each.public_address for each in current.targets}
    )
    assert seen.placement_epoch == 1
    assert seen.targets[0].weight == 1.0


async def test_state_set_by_an_operator_survives_a_restart(etcd: EtcdClient) -> None:
    await Membership(etcd, "c1", replace(PROXY, state=MemberState.MAINTENANCE)).join()
    await Membership(etcd, "c1", PROXY).join()
    found = await etcd.get(MEMBERS_PREFIX + "p1")
    assert found is not None
    assert b'"maintenance"' in found.value


async def test_new_target_is_refused_once_there_was_a_bucket(etcd: EtcdClient) -> None:
    await Membership(etcd, "c1", target("t1")).join()
    registry = BucketRegistry(etcd)
    await registry.create(BucketReference("b"), BucketProperties())
    await registry.delete(BucketReference("b"))
    with pytest.raises(ConfigurationError, match="t2 is new, and the cluster has or had buckets"):
        await Membership(etcd, "c1", target("t2")).join()
    await Membership(etcd, "c1", target("t1")).join()
    await Membership(etcd, "c1", PROXY).join()


@pytest.mark.parametrize(
    ("cluster_id", "member", "reason"),
    [
        ("c2", PROXY, "etcd belongs to cluster c1"),
        ("c1", Member("t1", MemberRole.GATEWAY), "t1 is the id of a target"),
        ("c1", target("t2", 0.0), "weight 0 and would get no objects"),
    ],
)
async def test_member_that_does_not_belong_here_is_refused(
    etcd: EtcdClient, cluster_id: str, member: Member, reason: str
) -> None:
    await Membership(etcd, "c1", target("t1")).join()
    with pytest.raises(ConfigurationError, match=reason):
        await Membership(etcd, cluster_id, member).join()


async def test_member_is_alive_until_it_leaves(
    etcd: EtcdClient, view: ClusterView, stack: AsyncExitStack
) -> None:
    membership = await start(etcd, PROXY, stack)
    await until(view, lambda current: any(member.alive for member in current.members))
    await membership.close()
    seen = await until(view, lambda current: not current.member("p1").alive)
    assert seen.members == (PROXY,)


async def test_deadline_is_in_the_future_only_while_the_lease_is_held(
    etcd: EtcdClient, stack: AsyncExitStack
) -> None:
    assert Membership(etcd, "c1", PROXY).deadline() == 0
    membership = await start(etcd, PROXY, stack)
    assert boottime_seconds() < membership.deadline() <= boottime_seconds() + 10
    await membership.close()
    assert membership.deadline() == 0


async def test_observed_revisions_are_told_and_never_go_back(etcd: EtcdClient, stack: AsyncExitStack) -> None:
    membership = await start(etcd, PROXY, stack)
    for revision in (*range(100), 50):
        membership.observed(revision)
    await observed(etcd, "p1", 99)


async def test_reports_of_members_make_no_new_map(
    etcd: EtcdClient, view: ClusterView, stack: AsyncExitStack
) -> None:
    membership = await start(etcd, PROXY, stack)
    before = await until(view, lambda current: any(member.alive for member in current.members))
    membership.observed(77)
    await observed(etcd, "p1", 77)
    await Membership(etcd, "c1", target("t1")).join()
    after = await until(view, lambda current: current is not before)
    assert [member.id for member in after.targets] == ["t1"]


async def test_placement_waits_for_the_record_of_its_newest_target(
    etcd: EtcdClient, view: ClusterView
) -> None:
    for name in ("t1", "t2"):
        await Membership(etcd, "c1", target(name)).join()
    await until(view, lambda current: current.placement_epoch == 2)
    record, placement = await etcd.get(MEMBERS_PREFIX + "t2"), await etcd.get(PLACEMENT_KEY)
    assert record is not None
    assert placement is not None
    await etcd.delete(record.key)
    await etcd.put(PLACEMENT_KEY, placement.value.replace(b'"epoch":2', b'"epoch":3'))
    await until(view, lambda current: len(current.targets) == 1)
    await view.refresh(5)
    assert view.current.placement_epoch == 2
    await etcd.put(record.key, record.value)
    seen = await until(view, lambda current: current.placement_epoch == 3)
    assert len(seen.placement.targets) == 2


async def test_refresh_brings_a_placement_that_was_just_made(etcd: EtcdClient, view: ClusterView) -> None:
    for number in range(1, 6):
        await Membership(etcd, "c1", target(f"t{number}")).join()
        await view.refresh(5)
        assert view.current.placement_epoch in (number, number - 1)
    await until(view, lambda current: current.placement_epoch == 5)


async def test_member_of_a_kind_we_do_not_know_is_left_out(etcd: EtcdClient, view: ClusterView) -> None:
    await etcd.put(MEMBERS_PREFIX + "x1", b'{"id":"x1","role":"teapot"}')
    await Membership(etcd, "c1", PROXY).join()
    seen = await until(view, lambda current: len(current.members) > 0)
    assert seen.members == (PROXY,)


async def test_view_starts_from_its_cache_when_etcd_is_away(etcd: EtcdClient, cache_file: Path) -> None:
    await Membership(etcd, "c1", target("t1")).join()
    view = ClusterView(etcd, cache_file)
    await view.start()
    await eventually(lambda: ClusterView(etcd, cache_file).current.placement == view.current.placement)
    await view.close()
    async with EtcdClient([f"127.0.0.1:{free_ports(1)[0]}"], tls=None, timeout_seconds=0.2) as dead:
        later = ClusterView(dead, cache_file)
        async with asyncio.timeout(60):
            await later.start()
        assert later.current.placement == view.current.placement
        assert not later.connected
        await later.close()


@pytest.mark.slow
async def test_writing_ends_with_the_lease_and_begins_again_with_a_new_one(own_etcd: EtcdServer) -> None:
    async with (
        EtcdClient([own_etcd.endpoint], tls=None, timeout_seconds=1) as etcd,
        AsyncExitStack() as stack,
    ):
        membership = Membership(etcd, "c1", target("t1"), lease_ttl_seconds=2)
        await membership.join()
        membership.start()
        stack.push_async_callback(membership.close)
        await membership.leased.wait()
        own_etcd.kill()
        last = membership.deadline()
        assert last <= boottime_seconds() + 2
        with pytest.raises(ControlPlaneDown):
            await etcd.get(PLACEMENT_KEY, timeout_seconds=2.5)
        assert membership.deadline() == 0
        await asyncio.to_thread(own_etcd.start)
        await eventually(lambda: membership.deadline() > last)


@pytest.mark.slow
async def test_member_started_without_etcd_joins_when_it_comes(own_etcd: EtcdServer) -> None:
    own_etcd.kill()
    async with EtcdClient([own_etcd.endpoint], tls=None, timeout_seconds=0.5) as etcd:
        membership = Membership(etcd, "c1", target("t1"))
        membership.start()
        await asyncio.to_thread(own_etcd.start)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await membership.leased.wait()
        assert await etcd.get(MEMBERS_PREFIX + "t1") is not None
        await membership.close()
        assert await etcd.get(ALIVE_PREFIX + "t1") is None


async def test_a_new_lease_counts_only_when_what_was_decided_before_it_is_known(
    etcd: EtcdClient, stack: AsyncExitStack
) -> None:
    asked, known = asyncio.Event(), asyncio.Event()

    async def catch_up() -> None:
        asked.set()
        await known.wait()

    membership = Membership(etcd, "c1", target("t1"), catch_up=catch_up)
    await membership.join()
    membership.start()
    stack.push_async_callback(membership.close)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asked.wait()
        assert membership.deadline() == 0
        known.set()
        await membership.leased.wait()
    assert membership.deadline() > boottime_seconds()


async def test_a_target_that_runs_on_another_host_is_refused_until_its_lease_is_over(
    etcd: EtcdClient, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start(etcd, target("t1"), stack)
    monkeypatch.setattr(membership_module, "host_id", lambda: "another host")
    second = Membership(etcd, "c1", target("t1"), lease_ttl_seconds=0)
    with pytest.raises(ConfigurationError, match="runs already"):
        await second.join()
    await first.close()
    await second.join()


async def test_a_target_whose_place_was_taken_while_it_had_no_lease_ends(
    etcd: EtcdClient, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start(etcd, target("t1"), stack)
    with monkeypatch.context() as patched:
        patched.setattr(membership_module, "host_id", lambda: "another host")
        await etcd.delete(ALIVE_PREFIX + "t1")
        await start(etcd, target("t1"), stack)
    with pytest.raises(ConfigurationError, match="runs already"):
        await first.join()
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(ConfigurationError, match="another process has become t1"):
            await first.until_replaced()
