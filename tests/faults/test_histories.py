"""Histories of concurrent clients in which a gateway and a target are killed: acknowledged is acknowledged, once."""

from __future__ import annotations

import secrets

import pytest

from model.histories import History, observed
from model.scenes import all_doors, has_answered
from support.cluster import Cluster

pytestmark = pytest.mark.slow

ANSWERS = 400


@pytest.mark.parametrize("victims", [("g1",), ("t1",), ("g2", "t2", "t3")], ids="-".join)
def test_what_clients_see_has_one_order_although_processes_are_killed(
    breakable_cluster: Cluster, victims: tuple[str, ...]
) -> None:
    seed = secrets.randbits(32)

    def work(history: History) -> None:
        has_answered(history, ANSWERS)
        for victim in victims:
            breakable_cluster.kill(victim)
            breakable_cluster.wait_ready()
            has_answered(history, ANSWERS)

    history = observed(all_doors(breakable_cluster, f"killed-{seed}"), seed=seed, meanwhile=work)
    history.assert_explained()
