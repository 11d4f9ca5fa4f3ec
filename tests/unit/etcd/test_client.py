"""Reads, writes, transactions, and what a caller learns when an answer is lost."""

from __future__ import annotations

import asyncio
import re

import pytest

from shoal_core.errors import ConfigurationError, Conflict, ControlPlaneDown, InvalidArgument
from shoal_core.etcd.client import PAGE_KEYS, EtcdClient
from shoal_core.etcd.connection import channel_target
from shoal_core.etcd.values import (
    ABSENT,
    VALUE_BYTES_MAX,
    Absent,
    CreateRevisionEquals,
    Delete,
    Get,
    OutcomeUnknown,
    Put,
    ValueEquals,
)
from support.cutting_proxy import CuttingProxy
from support.etcd import EtcdServer, free_ports


async def test_put_is_read_back_with_its_revision(client: EtcdClient, prefix: str) -> None:
    revision = await client.put(prefix + "ключ", b"value")
    found = await client.get(prefix + "ключ")
    assert found is not None
    assert (found.value, found.mod_revision, found.create_revision, found.version) == (
        b"value",
        revision,
        revision,
        1,
    )


async def test_get_of_a_missing_key_is_none(client: EtcdClient, prefix: str) -> None:
    assert await client.get(prefix) is None
    assert await client.get(prefix, serializable=True) is None


async def test_prefix_of_several_pages_is_one_sorted_snapshot(client: EtcdClient, prefix: str) -> None:
    keys = [f"{prefix}{number:05}" for number in range(PAGE_KEYS + 20)]
    for first in range(0, len(keys), 100):
        await client.transaction([], [Put(key, b"") for key in keys[first : first + 100]])
    await client.put(prefix[:-1] + "0", b"first key after the prefix")
    assert [item.key for item in (await client.get_prefix(prefix)).items] == keys


async def test_delete_tells_how_many_keys_went(client: EtcdClient, prefix: str) -> None:
    for name in "abc":
        await client.put(prefix + name, b"")
    assert await client.delete(prefix + "a") == 1
    assert await client.delete(prefix + "a") == 0
    assert await client.delete_prefix(prefix) == 2


async def test_transaction_does_one_branch_or_the_other(client: EtcdClient, prefix: str) -> None:
    key = prefix + "key"
    done = await client.transaction([Absent(key)], [Put(key, b"1"), Get(key)])
    assert done.succeeded
    assert done.responses[1].items[0].value == b"1"
    other = await client.transaction([Absent(key)], [], otherwise=[Get(key), Delete(key)])
    assert not other.succeeded
    assert [item.value for item in other.responses[0].items] == [b"1"]
    assert other.responses[1].deleted == 1


async def test_conditions_on_value_and_create_revision_hold_and_fail(client: EtcdClient, prefix: str) -> None:
    created = await client.put(prefix, b"1")
    await client.put(prefix, b"2")
    assert (
        await client.transaction([ValueEquals(prefix, b"2"), CreateRevisionEquals(prefix, created)], [])
    ).succeeded
    assert not (await client.transaction([ValueEquals(prefix, b"1")], [])).succeeded
    assert not (await client.transaction([CreateRevisionEquals(prefix, created + 1)], [])).succeeded


async def test_of_concurrent_swaps_exactly_one_wins(client: EtcdClient, prefix: str) -> None:
    swaps = (client.put_if(prefix, b"%d" % writer, expected_mod_revision=ABSENT) for writer in range(20))
    outcomes = await asyncio.gather(*swaps, return_exceptions=True)
    winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(winners) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19
    found = await client.get(prefix)
    assert found is not None
    assert found.mod_revision == winners[0]


async def test_swap_is_refused_when_its_guard_does_not_hold(client: EtcdClient, prefix: str) -> None:
    guard = CreateRevisionEquals(prefix + "leader", 7)
    with pytest.raises(Conflict, match="guard"):
        await client.put_if(prefix + "key", b"", expected_mod_revision=ABSENT, guards=[guard])


async def test_delete_if_spares_a_changed_key(client: EtcdClient, prefix: str) -> None:
    old = await client.put(prefix, b"1")
    new = await client.put(prefix, b"2")
    with pytest.raises(Conflict, match=f"is at {new}"):
        await client.delete_if(prefix, expected_mod_revision=old)
    await client.delete_if(prefix, expected_mod_revision=new)
    assert await client.get(prefix) is None


