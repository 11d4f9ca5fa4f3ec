"""Thousands of requests that schemathesis makes of our own OpenAPI, right and wrong: no 5xx but "not built", no hang.

This ring is run by `make test-fuzz`. REQUESTS is the contract's CI count; the seed is of the day, and printed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any, TypeAlias

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok

from support.cluster import Cluster

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]

REQUESTS = int(os.environ.get("SHOAL_FUZZ_REQUESTS", "20000"))
SEED = int(os.environ.get("SHOAL_FUZZ_SEED", str(date.today().toordinal())))
SECONDS_MAX = 15.0
NOT_BUILT = 501
BUSY = 503
BUCKETS = ("fuzz-1", "fuzz-2")
OBJECTS = ("a", "shard.tar", "folder/b")

pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def operations(cluster: Cluster) -> list[Operation]:
    schema = schemathesis.openapi.from_url(f"{cluster.endpoint}/-/openapi.json")
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(found) > 60
    # A watch goes on for ever, as it should.
    return [operation for operation in found if not operation.path.endswith(":watch")]


def test_no_request_breaks_the_gateway(cluster: Cluster, operations: list[Operation]) -> None:
    print(f"seed {SEED}")
    statuses: Counter[int] = Counter()
    with requests.Session() as session:
        each = -(-REQUESTS // len(operations))
        for operation in operations:
            make_world(cluster, session)
            statuses += fuzzed(cluster, session, operation, each)
    print(dict(statuses))
    assert statuses.total() >= REQUESTS
    assert cluster.answers_http()
    assert all(cluster.restarts(name) == 0 for name in ("g1", "g2", "t1", "p1"))


def fuzzed(cluster: Cluster, session: requests.Session, operation: Operation, count: int) -> Counter[int]:
    """Statuses of so many requests to one operation, half of them right by the schema."""
    statuses: Counter[int] = Counter()
    modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @hypothesis.seed(SEED)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        case=st.one_of(modes),
        bucket=st.sampled_from(BUCKETS),
        name=st.sampled_from(OBJECTS),
        known=st.booleans(),
    )
    def ask(case: Case[Any], bucket: str, name: str, known: bool) -> None:
        if known:
            for field, value in (("bucket", bucket), ("bucket_name", bucket), ("name", name), ("key", name)):
                if field in case.path_parameters:
                    case.path_parameters[field] = value
        response = case.call(base_url=cluster.endpoint, session=session, timeout=SECONDS_MAX)
        statuses[response.status_code] += 1
        assert response.status_code < 500 or response.status_code in (NOT_BUILT, BUSY), case.as_curl_command()
        assert b"Traceback" not in response.content

    ask()
    # Hypothesis stops early where there is little to vary; the count is of requests.
    while statuses.total() < count:
        before = statuses.total()
        repeat(cluster, session, modes[0], count - before, statuses)
    return statuses


def repeat(
    cluster: Cluster,
    session: requests.Session,
    strategy: st.SearchStrategy[Case[Any]],
    count: int,
    statuses: Counter[int],
) -> None:
    for case in examples(strategy):
        for _ in range(count):
            response = case.call(base_url=cluster.endpoint, session=session, timeout=SECONDS_MAX)
            statuses[response.status_code] += 1
            assert response.status_code < 500 or response.status_code in (NOT_BUILT, BUSY)


def examples(strategy: st.SearchStrategy[Case[Any]]) -> Iterator[Case[Any]]:
    found: list[Case[Any]] = []

    @hypothesis.seed(SEED)
    @settings(
        max_examples=1,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(case: Case[Any]) -> None:
        found.append(case)

    take()
    yield from found[:1]


def make_world(cluster: Cluster, session: requests.Session) -> None:
    """Buckets and objects to hit; an operation before may have removed them."""
    for bucket in BUCKETS:
        session.post(f"{cluster.endpoint}/v1/buckets/{bucket}", json={"action": "create-bck"}, timeout=60)
        for name in OBJECTS:
            url = f"{cluster.endpoint}/v1/objects/{bucket}/{name}"
            session.put(url, data=b"content", timeout=60).raise_for_status()
