"""kill -9 of every process in the middle of writing: whatever was acknowledged is there after the restart."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGKILL

import pytest
from aistore import Client

from support.cluster import Cluster
from support.workload import Writers, assert_all_there, wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("victim", ["etcd", "p1", "t1", "t2", "g1"])
def test_acknowledged_writes_survive_the_kill_of_a_process(breakable_cluster: Cluster, victim: str) -> None:
    bucket = f"crash-{victim}"
    Client(breakable_cluster.endpoint).bucket(bucket).create()
    with Writers(breakable_cluster.endpoint, bucket) as writers:
        writers.wait_for(60)
        breakable_cluster.kill(victim, SIGKILL)
        breakable_cluster.wait_ready()
        writers.wait_for(len(writers.log) + 40)
    assert_all_there(breakable_cluster.endpoint, bucket, writers.log)


def test_acknowledged_writes_survive_the_kill_of_everything(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster(targets=3)
    Client(cluster.endpoint).bucket("all").create()
    with Writers(cluster.endpoint, "all") as writers:
        writers.wait_for(100)
        cluster.kill("supervisor", SIGKILL)
    cluster.start()
    assert_all_there(cluster.endpoint, "all", writers.log)


def test_a_killed_writer_leaves_nothing_in_tmp(breakable_cluster: Cluster) -> None:
    Client(breakable_cluster.endpoint).bucket("leftover").create()
    with Writers(breakable_cluster.endpoint, "leftover") as writers:
        writers.wait_for(40)
        breakable_cluster.kill("g1", SIGKILL)
        breakable_cluster.kill("t1", SIGKILL)
        breakable_cluster.wait_ready()
    wait_until(lambda: breakable_cluster.leftovers() == [], 30, "what the dead have left is swept")
