"""Leases: kept, lost, given back, and the deadline that fencing rests on."""

from __future__ import annotations

import asyncio

import pytest

from shoal_core.errors import LeaseLost
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.lease import Lease, boot_time
from shoal_core.etcd.values import Snapshot
from support.cutting_proxy import CuttingProxy
from support.etcd import EtcdServer


async def wait_until_gone(client: EtcdClient, key: str) -> None:
    async with client.watch_key(key) as watch:
        async for delivery in watch:
            if isinstance(delivery, Snapshot) and not delivery.items:
                return
            if not isinstance(delivery, Snapshot) and any(event.current is None for event in delivery.events):
                return


async def wait_for_renewal(lease: Lease) -> float:
    """The deadline after the next answered keepalive."""
    before = lease.deadline()
    while lease.deadline() == before:  # noqa: ASYNC110
        # The lease has no event for this, and needs none but here.
        await asyncio.sleep(0.01)
    return lease.deadline()


@pytest.mark.slow
async def test_lease_is_kept_beyond_its_time_to_live(client: EtcdClient, prefix: str) -> None:
    async with Lease(client, 1) as lease:
        await client.put(prefix, b"", lease_id=lease.id)
        end = lease.deadline()
        while boot_time() < end + 0.3:
            await wait_for_renewal(lease)
        assert await client.get(prefix) is not None
        assert lease.is_held()


async def test_revoked_lease_takes_its_keys_along(client: EtcdClient, prefix: str) -> None:
    async with Lease(client, 10) as lease:
        await client.put(prefix, b"", lease_id=lease.id)
    assert await client.get(prefix) is None
    assert lease.lost.is_set()
    assert not lease.is_held()


async def test_put_with_a_lease_that_ended_raises_lease_lost(client: EtcdClient, prefix: str) -> None:
    async with Lease(client, 10) as lease:
        pass
    with pytest.raises(LeaseLost):
        await client.put(prefix, b"", lease_id=lease.id)


@pytest.mark.slow
async def test_lease_that_etcd_ended_is_lost_at_the_next_keepalive(client: EtcdClient) -> None:
    lease = await Lease(client, 1).start()
    other = Lease(client, 1)
    other._id = lease.id
    await other.revoke()
    await asyncio.wait_for(lease.lost.wait(), timeout=3)
    assert not lease.is_held()


async def test_deadline_counts_from_sending_and_not_from_the_answer(shared_etcd: EtcdServer) -> None:
    async with CuttingProxy(shared_etcd.endpoint) as proxy, EtcdClient([proxy.endpoint], tls=None) as client:
        await client.get("warm-up")
        proxy.hold_answers()
        start = asyncio.create_task(Lease(client, 30).start())
        await asyncio.wait([start], timeout=0.3)
        released = boot_time()
        proxy.release_answers()
        lease = await start
        assert lease.deadline() < released + lease.ttl_seconds - 0.2
        await lease.revoke()


@pytest.mark.slow
async def test_lease_is_lost_when_keepalives_find_no_answer_in_time(shared_etcd: EtcdServer) -> None:
    async with CuttingProxy(shared_etcd.endpoint) as proxy, EtcdClient([proxy.endpoint], tls=None) as client:
        lease = await Lease(client, 1).start()
        deadline = lease.deadline()
        proxy.swallow_answers()
        await asyncio.wait_for(lease.lost.wait(), timeout=5)
        assert boot_time() >= deadline
        await lease.close()


@pytest.mark.slow
async def test_lease_survives_a_restart_of_etcd_shorter_than_its_time(
    own_etcd: EtcdServer, own_client: EtcdClient
) -> None:
    async with Lease(own_client, 6) as lease:
        await own_client.put("key", b"", lease_id=lease.id)
        await asyncio.to_thread(own_etcd.restart)
        await wait_for_renewal(lease)
        assert await own_client.get("key") is not None
        assert not lease.lost.is_set()


@pytest.mark.slow
async def test_keys_of_a_lease_that_nobody_keeps_vanish(client: EtcdClient, prefix: str) -> None:
    lease = await Lease(client, 1).start()
    await client.put(prefix, b"", lease_id=lease.id)
    await lease.close()
    await asyncio.wait_for(wait_until_gone(client, prefix), timeout=10)
