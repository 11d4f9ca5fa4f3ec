"""A bucket of samples for PyTorch. This ring is run by `make test-torch`, since torch is large."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from aistore import Client
from aistore.sdk.bucket import Bucket

from support.cluster import Cluster

SAMPLES = {f"sample-{number:02}": os.urandom(number * 40_000 + 1) for number in range(20)}


@pytest.fixture(scope="session")
def samples() -> dict[str, bytes]:
    return SAMPLES


@pytest.fixture(scope="session")
def torch_bucket(cluster3: Cluster, samples: dict[str, bytes]) -> Iterator[Bucket]:
    bucket = Client(cluster3.endpoint).bucket("torch").create()
    for name, content in samples.items():
        bucket.object(name).get_writer().put_content(content)
    yield bucket
    bucket.delete(missing_ok=True)
