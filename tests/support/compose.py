"""docker-compose.yml as plain processes: the same commands and environment, on loopback and in one folder.

What Docker gives by namespaces is given here by renaming: each container's volumes, files and tmpfs become folders,
each service's host name with one of its ports becomes 127.0.0.1 with a free port. Containers that share a network
share those ports, and all share one PID namespace, as each target and its gateway do under Docker.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from support.etcd import etcd_binary, free_ports

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
_ADDRESS = re.compile(r"\b([a-z]+(?:-\d)?|0\.0\.0\.0|localhost):(\d{4,5})\b")

Service = dict[str, Any]


@dataclass(frozen=True)
class ComposeFile:
    """The parsed file, with the defaults of its variables filled in."""

    services: dict[str, Service]
    volumes: dict[str, Any]
    variables: frozenset[str]
    """Names of `${...}`."""

    @staticmethod
    def load(path: Path = COMPOSE_FILE) -> ComposeFile:
        text = path.read_text()
        document = yaml.safe_load(_VARIABLE.sub(lambda match: match[2], text))
        names = frozenset(match[1] for match in _VARIABLE.finditer(text))
        return ComposeFile(document["services"], document["volumes"], names)

    def command(self, name: str) -> list[str]:
        service = self.services[name]
        return [*service.get("entrypoint", ()), *service["command"]]

    def mounts(self, name: str) -> dict[str, str]:
        """Source by the place in the container."""
        pairs = [volume.split(":") for volume in self.services[name].get("volumes", ())]
        return {pair[1]: pair[0] for pair in pairs}

    def host(self, name: str) -> str:
        """Whose network the service is in."""
        mode = str(self.services[name].get("network_mode", ""))
        return mode.removeprefix("service:") if mode.startswith("service:") else name

    def sharing(self, alias: str) -> list[str]:
        """The services that a name of the network stands for."""
        networks = {name: service.get("networks", {}) for name, service in self.services.items()}
        return [
            name for name, given in networks.items() if alias in given.get("default", {}).get("aliases", ())
        ]

    def needed_by(self, name: str, condition: str) -> list[str]:
        needed: dict[str, dict[str, str]] = self.services[name].get("depends_on", {})
        return [other for other, how in needed.items() if how["condition"] == condition]

    def is_one_shot(self, name: str) -> bool:
        return any(name in self.needed_by(other, "service_completed_successfully") for other in self.services)

    def in_starting_order(self) -> Iterator[str]:
        done: set[str] = set()
        waiting = [name for name, service in self.services.items() if "profiles" not in service]
        while waiting:
            ready = [name for name in waiting if set(self.services[name].get("depends_on", ())) <= done]
            assert ready, f"{waiting} wait for each other"
            yield from ready
            done.update(ready)
            waiting = [name for name in waiting if name not in done]


def scripts() -> dict[str, str]:
    """Module by the name of a command that the image has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {name: place.partition(":")[0] for name, place in project["scripts"].items()}


