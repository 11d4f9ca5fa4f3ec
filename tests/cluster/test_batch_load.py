"""Many readers of batches at once, a third of whom leave in the middle: strict order, right bytes, nothing left behind.

The contract's L3 at CI size. What is counted is what came, not how fast.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from support.cluster import Cluster
from support.tars import tar_of

BUCKET = "batches"
SIZES = (0, 100, 4096, 10_240, 32_768, 32_769, 40_000, 131_072, 131_073, 700_000)
OBJECTS = {
    f"o-{number:03}": random.Random(number).randbytes(SIZES[number % len(SIZES)]) for number in range(60)
}
MEMBERS = {f"s/{number:03}.bin": random.Random(-number).randbytes(number * 97) for number in range(1, 200)}
READERS = 16
BATCHES_EACH = 12
COUNTS = (1, 100, 1000)
LONG, LONG_READERS = 10_000, 3
LEAVERS = 0.3
SETTLE_SECONDS_MAX = 60.0
GROWTH_MIB_MAX = 48
"""Over what a process needs once it has read a batch of everything."""

Item = tuple[str, str]


def digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


EXPECTED = {(name, ""): digest(data) for name, data in OBJECTS.items()}
EXPECTED |= {("shard.tar", name): digest(data) for name, data in MEMBERS.items()}
SMALL_ONES = [(name, member) for name, member in EXPECTED if member or len(OBJECTS[name]) < 32_769]


@pytest.fixture(scope="module", params=[True, False], ids=["local-reads", "no-local-reads"])
def filled(request: pytest.FixtureRequest, module_cluster: Callable[..., Cluster]) -> Cluster:
    cluster = module_cluster(targets=3, local_reads=request.param)
    create = {"action": "create-bck"}
    requests.post(f"{cluster.endpoint}/v1/buckets/{BUCKET}", json=create, timeout=60).raise_for_status()
    for name, data in {**OBJECTS, "shard.tar": tar_of(MEMBERS)}.items():
        url = f"{cluster.endpoint}/v1/objects/{BUCKET}/{name}"
        requests.put(url, data=data, timeout=60).raise_for_status()
    return cluster


@pytest.mark.slow
def test_order_holds_while_readers_leave(filled: Cluster) -> None:
    read_by_all_workers(filled)
    before = resources(filled)
    assert storm(filled) > READERS * BATCHES_EACH * 50
    after = settled(filled, before)
    assert grown(before, after) == {}


@pytest.mark.slow
def test_ten_thousand_items_are_one_batch_for_each_of_several_readers(filled: Cluster) -> None:
    read_by_all_workers(filled)
    before = resources(filled)
    with ThreadPoolExecutor(LONG_READERS) as readers:
        came = sum(readers.map(lambda number: read_long_batch(filled, number=number), range(LONG_READERS)))
    assert came >= LONG * 2
    assert grown(before, settled(filled, before)) == {}


def read_by_all_workers(cluster: Cluster) -> None:
    """Of so many connections at once each worker has some, and needs what it needs for several batches."""
    with ThreadPoolExecutor(READERS) as readers:
        list(readers.map(lambda _: read_batch(cluster, list(EXPECTED), stop_after=None), range(READERS)))


def read_long_batch(cluster: Cluster, *, number: int) -> int:
    """Of what is small, with something large now and then. One reader in three leaves."""
    choose = random.Random(number)
    wanted = choose.choices(SMALL_ONES, k=LONG)
    wanted[:: LONG // 20] = choose.choices(list(EXPECTED), k=20)
    leaves = number % 3 == 2
    return read_batch(cluster, wanted, stop_after=choose.randrange(LONG) if leaves else None)


def storm(cluster: Cluster, *, first: int = 0) -> int:
    """Readers at once. How many items came."""
    with ThreadPoolExecutor(READERS) as readers:
        return sum(readers.map(lambda number: read_batches(cluster, number=first + number), range(READERS)))


def grown(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """Files and MiB that a process has more than it may."""
    more = {
        name: (files - before[name][0], (memory - before[name][1]) >> 20)
        for name, (files, memory) in after.items()
    }
    return {name: (files, mib) for name, (files, mib) in more.items() if files > 4 or mib > GROWTH_MIB_MAX}


def read_batches(cluster: Cluster, *, number: int) -> int:
    """How many items came."""
    choose, items = random.Random(number), 0
    for _ in range(BATCHES_EACH):
        wanted = choose.choices(list(EXPECTED), k=choose.choice(COUNTS))
        leaves = choose.random() < LEAVERS
        items += read_batch(cluster, wanted, stop_after=choose.randrange(len(wanted)) if leaves else None)
    return items


def read_batch(cluster: Cluster, wanted: list[Item], *, stop_after: int | None) -> int:
    """Looks at every item that comes. Raises AssertionError for one that is not the one that is due."""
    message = {
        "in": [{"objname": name, "archpath": member, "bucket": BUCKET} for name, member in wanted],
        "strm": True,
        "mime": ".tar",
    }
    with closing(http.client.HTTPConnection(urlsplit(cluster.endpoint).netloc, timeout=120)) as connection:
        connection.request("GET", "/v1/ml/moss", json.dumps(message))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        with tarfile.open(fileobj=answer, mode="r|") as archive:
            count = 0
            for count, (entry, item) in enumerate(zip(archive, wanted, strict=False), 1):
                name, member = item
                assert entry.name == "/".join(part for part in (BUCKET, name, member) if part)
                file = archive.extractfile(entry)
                assert file is not None
                assert digest(file.read()) == EXPECTED[item], item
                if stop_after is not None and count > stop_after:
                    return count
    assert count == len(wanted)
    return count


def resources(cluster: Cluster) -> dict[str, tuple[int, int]]:
    """Open files and bytes of memory of each process that serves."""
    names = ("t1", "t2", "t3", "g1", "g2", "p1")
    return {name: (open_files(pid), memory_of(pid)) for name in names for pid in [cluster.pid(name)]}


def settled(cluster: Cluster, before: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Once files are closed again and memory was given back, which takes a little longer than the last answers do."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        after = resources(cluster)
        if not grown(before, after) or time.monotonic() > deadline:
            return after
        time.sleep(0.5)


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines["Private_Dirty"].split()[0]) << 10
