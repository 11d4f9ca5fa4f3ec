"""JSON on a live cluster: the page's commands as they stand, and Envoy in front of the same proxy for comparison."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aistore import Client

from support.cluster import Cluster
from support.envoy import Envoy
from support.json_outcomes import ask_server
from support.json_requests import JsonRequest

PAGE = Path(__file__).parents[2] / "docs" / "transcoding.md"
[BLOCK] = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
*COMMANDS, WATCH = BLOCK.splitlines()
BUCKET = "/-/api/v1/buckets/json-door"
BODY = os.urandom(5 << 20) + b"end"


@pytest.fixture(scope="module")
def filled(cluster: Cluster) -> Iterator[Cluster]:
    """With a bucket `json-door` and objects in it."""
    bucket = Client(cluster.endpoint).bucket("json-door").create()
    for name, body in {"a": b"", "b/c d": b"0123456789", "é": b"accent", "large": BODY}.items():
        bucket.object(name).get_writer().put_content(body)
    yield cluster
    bucket.delete()


@pytest.fixture(scope="module")
def envoy(filled: Cluster) -> Iterator[str]:
    with Envoy(ca=filled.ca, grpc_address=filled.grpc_address) as envoy:
        yield envoy.endpoint


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/-/api/v1/buckets", None),
        ("GET", BUCKET, None),
        ("GET", f"{BUCKET}-missing", None),
        ("GET", "/-/api/v1/buckets/..", None),
        ("POST", "/-/api/v1/buckets", '{"bucket":{"name":"json-door"}}'),
        ("POST", "/-/api/v1/buckets", "{}"),
        ("PATCH", BUCKET, '{"expectedGeneration":"123456"}'),
        ("GET", f"{BUCKET}/objects", None),
        ("GET", f"{BUCKET}/objects?prefix=b/&page_size=1", None),
        ("GET", f"{BUCKET}/objects?page_size=-1", None),
        ("GET", f"{BUCKET}/objects?page_token=garbage", None),
        ("GET", f"{BUCKET}-missing/objects", None),
        ("GET", f"{BUCKET}/records/b%2Fc%20d", None),
        ("GET", f"{BUCKET}/records/missing", None),
        ("GET", f"{BUCKET}/objects/a", None),
        ("GET", f"{BUCKET}/objects/b/c%20d?offset=-3", None),
        ("GET", f"{BUCKET}/objects/b/c%20d?offset=2&length=3", None),
        ("GET", f"{BUCKET}/objects/b/c%20d?offset=11", None),
        ("GET", f"{BUCKET}/objects/%C3%A9", None),
        ("GET", f"{BUCKET}/objects/large", None),
        ("GET", f"{BUCKET}/objects/missing", None),
        ("DELETE", f"{BUCKET}/objects/missing", None),
        ("GET", f"{BUCKET}/uploads", None),
        ("DELETE", f"{BUCKET}/uploads/missing", None),
        ("GET", "/-/api/v1/cluster/map", None),
        ("GET", "/-/api/v1/jobs/missing", None),
    ],
)
def test_a_gateway_answers_what_envoy_answers(
    filled: Cluster, envoy: str, method: str, target: str, body: str | None
) -> None:
    request = JsonRequest("live", method, target, body)
    assert ask_server(filled.endpoint, request) == ask_server(envoy, request)


def test_a_large_object_comes_byte_for_byte(filled: Cluster) -> None:
    answer = ask_server(filled.endpoint, JsonRequest("large", "GET", f"{BUCKET}/objects/large"))
    assert answer.answer == BODY


@pytest.mark.parametrize("lead", [b"", b'{"x":"'], ids=["blanks", "a text"])
def test_a_body_that_is_too_long_is_refused_while_it_comes(
    filled: Cluster, tmp_path: Path, lead: bytes
) -> None:
    (tmp_path / "body").write_bytes(lead + b" " * (50 << 20))
    answer = curl(filled, "/-/api/v1/buckets", "--data-binary", f"@{tmp_path}/body", "-H", "Expect:")
    assert (answer["code"], answer["details"][0]["reason"]) == (3, "INVALID_ARGUMENT")


@pytest.mark.parametrize("header", ["Host: evil.example", "Origin: http://evil.example"])
def test_a_page_of_another_site_gets_nothing(filled: Cluster, header: str) -> None:
    assert curl(filled, "/-/api/v1/buckets", "-H", header)["code"] == 7


def test_every_command_of_the_page_works(cluster: Cluster) -> None:
    for command in COMMANDS:
        result = subprocess.run(
            ["bash", "-euc", command.replace("curl ", "curl --fail-with-body -sS ", 1)],
            env=cluster.environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"


def test_the_page_s_watch_tells_the_map_at_once(cluster: Cluster) -> None:
    with subprocess.Popen(
        ["bash", "-euc", f"exec {WATCH}"],
        env=cluster.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as watch:  # fmt: skip
        assert watch.stdout is not None
        begin = os.read(watch.stdout.fileno(), 1 << 16)
        watch.kill()
    assert json.loads(begin + b"]")[0]["clusterMap"]


def curl(cluster: Cluster, path: str, *arguments: str) -> dict[str, Any]:
    result = subprocess.run(
        ["curl", "-sS", *arguments, cluster.endpoint + path], capture_output=True, timeout=60, check=False
    )
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer
