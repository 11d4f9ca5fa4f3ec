"""One leader at a time, and no writes of a deposed one."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from shoal_core.errors import Conflict
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.election import Election
from shoal_core.etcd.values import ABSENT


def candidate(client: EtcdClient, prefix: str, name: str) -> Election:
    return Election(client, "duty", candidate_id=name, ttl_seconds=2, prefix=prefix)


async def test_second_candidate_leads_once_the_first_resigns(client: EtcdClient, prefix: str) -> None:
    first, second = candidate(client, prefix, "first"), candidate(client, prefix, "second")
    leader = await first.campaign()
    waiting = asyncio.create_task(second.campaign())
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    assert await second.leader() == "first"
    await leader.resign()
    async with await asyncio.wait_for(waiting, timeout=5) as successor:
        assert await first.leader() == "second"
        assert successor.is_held()
        assert not leader.is_held()


@pytest.mark.slow
async def test_silent_leader_is_replaced_and_its_writes_fail(client: EtcdClient, prefix: str) -> None:
    deposed = await candidate(client, prefix, "deposed").campaign()
    await deposed._lease.close()
    async with await asyncio.wait_for(candidate(client, prefix, "next").campaign(), timeout=15) as leader:
        with pytest.raises(Conflict, match="guard"):
            await client.put_if(prefix + "plan", b"", expected_mod_revision=ABSENT, guards=[deposed.guard()])
        await client.put_if(prefix + "plan", b"", expected_mod_revision=ABSENT, guards=[leader.guard()])
        assert deposed.lost.is_set()
    await deposed.resign()


async def test_deleted_election_key_ends_the_leadership(client: EtcdClient, prefix: str) -> None:
    election = candidate(client, prefix, "only")
    async with await election.campaign() as leadership:
        await client.delete(election.key)
        await asyncio.wait_for(leadership.lost.wait(), timeout=5)
        assert not leadership.is_held()


async def test_observer_sees_each_leader(client: EtcdClient, prefix: str) -> None:
    election = candidate(client, prefix, "with space")
    async with aclosing(election.observe()) as leaders:
        assert await anext(leaders) is None
        leadership = await election.campaign()
        assert await anext(leaders) == "with space"
        await leadership.resign()
        assert await anext(leaders) is None


async def test_of_many_candidates_only_one_leads(client: EtcdClient, prefix: str) -> None:
    campaigns = [
        asyncio.create_task(candidate(client, prefix, str(number)).campaign()) for number in range(8)
    ]
    done, waiting = await asyncio.wait(campaigns, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    for campaign in waiting:
        campaign.cancel()
    await asyncio.wait(waiting)
    for campaign in done:
        await campaign.result().resign()
