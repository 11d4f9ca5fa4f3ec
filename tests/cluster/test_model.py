"""A cluster of three targets beside the reference model, through gRPC, and read through S3 and REST as well."""

from __future__ import annotations

import secrets

import pytest

from model.cluster_subject import ClusterMachine
from model.tally import Tally
from model.walks import walk
from support.cluster import Cluster
from support.report_lines import SEED_BITS

pytestmark = pytest.mark.slow


def test_cluster_and_model_agree(cluster3: Cluster) -> None:
    machine = type("Machine", (ClusterMachine,), {"cluster": cluster3})
    walk(machine, Tally(), seed=secrets.randbits(SEED_BITS), sequences=4, steps=40)
