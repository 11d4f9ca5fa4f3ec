"""`shoal up` as a user meets it: its life, its end however it comes, and one sentence for everything in its way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shoal_cli.supervisor.etcd import TEST_ARGUMENTS_VARIABLE
from support.cluster import FAST_ETCD, Cluster, is_alive
from support.workload import wait_until

pytestmark = pytest.mark.slow

SHOAL = [sys.executable, "-m", "shoal_cli"]
ENVIRONMENT = dict(os.environ) | {TEST_ARGUMENTS_VARIABLE: FAST_ETCD}
ANY_PORTS = ["--port", "0", "--grpc-port", "0"]
CHILDREN = {"etcd", "p1", "t1", "g1"}


def shoal(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SHOAL, *arguments],
        env=ENVIRONMENT,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def refused(*arguments: str) -> str:
    """The one sentence with which `shoal up` refuses; the test looks for what it must say."""
    result = shoal("up", *arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("shoal: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@dataclass
class Detached:
    """A cluster of one target and one gateway that `shoal up --detach` left behind."""

    data: Path
    pids: list[int] = field(default_factory=list)

    def up(self) -> None:
        arguments = ["up", "--detach", "--data", str(self.data), "--workers", "1"]
        known = [] if (self.data / "shoal.json").exists() else ANY_PORTS
        result = shoal(*arguments, *known)
        assert result.returncode == 0, result.stdout + result.stderr
        status = self.status()
        self.pids = [status["pid"], *(child["pid"] for child in status["children"])]

    def status(self) -> Any:
        result = shoal("status", "--data", str(self.data), "-o", "json")
        # 1 when a process does not serve at this moment.
        assert result.returncode in (0, 1), result.stderr
        return json.loads(result.stdout)

    def child(self, name: str) -> Any:
        return next(child for child in self.status()["children"] if child["name"] == name)

    def down(self) -> subprocess.CompletedProcess[str]:
        return shoal("down", "--data", str(self.data))

    def all_ended(self) -> bool:
        return not any(is_alive(pid) for pid in self.pids)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With everything in its name that shells stumble over."""
    return tmp_path_factory.mktemp("up") / 'it\'s a "data" $HOME folder'


@pytest.fixture(scope="module")
def detached(folder: Path) -> Iterator[Detached]:
    cluster = Detached(folder)
    cluster.up()
    yield cluster
    cluster.down()


# A cluster that runs


