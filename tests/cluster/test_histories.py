"""Clients at once on few keys, through REST, S3 and gRPC: one order explains all that they saw, and no body is torn."""

from __future__ import annotations

import secrets

import pytest

from model.histories import History, observed
from model.scenes import all_doors, has_answered
from support.cluster import Cluster

pytestmark = pytest.mark.slow

ANSWERS = 1200


def test_what_concurrent_clients_see_has_one_order(cluster3: Cluster) -> None:
    seed = secrets.randbits(32)

    def work(history: History) -> None:
        has_answered(history, ANSWERS)

    history = observed(all_doors(cluster3, f"histories-{seed}"), seed=seed, meanwhile=work)
    assert history.outcomes["unanswered"] == 0
    history.assert_explained()
