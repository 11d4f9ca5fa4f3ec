"""What the `ais` CLI reads and orders of a cluster, as the plain requests that it sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from aistore import Client
from aistore.sdk.bucket import Bucket

Read = Callable[..., Any]


@pytest.fixture
def read(endpoint: str) -> Read:
    """The JSON of a read that must work."""

    def ask(path: str, what: str, node: str = "") -> Any:
        headers = {"Ais-Node-Id": node} if node else {}
        answer = requests.get(f"{endpoint}/v1/{path}", params={"what": what}, headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


def order(endpoint: str, action: str, value: Any = None) -> requests.Response:
    message = {"action": action, "name": "", "value": value}
    return requests.put(f"{endpoint}/v1/cluster", json=message, timeout=20)


def test_every_read_of_a_node_is_answered(read: Read) -> None:
    smap = read("daemon", "smap")
    for node in [*smap["pmap"], *smap["tmap"]]:
        for what in ("smap", "bmd", "config", "snode", "sysinfo", "node_status", "node_stats", "mountpaths",
                     "metrics", "disk", "software_version"):  # fmt: skip
            assert isinstance(read("reverse/daemon", what, node), dict), what
    for what in ("snode", "node_status", "bmd", "sysinfo", "config"):
        assert read("daemon", what)
    target = next(iter(smap["tmap"]))
    status = read("reverse/daemon", "node_status", target)
    assert status["cluster"]["smap"]["uuid"] == smap["uuid"]
    machine = read("reverse/daemon", "sysinfo", target)
    assert 0 < int(machine["fs_used"]) < int(machine["fs_capacity"])


def test_every_read_of_the_cluster_is_answered(read: Read) -> None:
    targets = set(read("daemon", "smap")["tmap"])
    assert set(read("cluster", "sysinfo")["target"]) == targets
    assert set(read("cluster", "node_stats")["target"]) == targets
    assert set(read("cluster", "mountpaths")["targets"]) == targets
    assert read("cluster", "backends") == []
    assert read("cluster", "remote") == {"a": []}
    assert read("cluster", "cluster_config")["auth"]["enabled"] is False


@pytest.fixture
def settings(endpoint: str) -> Iterator[Callable[[Any], requests.Response]]:
    """Changes the cluster's settings, which go back to what they were."""
    yield lambda value: order(endpoint, "set-config", value)
    assert order(endpoint, "reset-config").status_code == 200


def test_new_buckets_have_what_the_cluster_is_set_to(
    client: Client, endpoint: str, read: Read, bucket: Bucket, settings: Callable[[Any], requests.Response]
) -> None:
    assert settings({"checksum": {"type": "sha256"}, "versioning": {"enabled": True}}).status_code == 200
    query = {"chunks.objsize_limit": "8MiB", "versioning.enabled": "false"}
    assert requests.put(f"{endpoint}/v1/cluster/set-config", params=query, timeout=10).status_code == 200
    shown = read("cluster", "cluster_config")
    assert (shown["checksum"]["type"], shown["chunks"]["objsize_limit"]) == ("sha256", "8MiB")
    made = client.bucket(f"{bucket.name}-made").create()
    assert properties(made)["checksum"]["type"] == "sha256"
    assert properties(made)["versioning"]["enabled"] is False
    assert properties(bucket)["checksum"]["type"] == "xxhash2"
    made.delete()


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"checksum": {"type": "none-such"}}, 400),
        ({"chunks": {"chunk_size": "1KiB"}}, 400),
        ({"mirror": {"enabled": True}}, 501),
        ({"nonsense": {"a": 1}}, 501),
        ({"mirror": {"enabled": False}, "checksum": {"type": "xxhash2"}}, 200),
        (None, 400),
    ],
)
def test_settings_that_cannot_be_are_refused(
    settings: Callable[[Any], requests.Response], value: Any, status: int
) -> None:
    assert settings(value).status_code == status


def properties(bucket: Bucket) -> dict[str, Any]:
    shown = json.loads(bucket.head()["Ais-Bucket-Props"])
    assert isinstance(shown, dict)
    return shown


def test_a_bucket_takes_back_the_properties_that_it_shows(endpoint: str, bucket: Bucket) -> None:
    shown = properties(bucket)
    given = {name: value for name, value in shown.items() if name not in ("provider", "bid", "created")}
    message: Any = {"action": "set-bprops", "value": given}
    answer = requests.patch(f"{endpoint}/v1/buckets/{bucket.name}", json=message, timeout=10)
    assert answer.status_code == 200, answer.text
    assert properties(bucket) == shown


def test_logs_can_be_rotated(client: Client, endpoint: str) -> None:
    node = next(iter(client.cluster().get_info().tmap))
    before = client.cluster().get_node_log(node)
    assert '"event": ' in before  # which events depends on who rotated it before
    assert order(endpoint, "rotate-logs").status_code == 200
    assert before.splitlines()[0] not in client.cluster().get_node_log(node)


@pytest.mark.parametrize(
    ("action", "value", "status"),
    [
        ("start-maintenance", {"sid": "t99", "skip_rebalance": True}, 404),
        ("start-maintenance", {"sid": "g1", "skip_rebalance": True}, 404),
        ("start-maintenance", {"sid": "t1"}, 501),
        ("start-maintenance", {"sid": "p1"}, 409),
        ("decommission-node", {"sid": "t1"}, 501),
        ("shutdown", None, 501),
        ("nonsense", None, 400),
    ],
)
def test_orders_that_cannot_be_carried_out_say_so(
    endpoint: str, action: str, value: Any, status: int
) -> None:
    answer = order(endpoint, action, value)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_a_target_in_maintenance_serves_what_it_has_and_takes_nothing_new(
    client: Client, endpoint: str, bucket: Bucket
) -> None:
    names = [f"o{number}" for number in range(40)]
    for name in names:
        bucket.object(name).get_writer().put_content(name.encode())
    value = {"sid": "t1", "skip_rebalance": True}
    answer = order(endpoint, "start-maintenance", value)
    targets = client.cluster().get_info().tmap
    if len(targets) == 1:
        assert answer.status_code == 409
        return
    try:
        assert answer.status_code == 200, answer.text
        assert client.cluster().get_info().tmap["t1"].flags == 1 << 2
        assert [bucket.object(name).get_reader().read_all() for name in names] == [n.encode() for n in names]
        url = f"{endpoint}/v1/objects/{bucket.name}/"
        put = {name: requests.put(url + name, data=b"new", timeout=10) for name in names}
        assert {each.status_code for each in put.values()} == {200, 503}
        refused = next(name for name in names if put[name].status_code == 503)
        assert "t1 is in maintenance" in put[refused].json()["message"]
        assert requests.delete(url + refused, timeout=10).status_code in (200, 204)
    finally:
        assert order(endpoint, "stop-maintenance", value).status_code == 200
    assert client.cluster().get_info().tmap["t1"].flags == 0
    bucket.object(refused).get_writer().put_content(b"back")
