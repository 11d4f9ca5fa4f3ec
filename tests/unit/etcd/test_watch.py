"""Watches deliver every change once and in order, whatever happens in between."""

from __future__ import annotations

import asyncio

import pytest

from shoal_core.errors import InvalidArgument
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.values import VALUE_BYTES_MAX, Delete, Put, Snapshot, WatchBatch, WatchEvent
from shoal_core.etcd.watch import Watch
from support.cutting_proxy import CuttingProxy
from support.etcd import EtcdServer, free_ports


async def next_events(watch: Watch, count: int, *, timeout_seconds: float = 15) -> list[WatchEvent]:
    events: list[WatchEvent] = []
    async with asyncio.timeout(timeout_seconds):
        while len(events) < count:
            delivery = await anext(watch)
            assert isinstance(delivery, WatchBatch)
            events.extend(delivery.events)
    return events


async def test_watch_without_revision_starts_with_what_is_there(client: EtcdClient, prefix: str) -> None:
    await client.put(prefix + "old", b"1")
    async with client.watch_prefix(prefix) as watch:
        first = await anext(watch)
        assert isinstance(first, Snapshot)
        assert [item.key for item in first.items] == [prefix + "old"]
        revision = await client.put(prefix + "new", b"2")
        (event,) = await next_events(watch, 1)
        assert (event.key, event.mod_revision) == (prefix + "new", revision)


async def test_changes_of_one_transaction_come_in_one_batch(client: EtcdClient, prefix: str) -> None:
    start = await client.put(prefix + "a", b"1")
    result = await client.transaction([], [Put(prefix + "b", b"2"), Delete(prefix + "a")])
    async with client.watch_prefix(prefix, start_revision=start + 1) as watch:
        batch = await anext(watch)
        assert isinstance(batch, WatchBatch)
        assert batch.revision == result.revision
        assert {event.key: event.current is None for event in batch.events} == {
            prefix + "a": True,
            prefix + "b": False,
        }


async def test_watch_of_one_key_ignores_longer_keys(client: EtcdClient, prefix: str) -> None:
    start = await client.put(prefix + "key", b"1")
    await client.put(prefix + "key2", b"2")
    await client.put(prefix + "key", b"3")
    async with client.watch_key(prefix + "key", start_revision=start) as watch:
        events = await next_events(watch, 2)
    assert [event.current.value for event in events if event.current] == [b"1", b"3"]


async def test_response_in_fragments_is_delivered_whole(client: EtcdClient, prefix: str) -> None:
    start = await client.revision() + 1
    for first in range(0, 60, 20):
        puts = [Put(f"{prefix}{number:03}", b"x" * VALUE_BYTES_MAX) for number in range(first, first + 20)]
        await client.transaction([], puts)
    async with client.watch_prefix(prefix, start_revision=start) as watch:
        events = await next_events(watch, 60)
    assert [event.key for event in events] == [f"{prefix}{number:03}" for number in range(60)]


@pytest.mark.slow
async def test_every_change_is_delivered_once_across_a_kill_of_etcd(
    own_etcd: EtcdServer, own_client: EtcdClient
) -> None:
    start = await own_client.put("/w/0", b"")
    async with own_client.watch_prefix("/w/", start_revision=start) as watch:
        await next_events(watch, 1)
        written = [await own_client.put(f"/w/{number}", b"") for number in range(1, 50)]
        await asyncio.to_thread(own_etcd.restart)
        written += [await own_client.put(f"/w/{number}", b"") for number in range(50, 100)]
        events = await next_events(watch, len(written))
    assert [event.mod_revision for event in events] == written


async def test_every_change_is_delivered_once_across_many_cut_connections(
    client: EtcdClient, proxied: EtcdClient, proxy: CuttingProxy, prefix: str
) -> None:
    start = await client.revision() + 1
    async with proxied.watch_prefix(prefix, start_revision=start) as watch:
        reader = asyncio.create_task(next_events(watch, 200, timeout_seconds=60))
        written = []
        for number in range(200):
            written.append(await client.put(f"{prefix}{number}", b""))
            if number % 20 == 19:
                proxy.cut()
        assert [event.mod_revision for event in await reader] == written


async def test_created_answer_does_not_advance_a_watch_from_the_past(
    client: EtcdClient, proxied: EtcdClient, proxy: CuttingProxy, prefix: str
) -> None:
    written = [await client.put(prefix, b"%d" % number) for number in range(5)]
    async with proxied.watch_prefix(prefix, start_revision=written[0]) as watch:
        assert await watch._open(written[0]) is not None
        proxy.cut()
        assert [event.mod_revision for event in await next_events(watch, 5)] == written


async def test_watcher_that_was_away_during_a_compaction_gets_a_snapshot(
    client: EtcdClient, prefix: str
) -> None:
    start = await client.put(prefix + "deleted", b"")
    await client.delete(prefix + "deleted")
    await client.put(prefix + "kept", b"1")
    last = await client.put(prefix + "kept", b"2")
    await client.compact(last)
    async with client.watch_prefix(prefix, start_revision=start) as watch:
        first = await anext(watch)
        assert isinstance(first, Snapshot)
        assert [(item.key, item.value) for item in first.items] == [(prefix + "kept", b"2")]
        revision = await client.put(prefix + "after", b"")
        assert [event.mod_revision for event in await next_events(watch, 1)] == [revision]


async def test_compaction_past_a_paused_watcher_leads_to_a_snapshot(
    client: EtcdClient, proxied: EtcdClient, proxy: CuttingProxy, prefix: str
) -> None:
    start = await client.put(prefix + "key", b"0")
    async with proxied.watch_prefix(prefix, start_revision=start) as watch:
        await next_events(watch, 1)
        proxy.swallow_answers()
        await client.put(prefix + "key", b"1")
        await client.compact(await client.put(prefix + "key", b"2"))
        proxy.cut()
        delivery = await anext(watch)
        assert isinstance(delivery, Snapshot)
        assert [item.value for item in delivery.items] == [b"2"]


async def test_compacting_twice_is_done_and_the_future_is_refused(client: EtcdClient, prefix: str) -> None:
    revision = await client.put(prefix, b"")
    await client.compact(revision)
    await client.compact(revision)
    with pytest.raises(InvalidArgument, match="future"):
        await client.compact(revision + 1000)


@pytest.mark.slow
async def test_store_that_was_emptied_is_listed_again(own_etcd: EtcdServer, own_client: EtcdClient) -> None:
    for number in range(10):
        await own_client.put(f"/w/{number}", b"")
    async with own_client.watch_prefix("/w/") as watch:
        await anext(watch)
        own_etcd.kill()
        own_etcd.wipe()
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.to_thread(own_etcd.start)
        delivery = await asyncio.wait_for(waiting, timeout=15)
        assert isinstance(delivery, Snapshot)
        assert delivery.items == ()


@pytest.mark.slow
async def test_watch_goes_on_over_the_other_endpoint(
    shared_etcd: EtcdServer, client: EtcdClient, prefix: str
) -> None:
    async with CuttingProxy(shared_etcd.endpoint) as first, CuttingProxy(shared_etcd.endpoint) as second:
        endpoints = [first.endpoint, second.endpoint, f"127.0.0.1:{free_ports(1)[0]}"]
        async with EtcdClient(endpoints, tls=None) as proxied, proxied.watch_prefix(prefix) as watch:
            await anext(watch)
            for proxy in (first, second):
                other = second if proxy is first else first
                proxy.refuse()
                revision = await client.put(prefix, b"")
                assert (await next_events(watch, 1))[0].mod_revision == revision
                proxy.accept()
                assert other.connections > 0
