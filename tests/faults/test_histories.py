"""Histories of concurrent clients in which a gateway and a target are killed: acknowledged is acknowledged, once."""

from __future__ import annotations

import pytest

from model.histories import History, observed
from model.scenes import all_doors, has_answered
from support.cluster import Cluster
from support.fault_counts import FaultRun

pytestmark = pytest.mark.slow

ANSWERS = 400


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
