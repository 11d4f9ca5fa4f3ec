"""S3 clients as users have them, against the shared clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from support.cluster import Cluster
from support.s3_clients import empty, s3_client


@pytest.fixture
def s3(cluster: Cluster) -> Iterator[Any]:
    client = s3_client(cluster)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    """A bucket of the test's own, removed with all that is in it."""
    name = f"b-{uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def fast_bucket(cluster: Cluster, bucket: str) -> str:
    """Whose etags are no MD5s."""
    message = {"action": "set-bprops", "value": {"shoal": {"s3_etag": "fast"}}}
    url = f"{cluster.environment()['AIS_ENDPOINT']}/v1/buckets/{bucket}"
    urlopen(Request(url, data=json.dumps(message).encode(), method="PATCH")).close()
    return bucket


@pytest.fixture(scope="session")
def hundred_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 100 files with names that clients get wrong, in three levels, from nothing to 300 KB."""
    root = tmp_path_factory.mktemp("hundred")
    odd = [
        "space in it",
        "plus+plus",
        "percent%20",
        "ümlaut",
        "hash#hash",
        "猫",
        "amp&amp",
        "semi;colon",
        "at@at",
        "eq=eq",
    ]
    for number in range(100):
        folder = root / ("", "one", "one/two ö")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{number:03}-{odd[number % len(odd)]}"
        (folder / name).write_bytes(bytes([number]) * (number * number * 30))
    return root


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than every client's border for uploads in parts (rclone's is told by the test)."""
    path = tmp_path_factory.mktemp("large") / "33MB"
    path.write_bytes(b"".join(number.to_bytes(8) for number in range(33_000_000 // 8)))
    return path
