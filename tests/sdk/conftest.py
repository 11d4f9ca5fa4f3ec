"""The shared clusters as the official SDK sees them: one target, three, and two hosts that redirect to each other.

Where the contents of objects matter also three targets without local reads."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import pytest
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.retry_config import RetryConfig
from tenacity import Retrying, stop_after_attempt
from urllib3.util.retry import Retry

from support.cluster import Cluster
from support.other_host import TwoHosts

NUMBERS = itertools.count()
CLUSTERS = {"cluster": "one-target", "cluster3": "three-targets", "two_hosts": "two-hosts"}
OF_CONTENTS = frozenset(
    {
        "test_batch",
        "test_buckets",
        "test_every_method",
        "test_multipart",
        "test_object_changes",
        "test_objects",
    }
)
"""Modules whose tests are also run through gateways that ask targets for every byte."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "endpoint" in metafunc.fixturenames:
        clusters = dict(CLUSTERS)
        if metafunc.module.__name__.rpartition(".")[2] in OF_CONTENTS:
            clusters["distant_cluster"] = "no-local-reads"
        metafunc.parametrize("endpoint", list(clusters), ids=list(clusters.values()), indirect=True)


@pytest.fixture(scope="session")
def distant_cluster() -> Iterator[Cluster]:
    """Three targets whose disks no gateway reads. Shared: use buckets of your own, and break nothing."""
    cluster = Cluster.temporary(targets=3, local_reads=False)
    try:
        yield cluster.start()
    finally:
        cluster.remove()


@pytest.fixture
def endpoint(request: pytest.FixtureRequest) -> str:
    cluster = request.getfixturevalue(request.param)
    assert isinstance(cluster, Cluster | TwoHosts)
    return cluster.endpoint


@pytest.fixture
def client(endpoint: str) -> Client:
    """One that does not repeat what failed: a 404 is an answer, not a reason to wait."""
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    once = RetryConfig(
        http_retry=Retry(total=0, status_forcelist=[]),
        network_retry=Retrying(stop=stop_after_attempt(1), reraise=True),
    )
    return Client(endpoint, retry_config=once)


@pytest.fixture
def bucket(client: Client) -> Iterator[Bucket]:
    bucket = client.bucket(f"sdk-{next(NUMBERS)}").create()
    yield bucket
    bucket.delete(missing_ok=True)
