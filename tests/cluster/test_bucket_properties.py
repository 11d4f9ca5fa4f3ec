"""`shoal bucket create|set`: the properties that a user gives are those that the bucket has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.cluster import Cluster

pytestmark = pytest.mark.slow
BUCKET = "ais://properties"


@pytest.fixture
def bucket(cluster: Cluster) -> Iterator[str]:
    assert shoal(cluster, "create", BUCKET, "--chunk-above", "8MiB").returncode == 0
    yield BUCKET
    shoal(cluster, "rm", "--yes", BUCKET)


def shoal(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shoal_cli", "bucket", *arguments]
    environment = os.environ | cluster.environment()
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def document(cluster: Cluster, *arguments: str) -> dict[str, Any]:
    result = shoal(cluster, *arguments, "-o", "json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_what_is_set_is_set_and_the_rest_stays(cluster: Cluster, bucket: str) -> None:
    changed = document(
        cluster, "set", bucket, "--durability", "os", "--chunk-size", "2MiB", "--s3-etag", "fast"
    )
    assert (changed["durability"], changed["chunk_bytes"], changed["s3_etag"]) == ("os", 2 << 20, "fast")
    assert (changed["chunk_above_bytes"], changed["verify"]) == (8 << 20, "window")
    changed = document(cluster, "set", bucket, "--chunk-above", "0")
    assert (changed["chunk_above_bytes"], changed["chunk_bytes"]) == (0, 2 << 20)
    listed = shoal(cluster, "ls", "-o", "json").stdout.splitlines()
    assert changed in [json.loads(line) for line in listed]


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ([BUCKET], "nothing to set", 2),
        ([BUCKET, "--chunk-size", "5"], "chunk_bytes", 1),
        ([BUCKET, "--chunk-size", "many"], "no size", 2),
        ([BUCKET, "--durability", "paper"], "paper", 2),
        (["ais://nowhere", "--durability", "os"], "nowhere", 1),
    ],
)
def test_what_cannot_be_set_is_said_and_changes_nothing(
    cluster: Cluster, bucket: str, arguments: list[str], said: str, code: int
) -> None:
    result = shoal(cluster, "set", *arguments)
    assert (result.returncode, said in result.stderr) == (code, True), result.stderr
    assert document(cluster, "set", bucket, "--verify", "window")["chunk_above_bytes"] == 8 << 20
