"""Mixed gRPC streams, many of them cancelled half-way: afterwards no task, descriptor or slot is missing."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shoal_client.client import ShoalClient
from shoal_core.rpc_gate import LONG_LIVED
from support.cluster import Cluster
from support.fault_counts import FaultRun, box_seconds, pause_seconds
from support.stream_mix import StreamMix
from support.waiting import eventually
from support.workload import wait_until

pytestmark = pytest.mark.slow

PROCESSES = ("p1", "t1", "t2", "g1")
SECONDS = 30.0
TASKS = 6
"""Of each client."""
SAMPLES = 200
SLOPE_SECONDS_MIN = 300
"""Of less, a slope says nothing."""
SPARE = 8
"""Connections that a process makes late and keeps; thousands of calls come and go meanwhile."""
IN_FLIGHT = re.compile(r'^shoal_rpc_in_flight\{method="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)
MIB = 1 << 20


@pytest.mark.fault(id="grpc")
def test_mixed_streams_leave_no_task_descriptor_or_slot_behind(
    new_cluster: Callable[..., Cluster], fault_run: FaultRun
) -> None:
    cluster = new_cluster(targets=2, workers=1)
    asyncio.run(mixed(cluster, run=fault_run, seconds=3))
    before = descriptors(cluster)
    memory = Memory(cluster)
    seconds = box_seconds(SECONDS)
    asyncio.run(mixed(cluster, run=fault_run, seconds=seconds, memory=memory))
    wait_until(lambda: calls_in_flight(cluster) == {}, 70, "no call is in flight")
    wait_until(lambda: max(more_than(before, cluster).values()) <= SPARE, 70, "descriptors are given back")
    fault_run.count += int(seconds)
    for name, more in more_than(before, cluster).items():
        fault_run.note_worst(f"{name}_more_descriptors", more)
        fault_run.note_worst(f"{name}_rss_mib_per_hour", memory.slope_mib_per_hour(name))
        fault_run.note_worst(f"{name}_rss_mib", memory.samples[name][-1][1] / MIB)


async def mixed(cluster: Cluster, *, run: FaultRun, seconds: float, memory: Memory | None = None) -> None:
    """Through the targets themselves, and through the proxy."""
    tasks_before = len(asyncio.all_tasks())
    async with AsyncExitStack() as stack:
        mixes = []
        for direct in (True, False):
            client = ShoalClient.connect(cluster.grpc_address, ca=cluster.ca, direct=direct)
            await stack.enter_async_context(client)
            bucket = f"mix-{direct}-{run.chance.getrandbits(32)}".lower()
            await client.create_bucket(bucket)
            chance = random.Random(run.chance.random())
            mixes.append(StreamMix(client, bucket, chance, pause_seconds()))
            await mixes[-1].fill()
        end = time.monotonic() + seconds
        running = asyncio.gather(*(mix.run(lambda: time.monotonic() >= end, tasks=TASKS) for mix in mixes))
        while not running.done():
            if memory is not None:
                memory.sample()
            await asyncio.wait([running], timeout=seconds / SAMPLES)
        await running
        counts = sum((mix.counts for mix in mixes), Counter[str]())
        run.note_worst("calls", counts.total())
        run.note_worst("cancelled", sum(count for what, count in counts.items() if "cancelled" in what))
        for mix in mixes:
            await mix.client.delete_bucket(mix.bucket)
    await eventually(lambda: len(asyncio.all_tasks()) == tasks_before)


def calls_in_flight(cluster: Cluster) -> Mapping[str, float]:
    """But for the streams that stay."""
    with urllib.request.urlopen(f"{cluster.endpoint}/metrics", timeout=10) as answer:
        found = IN_FLIGHT.findall(answer.read().decode())
    assert found
    return {method: float(count) for method, count in found if float(count) and method not in LONG_LIVED}


def descriptors(cluster: Cluster) -> Mapping[str, int]:
    return {name: len(os.listdir(f"/proc/{cluster.pid(name)}/fd")) for name in PROCESSES}


def more_than(before: Mapping[str, int], cluster: Cluster) -> Mapping[str, int]:
    return {name: count - before[name] for name, count in descriptors(cluster).items()}


@dataclass
class Memory:
    cluster: Cluster
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Process -> moment and resident bytes."""

    def sample(self) -> None:
        for name in PROCESSES:
            pages = int(Path(f"/proc/{self.cluster.pid(name)}/statm").read_text().split()[1])
            moment = time.monotonic(), float(pages * os.sysconf("SC_PAGESIZE"))
            self.samples.setdefault(name, []).append(moment)

    def slope_mib_per_hour(self, name: str) -> float:
        """Of the second half, by least squares: in the first one pools and caches fill."""
        samples = self.samples[name][len(self.samples[name]) // 2 :]
        middle = sum(moment for moment, _ in samples) / len(samples)
        spread = sum((moment - middle) ** 2 for moment, _ in samples)
        slope = sum((moment - middle) * held for moment, held in samples) / spread
        return slope * 3600 / MIB
