"""OpenStack Swift from Debian's packages: its four servers on one folder, one replica, asked through its S3 API."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import which

from shoal_bench.presign import Signer
from shoal_bench.systems import Running, answers, free_ports, started, wait_until

STORES = ("account", "container", "object")
USER, KEY = "bench:admin", "S" * 40

STORE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = {workers}
user = root
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 2
user = root
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
check_bucket_owner = false
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:slo]
use = egg:swift#slo
[filter:tempauth]
use = egg:swift#tempauth
user_bench_admin = {key} .admin
"""


@contextmanager
def swift(folder: Path) -> Iterator[Running]:
    """With memcached, which its tempauth needs; without replicators and auditors. It syncs what it acknowledges."""
    folder.mkdir(parents=True)
    port, memcached, *ports = free_ports(2 + len(STORES))
    commands = [store_command(folder, kind, each) for kind, each in zip(STORES, ports, strict=True)]
    configuration = folder / "proxy-server.conf"
    configuration.write_text(PROXY.format(port=port, memcached=memcached, folder=folder, key=KEY))
    commands += [f"swift-proxy-server {configuration}", f"memcached -u root -l 127.0.0.1 -p {memcached}"]
    # One shell is the root of all of them, so that their CPU is summed and one signal ends them.
    script = "trap 'kill $(jobs -p); wait' INT TERM; " + " ".join(f"{each} &" for each in commands) + " wait"
    with started(["bash", "-c", script], folder.parent / "swift.log") as process:
        signer = Signer(f"http://127.0.0.1:{port}", USER, KEY, "us-east-1")
        # The proxy remembers for a while what the others did not tell it.
        for each in (*ports, port):
            wait_until(partial(answers, f"http://127.0.0.1:{each}"), "Swift serves")
        yield Running("swift", signer, process.pid)


def store_command(folder: Path, kind: str, port: int) -> str:
    (folder / "devices" / "disk").mkdir(parents=True, exist_ok=True)
    builder = str(folder / f"{kind}.builder")
    for arguments in (
        ["create", "6", "1", "1"],
        ["add", f"r1z1-127.0.0.1:{port}/disk", "1"],
        ["rebalance"],
    ):
        subprocess.run(["swift-ring-builder", builder, *arguments], check=True, capture_output=True)
    configuration = folder / f"{kind}-server.conf"
    configuration.write_text(STORE.format(port=port, workers=2, folder=folder, kind=kind))
    return f"swift-{kind}-server {configuration}"


def is_installed() -> bool:
    return all(map(which, ("memcached", *(f"swift-{kind}-server" for kind in (*STORES, "proxy")))))