@dataclass
class ComposeProcesses:
    """Start with `start`; leave the block to end all of them."""

    file: ComposeFile = field(default_factory=ComposeFile.load)
    # Not pytest's folder: the paths of sockets are limited to 107 bytes.
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="shoal-")))
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._free_ports = free_ports(32)
        self._ports: dict[tuple[str, str], int] = {}
        self._folders = {name: self._container_folders(name) for name in self.file.services}
        for name in self.file.services:
            self._write_settings(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """In the order of `depends_on`, as Docker does: a service not before those that it waits for are healthy."""
        for name in self.file.in_starting_order():
            self.wait_until_healthy(*self.file.needed_by(name, "service_healthy"))
            if self.file.is_one_shot(name):
                self.run(name)
            elif self.file.command(name)[0] != "sleep":
                self.launch(name)
        self.wait_until_healthy(*self.running)

    def launch(self, name: str) -> None:
        command = self._command(name, self.file.command(name))
        with self._log(name).open("ab") as output:
            self.running[name] = subprocess.Popen(
                command, env=self.environment(name), stdout=output, stderr=output
            )

    def run(self, name: str, *words: str, stdin: bytes = b"") -> bytes:
        """A service that ends by itself, with `words` instead of its command; returns what it printed."""
        command = [*self.file.services[name].get("entrypoint", ()), *words]
        result = self._finished(name, command if words else self.file.command(name), stdin)
        assert result.returncode == 0, f"{name}: {result.stderr.decode()}"
        return result.stdout

    def is_healthy(self, name: str) -> bool:
        """By the service's own check."""
        return self._finished(name, self.file.services[name]["healthcheck"]["test"][1:]).returncode == 0

    def wait_until_healthy(self, *names: str) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        for name in names:
            while not self.is_healthy(name):
                assert self.running[name].poll() is None, f"{name} ended: {self.log(name)}"
                assert time.monotonic() < deadline, f"{name} is not healthy: {self.log(name)}"
                time.sleep(0.1)

    def stop(self) -> dict[str, int]:
        """Exit code by service; those that depend on others end before them."""
        codes: dict[str, int] = {}
        while left := [name for name in self.running if name not in codes]:
            needed = {other for name in left for other in self.file.needed_by(name, "service_healthy")}
            ending = [name for name in left if name not in needed]
            for name in ending:
                self.running[name].terminate()
            codes |= {name: self.running[name].wait(STOP_SECONDS_MAX) for name in ending}
        return codes

    def address(self, host: str, port: int | str) -> str:
        """Where that port of a service is here; those who share a network share it."""
        key = (self.file.host(host), str(port))
        if key not in self._ports:
            self._ports[key] = self._free_ports.pop()
        return f"127.0.0.1:{self._ports[key]}"

    def log(self, name: str) -> str:
        return self._log(name).read_text()[-2000:]

    def here(self, name: str, text: str) -> str:
        """A word or a file of the container with its paths and addresses as they are here."""

        def address(match: re.Match[str]) -> str:
            host = name if match[1] in ("localhost", "0.0.0.0") else match[1]
            if sharing := self.file.sharing(host):
                # In a list of strings, where one name stands for many addresses.
                return '", "'.join(self.address(each, match[2]) for each in sharing)
            return self.address(host, match[2]) if host in self.file.services else match[0]

        folders = self._folders[name]
        if folders:
            inside = re.compile("|".join(rf"{re.escape(place)}(?![\w-])" for place in folders))
            text = inside.sub(lambda match: str(folders[match[0]]), text)
        return _ADDRESS.sub(address, text)

    def environment(self, name: str) -> dict[str, str]:
        """Only what the file says: a container sees nothing of the machine's own."""
        given: dict[str, str] = self.file.services[name].get("environment", {})
        kept = {"PATH": os.environ["PATH"], "ETCD_UNSAFE_NO_FSYNC": "true"}
        return kept | {key: self.here(name, value) for key, value in given.items()}

    def _finished(
        self, name: str, command: list[str], stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._command(name, command),
            env=self.environment(name),
            input=stdin,
            capture_output=True,
            timeout=START_SECONDS_MAX,
            check=False,
        )

    def _command(self, name: str, command: list[str]) -> list[str]:
        program, *words = command
        module = scripts().get(program)
        binary = str(Path(etcd_binary()).parent / Path(program).name)
        return [
            *([sys.executable, "-m", module] if module else [binary]),
            *(self.here(name, word) for word in words),
        ]

    def _container_folders(self, name: str) -> dict[str, Path]:
        """Folder here by folder in the container, all of them made, as Docker makes volumes."""
        folders = {}
        for inside, source in self.file.mounts(name).items():
            folders[inside] = self.folder / (f"settings-{name}" if source.startswith("./") else source)
        for temporary in self.file.services[name].get("tmpfs", ()):
            inside = temporary.partition(":")[0]
            # Words that are translated already begin with it.
            if inside != "/tmp":
                folders[inside] = self.folder / f"run-{name}"
        for folder in folders.values():
            folder.mkdir(mode=0o700, exist_ok=True)
        return folders

    def _write_settings(self, name: str) -> None:
        for inside, source in self.file.mounts(name).items():
            for path in (ROOT / source).glob("*.toml") if source.startswith("./") else ():
                (self._folders[name][inside] / path.name).write_text(self.here(name, path.read_text()))

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"
