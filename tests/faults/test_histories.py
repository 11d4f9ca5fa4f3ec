"""Histories of concurrent clients while processes are killed or stand still: acknowledged is acknowledged, once."""

from __future__ import annotations

import time
from signal import SIGCONT

import pytest

from model.histories import History, observed
from model.scenes import all_doors, has_answered
from support.cluster import Cluster
from support.fault_counts import FaultRun
from support.stopping import stop
from support.workload import wait_until

pytestmark = pytest.mark.slow

ANSWERS = 400
STILL_SECONDS = 4.0
"""Longer than a process may stand still and yet go by what it knows."""


@pytest.mark.fault(id="histories")
@pytest.mark.parametrize("victims", [("g1",), ("t1",), ("g2", "t2", "t3")], ids="-".join)
def test_what_clients_see_has_one_order_although_processes_are_killed(
    breakable_cluster: Cluster, victims: tuple[str, ...], fault_run: FaultRun
) -> None:
    def work(history: History) -> None:
        has_answered(history, ANSWERS)
        for victim in victims:
            breakable_cluster.kill(victim)
            breakable_cluster.wait_ready()
            has_answered(history, ANSWERS)

    doors = all_doors(breakable_cluster, f"killed-{fault_run.seed}")
    history = observed(doors, seed=fault_run.seed, meanwhile=work)
    history.assert_explained()
    fault_run.count += history.outcomes["answered"]


@pytest.mark.fault(id="histories")
@pytest.mark.parametrize("victims", [("g1",), ("t1", "g2"), ("etcd",)], ids="-".join)
def test_what_clients_see_has_one_order_although_processes_stand_still(
    breakable_cluster: Cluster, victims: tuple[str, ...], fault_run: FaultRun
) -> None:
    def work(history: History) -> None:
        has_answered(history, ANSWERS)
        for victim in victims:
            stop(breakable_cluster.pid(victim))
        end = time.monotonic() + STILL_SECONDS
        wait_until(lambda: time.monotonic() >= end, 2 * STILL_SECONDS, "some seconds")
        for victim in victims:
            breakable_cluster.signal(victim, SIGCONT)
        has_answered(history, ANSWERS)

    doors = all_doors(breakable_cluster, f"still-{fault_run.seed}")
    history = observed(doors, seed=fault_run.seed, meanwhile=work)
    history.assert_explained()
    fault_run.count += history.outcomes["answered"]