async def test_largest_value_is_kept_and_a_larger_one_refused(client: EtcdClient, prefix: str) -> None:
    await client.put(prefix, b"x" * VALUE_BYTES_MAX)
    with pytest.raises(InvalidArgument, match="65537 bytes"):
        await client.put(prefix, b"x" * (VALUE_BYTES_MAX + 1))
    with pytest.raises(InvalidArgument, match="65537 bytes"):
        await client.transaction([], [Put(prefix, b"x" * (VALUE_BYTES_MAX + 1))])
    with pytest.raises(InvalidArgument, match="key of 0 bytes"):
        await client.get("")


async def test_status_names_version_and_leader(client: EtcdClient) -> None:
    status = await client.status()
    assert re.match(r"3\.\d+", status.version)
    assert status.has_leader
    assert status.revision <= await client.revision()


async def test_one_dead_endpoint_of_several_is_no_obstacle(shared_etcd: EtcdServer, prefix: str) -> None:
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    async with EtcdClient([dead, shared_etcd.endpoint], tls=None) as client:
        for number in range(10):
            await client.put(prefix, b"%d" % number)
            assert await client.get(prefix) is not None


async def test_unreachable_etcd_is_control_plane_down_within_the_deadline() -> None:
    async with EtcdClient([f"127.0.0.1:{free_ports(1)[0]}"], tls=None, timeout_seconds=0.3) as client:
        with pytest.raises(ControlPlaneDown):
            await client.get("key")
        with pytest.raises(ControlPlaneDown, match="nothing was changed") as caught:
            await client.put("key", b"")
        assert not isinstance(caught.value, OutcomeUnknown)


@pytest.mark.parametrize("endpoints", [[], ["localhost"], ["http://a:1"], ["a:1", "b:2"], ["127.0.0.1:0"]])
def test_endpoints_that_cannot_work_are_refused(endpoints: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        channel_target(endpoints)


async def wait_for(client: EtcdClient, key: str) -> None:
    async with client.watch_key(key, start_revision=1) as watch:
        await anext(watch)


async def test_put_that_lost_its_answer_is_outcome_unknown(
    client: EtcdClient, proxied: EtcdClient, proxy: CuttingProxy, prefix: str
) -> None:
    proxy.swallow_answers()
    put = asyncio.create_task(proxied.put(prefix, b"1"))
    await wait_for(client, prefix)
    proxy.cut()
    with pytest.raises(OutcomeUnknown, match="read it back"):
        await put
    found = await proxied.get(prefix)
    assert found is not None
    assert found.version == 1, "a put must not be sent twice"


async def test_swap_that_lost_its_answer_reads_back_its_own_success(
    client: EtcdClient, proxied: EtcdClient, proxy: CuttingProxy, prefix: str
) -> None:
    proxy.swallow_answers()
    swap = asyncio.create_task(proxied.put_if(prefix, b"mine", expected_mod_revision=ABSENT))
    await wait_for(client, prefix)
    proxy.cut()
    found = await client.get(prefix)
    assert found is not None
    assert await swap == found.mod_revision
    assert found.version == 1


async def test_swap_whose_request_was_lost_is_done_in_the_end(
    client: EtcdClient, proxied: EtcdClient, proxy: CuttingProxy, prefix: str
) -> None:
    proxy.swallow_requests()
    swap = asyncio.create_task(proxied.put_if(prefix, b"mine", expected_mod_revision=ABSENT))
    await asyncio.wait([swap], timeout=0.2)
    proxy.cut()
    revision = await swap
    found = await client.get(prefix)
    assert found is not None
    assert (found.value, found.mod_revision) == (b"mine", revision)


async def test_swap_overwritten_before_the_read_back_stays_unknown(
    client: EtcdClient, proxied: EtcdClient, proxy: CuttingProxy, prefix: str
) -> None:
    proxy.swallow_answers()
    swap = asyncio.create_task(proxied.put_if(prefix, b"mine", expected_mod_revision=ABSENT))
    await wait_for(client, prefix)
    await client.put(prefix, b"theirs")
    proxy.cut()
    with pytest.raises(OutcomeUnknown, match="changed since"):
        await swap


async def test_delete_if_that_lost_its_answer_finds_the_key_gone(
    client: EtcdClient, proxied: EtcdClient, proxy: CuttingProxy, prefix: str
) -> None:
    revision = await client.put(prefix, b"")
    proxy.swallow_answers()
    delete = asyncio.create_task(proxied.delete_if(prefix, expected_mod_revision=revision))
    async with client.watch_key(prefix, start_revision=revision + 1) as watch:
        await anext(watch)
    proxy.cut()
    assert await delete > revision
