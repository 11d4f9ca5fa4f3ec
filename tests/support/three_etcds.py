"""`shoal up` with an etcd of three members: its own, and two that the test adds, kills and starts again."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Self

from shoal_cli.supervisor.etcd import find_etcd, member_options
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import read_layout
from shoal_core.certificates import ClusterAuthority, TlsFiles
from support.cluster import FAST_ETCD, Cluster
from support.etcd import free_ports
from support.workload import wait_until

FIRST = "etcd"
OTHERS = ("etcd2", "etcd3")
START_SECONDS_MAX = 60


@dataclass
class ThreeEtcds:
    """Use as `with`, on a cluster that runs."""

    cluster: Cluster
    ports: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of clients and of peers."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        layout = read_layout(self._folder)
        assert layout is not None
        self.ports[FIRST] = layout.ports["etcd-client"], layout.ports["etcd-peer"]
        authority = ClusterAuthority.load(self._folder.authority)
        ports = free_ports(4)
        for name, client, peer in zip(OTHERS, ports[:2], ports[2:], strict=True):
            authority.issue(self._folder.certificates(name), "etcd", name)
            # etcd wants to see its members well for some seconds before it takes another.
            wait_until(partial(self._has_added, name, peer), START_SECONDS_MAX, f"{name} is a member")
            self.ports[name] = client, peer
            self.start(name)
            wait_until(partial(self.is_healthy, name), START_SECONDS_MAX, f"{name} answers")
        endpoints = [f"127.0.0.1:{client}" for client, _ in self.ports.values()]
        services = [child.name for child in self.cluster.state.children if child.name != FIRST]
        self.cluster.start_with(services, etcd_endpoints=endpoints)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)

    def start(self, name: str) -> None:
        """Returns at once: it answers when a majority does."""
        command = self._command(name)
        with (self._folder.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(SIGKILL)
        process.wait()

    def leader(self) -> str:
        """Raises AssertionError while there is none."""
        for name in self.ports:
            answer = self._run("endpoint", "status", "--write-out=json", at=name)
            if answer.returncode == 0:
                status = json.loads(answer.stdout)[0]["Status"]
                if status["leader"] == status["header"]["member_id"]:
                    return name
        raise AssertionError("etcd has no leader")

    def is_healthy(self, name: str) -> bool:
        return self._run("endpoint", "health", at=name).returncode == 0

    def _has_added(self, name: str, peer: int) -> bool:
        answer = self._run("member", "add", name, f"--peer-urls=https://127.0.0.1:{peer}", at=FIRST)
        return answer.returncode == 0

    def _run(self, *arguments: str, at: str) -> subprocess.CompletedProcess[str]:
        tls = TlsFiles.node(self._folder.certificates("supervisor"))
        command = [str(Path(find_etcd()).with_name("etcdctl")), *arguments]
        command += [f"--endpoints=https://127.0.0.1:{self.ports[at][0]}", f"--cacert={tls.ca}"]
        command += [f"--cert={tls.certificate}", f"--key={tls.key}", "--command-timeout=5s"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    def _command(self, name: str) -> list[str]:
        options = member_options(name, self._folder, self.ports) | {"initial-cluster-state": "existing"}
        return [find_etcd(), *(f"--{option}={value}" for option, value in options.items()), FAST_ETCD]

    @property
    def _folder(self) -> DataFolder:
        return DataFolder(self.cluster.data)
