"""Real proxy and target processes around a real etcd with mutual TLS, for tests of the services."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc
import grpc.aio

from shoal_core.certificates import ClusterAuthority, TlsFiles
from shoal_core.etcd.connection import TlsFiles as EtcdTlsFiles
from support.etcd import EtcdServer

CLUSTER_ID = "test-cluster"
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 12.0


class NodeProcess:
    """One service process that can be killed and started again with the same configuration."""

    def __init__(self, module: str, config: Path, ready_file: Path, log: Path) -> None:
        self._command = [sys.executable, "-m", module, "--config", str(config)]
        self._ready_file = ready_file
        self._log = log
        self._foreign = False
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, str] = {}

    def on_host(self, prefix: Sequence[str]) -> NodeProcess:
        """Started by these words in front of its own; what they start knows itself by another process id."""
        self._command = [*prefix, *self._command]
        self._foreign = bool(prefix)
        return self

    def start(self) -> NodeProcess:
        self.launch()
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.running:
            if self._is_ready():
                return self
            time.sleep(0.02)
        raise AssertionError(f"{self._command} did not become ready: {self.log()[-3000:]}")

    def launch(self) -> None:
        """Start it without waiting."""
        assert not self.running
        self._ready_file.unlink(missing_ok=True)
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(self._command, stdout=output, stderr=output)

    def exit_code(self) -> int:
        """Of a process that ends by itself."""
        assert self.process is not None
        return self.process.wait(START_SECONDS_MAX)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def _is_ready(self) -> bool:
        assert self.process is not None
        try:
            self.ready = json.loads(self._ready_file.read_text())
        except FileNotFoundError:
            return False
        return self._foreign or int(self.ready["pid"]) == self.process.pid


@dataclass
class Nodes:
    """The processes of one cluster, in one folder."""

    folder: Path
    authority: ClusterAuthority = field(init=False)
    etcd: EtcdServer = field(init=False)
    processes: dict[str, NodeProcess] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.authority = ClusterAuthority.create(self.folder / "ca", CLUSTER_ID)
        files = self.tls("etcd", "e0")
        assert files.certificate is not None
        assert files.key is not None
        etcd_folder = self.folder / "etcd"
        etcd_folder.mkdir()
        self.etcd = EtcdServer(etcd_folder, tls=EtcdTlsFiles(files.ca, files.certificate, files.key))
        # Socket paths are limited to 107 bytes, and pytest's folders are long.
        self._sockets = tempfile.TemporaryDirectory(prefix="shoal-")

    @property
    def ca(self) -> Path:
        return self.folder / "ca" / "ca.pem"

    def tls(self, role: str, member_id: str) -> TlsFiles:
        """The certificate of a node, issued on first use."""
        folder = self.folder / "certificates" / member_id
        if not folder.exists():
            self.authority.issue(folder, role, member_id)
        return TlsFiles.node(folder)

    def proxy(self, member_id: str = "p1", **settings: object) -> NodeProcess:
        return self._node("shoal_proxy", "proxy", member_id, {"public_address": "127.0.0.1:0", **settings})

    def target(self, member_id: str = "t1", **settings: object) -> NodeProcess:
        mountpaths = [{"id": name, "path": str(self.folder / member_id / name)} for name in ("mp1", "mp2")]
        defaults: dict[str, object] = {
            "public_address": "127.0.0.1:0",
            "unix_socket": f"{self._sockets.name}/{member_id}.sock",
            "mountpaths": mountpaths,
            "lease_seconds": 3,
        }
        for mountpath in mountpaths:
            Path(mountpath["path"]).mkdir(parents=True, exist_ok=True)
        return self._node("shoal_target", "target", member_id, {**defaults, **settings})

    def gateway(self, member_id: str = "g1", **settings: object) -> NodeProcess:
        return self._node("shoal_gateway", "gateway", member_id, {"address": "127.0.0.1:0", **settings})

    def channel_to(self, address: str) -> grpc.aio.Channel:
        """What a plain stub in any language needs: an address and the authority's certificate."""
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(self.ca.read_bytes()))

    def channel(self, member_id: str) -> grpc.aio.Channel:
        """To the public listener of a process that runs."""
        return self.channel_to(self.processes[member_id].ready["public_address"])

    def chunk_files(self, target: str = "t1") -> list[Path]:
        return list((self.folder / target).glob("mp*/data/*/*"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in self.processes.values():
            process.kill()
        self.etcd.kill()
        self._sockets.cleanup()

    def _node(self, module: str, role: str, member_id: str, settings: dict[str, object]) -> NodeProcess:
        self.tls(role, member_id)
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        shared: dict[str, object] = {
            "id": member_id,
            "cluster_id": CLUSTER_ID,
            "etcd_endpoints": [self.etcd.endpoint],
            "certificate_folder": str(self.folder / "certificates" / member_id),
            "state_folder": str(self.folder / "state" / member_id),
            "ready_file": str(run / f"{member_id}.ready"),
        }
        config = run / f"{member_id}.toml"
        config.write_text(toml(shared | settings))
        process = NodeProcess(module, config, run / f"{member_id}.ready", run / f"{member_id}.log")
        self.processes[member_id] = process
        return process


def toml(settings: dict[str, object]) -> str:
    """JSON's strings, numbers and lists are TOML's; tables are not."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not is_tables(value)]
    for key, value in settings.items():
        for table in value if is_tables(value) and isinstance(value, list) else ():
            lines += [f"[[{key}]]", *(f"{name} = {json.dumps(each)}" for name, each in table.items())]
    return "\n".join(lines) + "\n"


def is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
