"""Long objects read over HTTP while they are overwritten, deleted and rechunked."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import chain

import pytest
import requests
from aistore import Client
from requests.adapters import HTTPAdapter

from support.cluster import Cluster
from support.workload import wait_until

pytestmark = pytest.mark.slow

MIB = 1 << 20
CONTENTS = [bytes([number]) + os.urandom(3 * MIB + number) for number in range(3)]
READERS = 4
FINISHED = "JOB_STATE_FINISHED"


class Readers:
    """Read one object over and over, by HTTP connections that stay; each answer is one of CONTENTS, or 404."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(READERS)]
        self.reads = 0
        self.wrong: list[str] = []

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter())
            while not self._stopping.is_set():
                answer = session.get(self._url, timeout=20)
                if answer.status_code == 200 and answer.content in CONTENTS:
                    self.reads += 1
                elif answer.status_code != 404:
                    self.wrong.append(f"{answer.status_code}, {len(answer.content)} bytes")


def rechunk(cluster: Cluster, bucket: str, limit: int, size: int) -> None:
    value = {"objsize-limit": limit, "chunk-size": size}
    job_id = requests.post(
        f"{cluster.endpoint}/v1/buckets/{bucket}", json={"action": "rechunk", "value": value}, timeout=20
    ).text

    def has_ended() -> bool:
        shown = requests.get(f"{cluster.endpoint}/-/api/v1/jobs/{job_id}", timeout=20).json()["job"]
        return bool(shown["state"] == FINISHED)

    wait_until(has_ended, 30, "the rechunk has ended")


def chunks_open(cluster: Cluster) -> list[str]:
    """Chunk files that a process of the cluster has open, also those that are removed."""
    pids = [child.pid for child in cluster.state.children]
    return [link for link in chain.from_iterable(map(links_of, pids)) if "/data/" in link]


def links_of(pid: int) -> list[str]:
    folder, found = f"/proc/{pid}/fd", []
    for name in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{name}"))
        except FileNotFoundError:
            """Closed meanwhile."""
    return found


def test_readers_get_whole_versions_and_nothing_stays(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster(targets=1)
    Client(cluster.endpoint).bucket("b").create()
    url = f"{cluster.endpoint}/v1/objects/b/o"
    with Readers(url) as readers:
        for content in CONTENTS:
            requests.put(url, data=content, timeout=20).raise_for_status()
            for limit, size in ((1, MIB), (1, 2 * MIB), (0, 0)):
                rechunk(cluster, "b", limit, size)
            requests.delete(url, timeout=20).raise_for_status()
            requests.put(url, data=content, timeout=20).raise_for_status()
        rechunk(cluster, "b", 1, MIB)
    assert (readers.wrong, readers.reads > 0) == ([], True)
    wait_until(
        lambda: len(cluster.chunk_files()) == 4 + 1, 10, "only the last chunks and their manifest are there"
    )
    wait_until(lambda: chunks_open(cluster) == [], 10, "no chunk file is open")
