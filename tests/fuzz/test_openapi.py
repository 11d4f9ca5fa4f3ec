"""Thousands of requests that schemathesis makes of our own OpenAPI, right and wrong: no 5xx but "not built", no hang.

This ring is run by `make test-fuzz`. REQUESTS is the contract's CI count; the seed is of the day, and printed.
"""

from __future__ import annotations

import os
from datetime import date

import pytest

from support.cluster import Cluster
from support.openapi_fuzzing import fuzzed, operations_of

REQUESTS = int(os.environ.get("SHOAL_FUZZ_REQUESTS", "20000"))
SEED = int(os.environ.get("SHOAL_FUZZ_SEED", str(date.today().toordinal())))

pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]


def test_no_request_breaks_the_gateway(cluster: Cluster) -> None:
    print(f"seed {SEED}")
    assert len(operations_of(cluster.endpoint)) > 60
    statuses = fuzzed(cluster.endpoint, requests_min=REQUESTS, seed=SEED)
    print(dict(sorted(statuses.items())))
    assert statuses.total() >= REQUESTS
    assert cluster.answers_http()
    assert all(cluster.restarts(name) == 0 for name in ("g1", "g2", "t1", "p1"))
