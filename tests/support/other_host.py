"""Two hosts on one machine: processes in a PID namespace of their own are on another host by `shoal_core.host`."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import requests

from support.node import NodeProcess, Nodes
from support.workload import wait_until

START_SECONDS_MAX = 20.0
# A user namespace too, so that it needs no root.
KINDS = ("--user", "--pid", "--mount")
HOLDER = ("unshare", "--map-root-user", *KINDS, "--fork", "--mount-proc", "--kill-child", "sleep", "infinity")


def can_make_hosts() -> bool:
    """Not in a container that may make no namespaces."""
    words = [*HOLDER[: HOLDER.index("sleep")], "true"]
    try:
        return subprocess.run(words, capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        return False


class OtherHost:
    """Its processes begin with the words of `prefix`, and end with the block."""

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(HOLDER)
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        wait_until(lambda: children.read_text() != "", START_SECONDS_MAX, "a process in the namespace")
        first = children.read_text().strip()
        self.prefix = ("nsenter", "--target", first, *KINDS, "--preserve-credentials")
        return self

    def __exit__(self, *_exception: object) -> None:
        self._holder.kill()
        self._holder.wait()


@dataclass
class TwoHosts:
    """`t1` and `g1` here, `t2` and `g2` on the other host; `g1` and `g2` redirect. Use it as a context manager."""

    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with self.stack as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shoal-test-")))
            self.nodes = stack.enter_context(Nodes(folder))
            there = stack.enter_context(OtherHost())
            self.nodes.etcd.start()
            self.nodes.proxy().start()
            self.nodes.target("t1").start()
            self.nodes.target("t2").on_host(there.prefix).start()
            for gateway, prefix in (("g1", ()), ("g2", there.prefix)):
                self.nodes.gateway(gateway, redirect_clients=True).on_host(prefix).start()
            self._wait_until_redirecting()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stack.close()

    @property
    def endpoint(self) -> str:
        """Of the gateway of this host."""
        return self.url("g1")

    def url(self, gateway: str) -> str:
        return self.process(gateway).ready["http_url"]

    def process(self, member_id: str) -> NodeProcess:
        return self.nodes.processes[member_id]

    def redirects(self, gateway: str) -> bool:
        """Of some object it does, whoever owns how many of them."""
        urls = (f"{self.url(gateway)}/v1/objects/probe/{number}" for number in range(30))
        return any(requests.get(url, allow_redirects=False, timeout=10).status_code == 307 for url in urls)

    def _wait_until_redirecting(self) -> None:
        """A gateway gets its key and learns of the others beside its start."""
        url = f"{self.endpoint}/v1/buckets/probe"
        requests.post(url, json={"action": "create-bck"}, timeout=10).raise_for_status()
        for gateway in ("g1", "g2"):
            wait_until(partial(self.redirects, gateway), START_SECONDS_MAX, f"redirects of {gateway}")
