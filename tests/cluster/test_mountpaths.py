"""A disk is disabled and enabled by the real command line, while clients read and write what is elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import requests
from aistore import Client

from support.cluster import Cluster
from support.workload import wait_until

pytestmark = pytest.mark.slow

NAMES = [f"o-{number:02}" for number in range(32)]
COMMAND_SECONDS_MAX = 120


def shoal(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shoal_cli", "mountpath", *arguments],
        env=cluster.environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )


def answered(cluster: Cluster, *arguments: str) -> list[dict[str, Any]]:
    finished = shoal(cluster, *arguments, "-o", "json")
    assert finished.returncode == 0, finished.stderr
    return [json.loads(line) for line in finished.stdout.splitlines()]


def url(cluster: Cluster, name: str) -> str:
    return f"{cluster.endpoint}/v1/objects/disks/{name}"


def fill(cluster: Cluster) -> None:
    Client(cluster.endpoint).bucket("disks").create()
    for number, name in enumerate(NAMES):
        body = name.encode() * (1 if number % 2 else 10_000)
        requests.put(url(cluster, name), data=body, timeout=60).raise_for_status()


def got(cluster: Cluster, name: str) -> requests.Response:
    """Asked again while a gateway has not heard yet that the target is back."""
    answers = []

    def is_final() -> bool:
        answers.append(requests.get(url(cluster, name), timeout=60))
        return "ErrOwnerUnreachable" not in answers[-1].text

    wait_until(is_final, 120, "gateways see the target again")
    return answers[-1]


def refused(cluster: Cluster) -> set[str]:
    """Names that are refused; all others are read whole."""
    found = set()
    for number, name in enumerate(NAMES):
        answer = got(cluster, name)
        if answer.status_code == 503:
            assert "mountpath mp1 of target t1" in answer.text
            assert "shoal mountpath enable t1 mp1" in answer.text
            found.add(name)
        else:
            assert answer.content == name.encode() * (1 if number % 2 else 10_000)
    return found


def test_a_disabled_mountpath_is_refused_by_all_processes_and_comes_back(
    new_cluster: Callable[..., Cluster],
) -> None:
    cluster = new_cluster(targets=1)
    fill(cluster)
    assert refused(cluster) == set()
    assert {each["state"] for each in answered(cluster, "ls")} == {"available"}

    (changed,) = answered(cluster, "disable", "t1", "mp1")
    assert (changed["state"], changed["reason"]) == ("disabled", "by an operator")
    away = refused(cluster)
    assert away
    assert away < set(NAMES)
    written = {name for name in NAMES if requests.put(url(cluster, f"new-{name}"), data=b"x", timeout=60).ok}
    assert written
    assert written < set(NAMES)

    cluster.kill("t1")
    cluster.wait_ready()
    assert refused(cluster) == away
    states = {each["mountpath"]: each["state"] for each in answered(cluster, "ls", "t1")}
    assert states == {"mp1": "disabled", "mp2": "available"}

    (changed,) = answered(cluster, "enable", "t1", "mp1")
    assert changed["state"] == "available"
    assert refused(cluster) == set()
    assert {each["state"] for each in answered(cluster, "ls")} == {"available"}


def test_what_the_command_line_says_of_mountpaths_that_are_not_there(cluster: Cluster) -> None:
    for arguments, said in (
        (("disable", "t9", "mp1"), "there is no target 't9'"),
        (("enable", "t1", "mp9"), "has no mountpath 'mp9'"),
        (("ls", "t9"), "there is no target 't9'"),
    ):
        finished = shoal(cluster, *arguments)
        assert finished.returncode == 1
        assert said in finished.stderr


def test_aistores_own_requests_disable_and_enable_a_mountpath(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster(targets=1)
    path = str(next(path for path in cluster.mountpaths() if "mp1" in path.parts))
    address, header = f"{cluster.endpoint}/v1/reverse/daemon", {"Ais-Node-Id": "t1"}

    def order(action: str) -> requests.Response:
        message = {"action": action, "value": path}
        return requests.post(f"{address}/mountpaths", json=message, headers=header, timeout=60)

    def shown() -> Any:
        return requests.get(f"{address}?what=mountpaths", headers=header, timeout=60).json()

    assert path in shown()["available"]
    assert order("disable-mp").status_code == 200
    assert shown()["disabled"] == [path]
    assert order("enable-mp").status_code == 200
    assert shown()["disabled"] == []
    assert order("fshc-mp").status_code == 501


def test_a_target_that_died_of_a_torn_index_comes_back_without_that_disk(
    new_cluster: Callable[..., Cluster],
) -> None:
    cluster = new_cluster(targets=1, local_reads=False)
    Client(cluster.endpoint).bucket("disks").create()
    names = [f"o-{number}" for number in range(120)]
    for name in names:
        requests.put(url(cluster, name), data=b"x" * 12_000, timeout=60).raise_for_status()
    torn = next(path for path in cluster.mountpaths() if "mp1" in path.parts)
    os.truncate(torn / "index" / "data.mdb", 64 << 10)

    def is_left_out() -> bool:
        for name in names:
            answer = requests.get(url(cluster, name), timeout=60)
            if "ErrMountpathUnavailable" in answer.text:
                return "mountpath mp1 of target t1" in answer.text
        return False

    wait_until(is_left_out, 300, "the target is back without the torn disk")
    assert cluster.restarts("t1") >= 1
    assert len([name for name in names if got(cluster, name).ok]) > 0
    states = {each["mountpath"]: each["state"] for each in answered(cluster, "ls", "t1")}
    assert states == {"mp1": "failed", "mp2": "available"}
