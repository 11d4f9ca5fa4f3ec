"""A cluster beside the reference model, its targets killed between operations: nothing acknowledged is lost."""

from __future__ import annotations

import secrets

import pytest

from model.cluster_subject import ClusterMachine
from model.tally import Tally
from model.walks import walk
from support.cluster import Cluster
from support.report_lines import SEED_BITS

pytestmark = pytest.mark.slow


def test_cluster_and_model_agree_although_targets_are_killed(breakable_cluster: Cluster) -> None:
    victims = ("t1", "t2", "t3")
    machine = type("Machine", (ClusterMachine,), {"cluster": breakable_cluster, "victims": victims})
    walk(machine, Tally(), seed=secrets.randbits(SEED_BITS), sequences=3, steps=40)
