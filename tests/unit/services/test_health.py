"""`shoal-health`: 0 while the process answers, 1 with one sentence when it does not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from support.node import NodeProcess, Nodes


def health(nodes: Nodes, member: str) -> tuple[int, str]:
    ready_file = nodes.folder / "run" / f"{member}.ready"
    command = [sys.executable, "-m", "shoal_core.health", str(ready_file), "--ca", str(nodes.ca)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return result.returncode, result.stderr


def gateway(nodes: Nodes, member: str, address: str = "127.0.0.1:0") -> NodeProcess:
    return nodes._node("shoal_gateway", "gateway", member, {"address": address}).start()


def test_proxies_and_targets_that_serve_are_healthy(shared_nodes: Nodes) -> None:
    assert health(shared_nodes, "p1") == (0, "")
    assert health(shared_nodes, "t1") == (0, "")


def test_a_process_that_does_not_run_is_not_healthy(shared_nodes: Nodes) -> None:
    code, words = health(shared_nodes, "t9")
    assert (code, len(words.splitlines())) == (1, 1)
    assert "t9.ready" in words


def test_a_stopped_proxy_is_not_healthy(own_nodes: Nodes) -> None:
    process = own_nodes.proxy().start().process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    assert health(own_nodes, "p1")[0] == 1
    process.send_signal(signal.SIGCONT)
    assert health(own_nodes, "p1") == (0, "")


def test_of_gateways_at_one_port_the_right_one_is_asked(own_nodes: Nodes) -> None:
    first = gateway(own_nodes, "g1")
    gateway(own_nodes, "g2", address=first.ready["address"])
    assert (health(own_nodes, "g1"), health(own_nodes, "g2")) == ((0, ""), (0, ""))
    first.kill()
    code, words = health(own_nodes, "g1")
    assert (code, "g2" in words) == (1, True)


def test_paths_that_are_wrong_are_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shoal_core.health", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
