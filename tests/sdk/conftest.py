"""The shared clusters as the official SDK sees them: one target, three, and two hosts that redirect to each other."""

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


@pytest.fixture(params=["cluster", "cluster3", "two_hosts"], ids=["one-target", "three-targets", "two-hosts"])
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
