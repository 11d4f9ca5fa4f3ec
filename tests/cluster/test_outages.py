"""Parts that are away: reads go on without etcd, a dead target's objects answer 503, no listing is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest
import requests
from aistore import Client

from support.cluster import Cluster
from support.workload import wait_until

pytestmark = pytest.mark.slow

NAMES = [f"object-{i:03}" for i in range(60)]


@pytest.fixture
def bucket_url(breakable_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-")[:60].rstrip("-")
    bucket = Client(breakable_cluster.endpoint).bucket(name).create(exist_ok=True)
    for item in NAMES:
        bucket.object(item).get_writer().put_content(item.encode() * 3000)
    yield f"{breakable_cluster.endpoint}/v1/objects/{name}"
    breakable_cluster.wait_ready()


def statuses(url: str) -> dict[str, int]:
    return {name: requests.get(f"{url}/{name}", timeout=20).status_code for name in NAMES}


def test_reads_go_on_without_etcd_also_after_a_gateway_restart(
    breakable_cluster: Cluster, bucket_url: str
) -> None:
    with breakable_cluster.held_down("etcd"):
        assert set(statuses(bucket_url).values()) == {200}
        breakable_cluster.kill("g1", SIGKILL)
        breakable_cluster.kill("g2", SIGKILL)
        wait_until(lambda: breakable_cluster.answers_http(), 30, "gateways back without etcd")
        assert set(statuses(bucket_url).values()) == {200}


def test_bucket_changes_without_etcd_answer_503_with_the_reason(
    breakable_cluster: Cluster, bucket_url: str
) -> None:
    with breakable_cluster.held_down("etcd"):
        answer = requests.post(
            f"{breakable_cluster.endpoint}/v1/buckets/never", json={"action": "create-bck"}, timeout=30
        )
        assert answer.status_code == 503
        assert "etcd" in answer.json()["message"]
        assert "Retry-After" in answer.headers


def test_a_dead_target_answers_503_and_comes_back_with_its_objects(
    breakable_cluster: Cluster, bucket_url: str
) -> None:
    with breakable_cluster.held_down("t2"):
        wait_until(lambda: 503 in statuses(bucket_url).values(), 10, "objects of t2 answer 503")
        during = statuses(bucket_url)
        assert set(during.values()) == {200, 503}
        listing = bucket_url.replace("/v1/objects/", "/v1/buckets/")
        assert requests.get(listing, json={"action": "list", "value": {}}, timeout=20).status_code == 503
    wait_until(lambda: set(statuses(bucket_url).values()) == {200}, 30, "objects of t2 are back")
    listing = bucket_url.replace("/v1/objects/", "/v1/buckets/")
    answer = requests.get(listing, json={"action": "list", "value": {}}, timeout=20)
    assert [entry["name"] for entry in answer.json()["entries"]] == NAMES


def test_writes_are_refused_when_the_lease_has_run_out_and_reads_go_on(
    new_cluster: Callable[..., Cluster],
) -> None:
    cluster = new_cluster(targets=1)
    Client(cluster.endpoint).bucket("lease").create()
    url = f"{cluster.endpoint}/v1/objects/lease/a"
    assert requests.put(url, data=b"before", timeout=20).status_code == 200
    cluster.signal("etcd", SIGSTOP)
    try:
        wait_until(
            lambda: requests.put(url, data=b"before", timeout=20).status_code == 503, 40, "writes refused"
        )
        answer = requests.get(url, timeout=20)
        assert (answer.status_code, answer.content) == (200, b"before")
    finally:
        cluster.signal("etcd", SIGCONT)
    wait_until(
        lambda: requests.put(url, data=b"after", timeout=20).status_code == 200, 40, "writes taken again"
    )