def test_it_serves_as_soon_as_detach_returns_and_status_tells_of_every_process(detached: Detached) -> None:
    status = detached.status()
    assert {child["name"] for child in status["children"]} == CHILDREN
    assert {child["phase"] for child in status["children"]} == {"ready"}
    bucket = urllib.request.Request(
        f"{status['endpoint']}/v1/buckets/first", data=b'{"action":"create-bck"}', method="POST"
    )
    assert urllib.request.urlopen(bucket).status == 200
    url = f"{status['endpoint']}/v1/objects/first/a"
    assert urllib.request.urlopen(urllib.request.Request(url, data=b"x", method="PUT")).status == 200
    assert urllib.request.urlopen(url).read() == b"x"
    table = shoal("status", "--data", str(detached.data)).stdout
    assert all(name in table for name in CHILDREN)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_variables_arrive_in_a_shell_whatever_the_folder_is_called(
    detached: Detached, shell: str
) -> None:
    script = """
        eval "$("$PYTHON" -m shoal_cli env --data "$DATA")"
        printf '%s\\n' "$SHOAL_DATA" "$AIS_ENDPOINT" "$AWS_ENDPOINT_URL" "$SHOAL_GRPC"
        test -r "$SHOAL_CA" && "$PYTHON" -m shoal_cli ls
    """
    environment = ENVIRONMENT | {"PYTHON": sys.executable, "DATA": str(detached.data)}
    result = subprocess.run(
        [shell, "-euc", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    status = detached.status()
    endpoint, address = status["endpoint"], status["grpc_address"]
    assert result.stdout.splitlines()[:4] == [str(detached.data), endpoint, endpoint, address], result.stderr
    assert result.returncode == 0


def serves(detached: Detached, name: str, *, restarts: int) -> bool:
    child = detached.child(name)
    return bool(child["restarts"] == restarts and child["phase"] == "ready")


def test_a_process_that_is_killed_comes_back_and_is_counted(detached: Detached) -> None:
    restarts = detached.child("g1")["restarts"]
    for _ in range(2):
        os.kill(detached.child("g1")["pid"], signal.SIGKILL)
        restarts += 1
        wait_until(partial(serves, detached, "g1", restarts=restarts), 30, "g1 serves again")
    log = (detached.data / "logs" / "supervisor.log").read_text()
    told = [line for line in log.splitlines() if "g1" in line and "SIGKILL" in line]
    assert len(told) == 2
    assert all(re.search(r"restart|again", line) for line in told)


def test_a_second_one_on_the_same_data_is_refused(detached: Detached) -> None:
    assert "runs on" in refused("--data", str(detached.data))
    assert {child["phase"] for child in detached.status()["children"]} == {"ready"}


def test_the_port_of_another_cluster_is_refused_though_both_would_share_it(
    detached: Detached, tmp_path: Path
) -> None:
    port = detached.status()["endpoint"].rpartition(":")[2]
    told = refused("--data", str(tmp_path / "other"), "--port", port, "--grpc-port", "0")
    assert f"port {port} on 127.0.0.1 is taken" in told
    assert "--port" in told
    assert not (tmp_path / "other" / "shoal.json").exists()


def test_after_down_and_up_the_objects_are_there_at_the_same_place(detached: Detached) -> None:
    endpoint = detached.status()["endpoint"]
    urllib.request.urlopen(
        urllib.request.Request(f"{endpoint}/v1/objects/first/kept", data=b"y", method="PUT")
    )
    first = detached.down()
    assert (first.returncode, "keeps the objects" in first.stdout) == (0, True)
    assert detached.all_ended()
    again = detached.down()
    assert (again.returncode, "no cluster runs" in again.stdout + again.stderr) == (0, True)
    assert shoal("status", "--data", str(detached.data)).returncode == 1
    detached.up()
    assert detached.status()["endpoint"] == endpoint
    assert urllib.request.urlopen(f"{endpoint}/v1/objects/first/kept").read() == b"y"


def test_when_the_supervisor_is_killed_every_process_ends(detached: Detached) -> None:
    os.kill(detached.pids[0], signal.SIGKILL)
    wait_until(detached.all_ended, 10, "the end of every process")
    detached.up()
    endpoint = detached.status()["endpoint"]
    assert urllib.request.urlopen(f"{endpoint}/v1/objects/first/a").read() == b"x"


def test_ctrl_c_in_the_foreground_ends_everything_in_order(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster(workers=1)
    pids = [cluster.pid(name) for name in (*CHILDREN, "supervisor")]
    output = cluster.output()
    assert "Shoal is ready" in output
    assert cluster.endpoint in output
    cluster.stop()
    assert not any(is_alive(pid) for pid in pids)
    assert "Traceback" not in cluster.output()


# What is in the way of a start


def test_another_number_of_targets_is_refused(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster(workers=1)
    cluster.stop()
    assert "--targets 1 and cannot become 3" in refused("--data", str(cluster.data), "--targets", "3")


def made_folder(data: Path, **changes: object) -> Path:
    """A data folder as an earlier `shoal up` left it, with something else in its layout."""
    data.mkdir()
    layout: dict[str, object] = {
        "format": 1,
        "cluster_id": "c",
        "targets": 1,
        "ports": {},
        "socket_folder": "",
    }
    (data / "shoal.json").write_text(json.dumps(layout | changes))
    return data


def test_a_folder_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    told = refused("--data", str(made_folder(tmp_path / "data", format=99)))
    assert "format 99" in told


def test_a_layout_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    data = made_folder(tmp_path / "data")
    (data / "shoal.json").write_text("{")
    assert "shoal.json" in refused("--data", str(data))


def test_the_disks_of_another_cluster_are_refused(
    new_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = new_cluster(workers=1)
    cluster.stop()
    layout = json.loads((cluster.data / "shoal.json").read_text())
    layout["cluster_id"] = "00000000-0000-4000-8000-000000000000"
    (cluster.data / "shoal.json").write_text(json.dumps(layout))
    assert layout["cluster_id"] in refused("--data", str(cluster.data))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "choose another with --data" in refused("--data", str(tmp_path / "file"), *ANY_PORTS)


def test_a_port_that_something_else_holds_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        told = refused("--data", str(tmp_path / "data"), "--grpc-port", port, "--port", "0")
        assert f"port {port} on 127.0.0.1 is taken" in told
        assert "--grpc-port" in told


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system of its own can be mounted here")
    with (path / "ballast").open("wb") as file:
        file.write(bytes(900_000))
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_is_refused_and_nothing_is_left_running(full_disk: Path) -> None:
    data = full_disk / "data"
    told = refused("--data", str(data), *ANY_PORTS)
    assert "MiB free" in told
    assert "choose another disk with --data" in told
    # Nothing that was started may still hold the file system.
    assert subprocess.run(["umount", str(full_disk)], check=False).returncode == 0
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(full_disk)], check=True)
