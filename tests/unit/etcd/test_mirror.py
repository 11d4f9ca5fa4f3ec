"""A mirror is true while etcd answers, and stays readable while it does not."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from shoal_core.errors import ControlPlaneDown
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.mirror import Mirror, MirrorChange
from shoal_core.etcd.values import Snapshot
from support.etcd import EtcdServer, free_ports


async def test_mirror_follows_puts_and_deletes(client: EtcdClient, prefix: str) -> None:
    await client.put(prefix + "old", b"1")
    async with Mirror(client, prefix) as mirror:
        await mirror.wait_until_filled(5)
        assert set(mirror.items) == {prefix + "old"}
        revision = await client.put(prefix + "new", b"2")
        await mirror.wait_for_revision(revision, 5)
        await client.delete(prefix + "old")
        await mirror.wait_for_revision(revision + 1, 5)
        assert {key: item.value for key, item in mirror.items.items()} == {prefix + "new": b"2"}
        assert mirror.connected


async def test_slow_consumer_of_changes_misses_no_key(client: EtcdClient, prefix: str) -> None:
    async with Mirror(client, prefix) as mirror, aclosing(mirror.changes()) as changes:
        await mirror.wait_until_filled(5)
        first: asyncio.Future[MirrorChange] = asyncio.ensure_future(anext(changes))
        await client.put(prefix + "a", b"")
        assert (await first).keys == {prefix + "a"}
        await client.put(prefix + "b", b"")
        await client.put(prefix + "c", b"")
        await mirror.wait_for_revision(await client.put(prefix + "b", b""), 5)
        assert (await anext(changes)).keys == {prefix + "b", prefix + "c"}


async def test_catching_up_brings_what_was_written_before_whatever_else_changes(
    client: EtcdClient, prefix: str
) -> None:
    async with Mirror(client, prefix) as mirror:
        await mirror.wait_until_filled(5)
        await client.put(prefix + "a", b"")
        await mirror.catch_up(5)
        assert set(mirror.items) == {prefix + "a"}
        await client.delete(prefix + "a")
        await client.put(f"/elsewhere{prefix}", b"")
        await mirror.catch_up(5)
        assert not mirror.items


async def test_wait_for_a_revision_that_does_not_come_ends(client: EtcdClient, prefix: str) -> None:
    async with Mirror(client, prefix) as mirror:
        await mirror.wait_until_filled(5)
        with pytest.raises(ControlPlaneDown, match="did not get revision"):
            await mirror.wait_for_revision(mirror.revision + 1000, 0.1)


@pytest.mark.slow
async def test_mirror_serves_its_last_state_through_an_outage_and_catches_up(
    own_etcd: EtcdServer, own_client: EtcdClient
) -> None:
    async with Mirror(own_client, "/m/") as mirror:
        await mirror.wait_for_revision(await own_client.put("/m/key", b"1"), 5)
        own_etcd.kill()
        with pytest.raises(ControlPlaneDown):
            await own_client.get("/m/key", timeout_seconds=0.5)
        assert mirror.items["/m/key"].value == b"1"
        assert not mirror.connected
        await asyncio.to_thread(own_etcd.start)
        await mirror.wait_for_revision(await own_client.put("/m/key", b"2"), 15)
        assert mirror.items["/m/key"].value == b"2"
        assert mirror.connected


@pytest.mark.slow
async def test_mirror_listed_anew_reports_what_vanished(own_etcd: EtcdServer, own_client: EtcdClient) -> None:
    async with Mirror(own_client, "/m/") as mirror, aclosing(mirror.changes()) as changes:
        await own_client.put("/m/key", b"")
        await mirror.wait_for_revision(await own_client.put("/m/key", b"1"), 5)
        vanished: asyncio.Future[MirrorChange] = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        own_etcd.kill()
        own_etcd.wipe()
        await asyncio.to_thread(own_etcd.start)
        assert (await asyncio.wait_for(vanished, timeout=15)).keys == {"/m/key"}
        assert mirror.items == {}


async def test_mirror_started_in_an_outage_serves_its_cache(client: EtcdClient, prefix: str) -> None:
    await client.put(prefix + "key", b"1")
    cached: Snapshot = await client.get_prefix(prefix)
    dead = EtcdClient([f"127.0.0.1:{free_ports(1)[0]}"], tls=None, timeout_seconds=0.2)
    async with dead, Mirror(dead, prefix, initial=cached) as mirror:
        with pytest.raises(ControlPlaneDown, match="first list"):
            await mirror.wait_until_filled(0.1)
        assert mirror.snapshot() == cached
