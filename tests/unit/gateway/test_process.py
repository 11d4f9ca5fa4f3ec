"""The gateway as a process: how it starts, what it says when it cannot, how it ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.node import Nodes


@pytest.fixture
def idle_nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Nothing runs but what the test starts."""
    with Nodes(tmp_path) as nodes:
        yield nodes


def test_a_taken_port_is_one_sentence(idle_nodes: Nodes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = idle_nodes.gateway("g1", address=f"127.0.0.1:{taken.getsockname()[1]}")
        process.launch()
        assert process.exit_code() == 2
    assert process.log().startswith("shoal-gateway: cannot listen on 127.0.0.1:")
    assert len(process.log().splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"adress": "127.0.0.1:0"}, "address"),
        ({"address": "0.0.0.0:0"}, "loopback"),
        ({"address": "0.0.0.0:0", "redirect_clients": True}, "redirect_clients"),
        ({"requests_max": "x"}, "requests_max"),
    ],
)
def test_a_wrong_setting_is_one_sentence(idle_nodes: Nodes, settings: dict[str, object], words: str) -> None:
    process = idle_nodes.gateway("g1", **settings)
    process.launch()
    assert process.exit_code() == 2
    assert words in process.log()
    assert len(process.log().splitlines()) == 1


def test_beyond_loopback_it_needs_the_word_insecure(idle_nodes: Nodes) -> None:
    idle_nodes.etcd.start()
    # Not among the names of loopback, but all the same an address of it: tests stay on this host.
    process = idle_nodes.gateway("g1", address="127.1:0", insecure_anonymous=True).start()
    url = f"{process.ready['http_url']}/v1/buckets"
    assert requests.get(url, timeout=10).json() == []
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=10).status_code == 403
    assert process.stop() == 0


def test_a_gateway_without_a_target_serves_and_stops_cleanly(idle_nodes: Nodes) -> None:
    idle_nodes.etcd.start()
    process = idle_nodes.gateway("g1").start()
    url = process.ready["http_url"]
    assert requests.get(f"{url}/v1/health", timeout=10).status_code == 503
    assert requests.get(f"{url}/v1/buckets", timeout=10).json() == []
    answer = requests.post(f"{url}/v1/buckets/b", json={"action": "create-bck"}, timeout=10)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert process.stop() == 0
    assert "Traceback" not in process.log()


def test_two_workers_share_a_port_and_one_goes_on_without_the_other(idle_nodes: Nodes) -> None:
    idle_nodes.etcd.start()
    first = idle_nodes.gateway("g1").start()
    second = idle_nodes.gateway("g2", address=first.ready["address"]).start()
    assert first.stop() == 0
    for _ in range(5):
        assert requests.get(f"{second.ready['http_url']}/v1/buckets", timeout=10).status_code == 200
    assert second.stop() == 0
