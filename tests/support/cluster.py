"""A real local cluster for tests: what `shoal up` starts, in a temporary folder, on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Any, Self

from shoal_cli.environment import variables
from shoal_cli.supervisor.etcd import TEST_ARGUMENTS_VARIABLE
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import read_layout
from shoal_cli.supervisor.parenthood import start_bound_process
from shoal_cli.supervisor.state import ClusterState, Phase, read_state
from support.workload import wait_until

READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 45.0
# Fsync would only make the shared machine slower: no test takes the power away from etcd.
FAST_ETCD = "--unsafe-no-fsync"
FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"


class Cluster:
    """`shoal up` as a child process that ends with the tests. Processes are named etcd, p1, t1.., g1.., supervisor."""

    def __init__(
        self,
        data: Path,
        *,
        targets: int = 1,
        local_reads: bool = True,
        workers: int = 2,
        settings: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> None:
        """`settings` are variables that override those of the configuration; `under`: a command that runs it all."""
        self.data = data
        self.targets = targets
        self._settings = dict(settings or {})
        self._under = list(under)
        self._arguments = ["up", "--data", str(data), "--targets", str(targets), "--workers", str(workers)]
        self._arguments += ["--port", "0", "--grpc-port", "0"]
        self._arguments += ["--local-reads" if local_reads else "--no-local-reads"]
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._killed: dict[str, int] = {}
        self._last_state: ClusterState | None = None

    @classmethod
    def temporary(cls, **options: Any) -> Self:
        """In a new folder with a short path; `remove()` takes it away."""
        data = Path(tempfile.mkdtemp(prefix="shoal-test-"))
        return cls(data, **options)

    # What is where

    @property
    def state(self) -> ClusterState:
        """As the supervisor last wrote it; also while it is killed or stopped."""
        state = read_state(self._folder.state_file) or self._last_state
        assert state is not None, f"the cluster was never started: {self.output()}"
        self._last_state = state
        return state

    @property
    def endpoint(self) -> str:
        return self.state.endpoint

    @property
    def grpc_address(self) -> str:
        return self.state.grpc_address

    @property
    def ca(self) -> Path:
        return Path(self.state.ca)

    def environment(self) -> dict[str, str]:
        """For commands: this process's variables and those of `shoal env`."""
        return dict(os.environ) | variables(self.state)

    def pid(self, name: str) -> int:
        """0 while that process does not run."""
        if name == "supervisor":
            assert self._supervisor is not None
            return self._supervisor.pid
        return next(child.pid for child in self.state.children if child.name == name)

    def restarts(self, name: str) -> int:
        return next(child.restarts for child in self.state.children if child.name == name)

    def log(self, name: str) -> str:
        path = self._folder.log(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def output(self) -> str:
        """What the supervisor printed."""
        path = self._output_file
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def promote_folder(self) -> Path:
        """Whose files the gateways may promote."""
        return self._output_file.parent / "promote"

    def mountpaths(self) -> list[Path]:
        layout = read_layout(self._folder)
        assert layout is not None, f"the cluster was never started: {self.output()}"
        targets = layout.target_names()
        return [path for target in targets for path in layout.mountpaths_of(self._folder, target).values()]

    def leftovers(self) -> list[Path]:
        """Unfinished writes under `tmp/<process>/`, and folders of processes that are gone."""
        folders = [folder for path in self.mountpaths() for folder in (path / "tmp").glob("*")]
        # `walk` passes over a folder that is swept meanwhile, `rglob` does not.
        found = [
            Path(place, file) for folder in folders for place, _, files in os.walk(folder) for file in files
        ]
        files = [path for path in found if is_unfinished(path)]
        return files + [folder for folder in folders if not is_alive(int(folder.name.split("-")[0]))]

    def chunk_files(self) -> set[Path]:
        return {file for path in self.mountpaths() for file in (path / "data").glob("??/*")}

    # Life and death

    def launch(self) -> Self:
        """Start without waiting."""
        assert self._supervisor is None or self._supervisor.poll() is not None
        command = [*self._under, sys.executable, "-m", "shoal_cli", *self._arguments]
        self.promote_folder.mkdir(exist_ok=True)
        environment = dict(os.environ) | {
            TEST_ARGUMENTS_VARIABLE: FAST_ETCD,
            "SHOAL_GATEWAY_PROMOTE_FOLDER": str(self.promote_folder),
            **self._settings,
        }
        environment.pop(FORK_SUPPORT, None)  # for the tests' process alone: users do not set it
        self._supervisor = start_bound_process(command, output=self._output_file, environment=environment)
        return self

    def start(self) -> Self:
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Every process serves, the killed ones too, and HTTP answers."""
        wait_until(self._is_ready, READY_SECONDS_MAX, "the cluster is ready")

    def stop(self) -> None:
        """As Ctrl-C does it."""
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._remember()
            self._supervisor.send_signal(SIGINT)
            assert self._supervisor.wait(STOP_SECONDS_MAX) == 0, self.output()

    def remove(self) -> None:
        """Stop it and forget everything."""
        try:
            self.stop()
        finally:
            self.kill_supervisor()
            shutil.rmtree(self.data, ignore_errors=True)
            self._output_file.unlink(missing_ok=True)

    def signal(self, name: str, number: int) -> None:
        os.kill(self._running(name), number)

    def kill(self, name: str, number: int = SIGKILL) -> None:
        """End a process; `wait_ready` then waits for its successor."""
        if name == "supervisor":
            self.kill_supervisor()
            return
        self._kill_all((name,), number)

    def _kill_all(self, names: Sequence[str], number: int = SIGKILL) -> None:
        """All of them before any is waited for."""
        pids = {name: self._running(name) for name in names}
        self._killed |= pids
        for pid in pids.values():
            os.kill(pid, number)
        wait_until(lambda: not any(map(is_alive, pids.values())), 20, f"the end of {', '.join(names)}")

    def _running(self, name: str) -> int:
        pid = self.pid(name)
        assert pid, f"{name} does not run, and a signal to process 0 is one to ourselves"
        return pid

    def kill_supervisor(self) -> None:
        """kill -9; the kernel ends all others with it."""
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._remember()
            pids = [child.pid for child in self.state.children if child.pid]
            self._supervisor.kill()
            self._supervisor.wait()
            wait_until(lambda: not any(is_alive(pid) for pid in pids), 10, "the end of all processes")

    @contextmanager
    def held_down(self, *names: str) -> Iterator[None]:
        """Those processes are dead for as long as the block runs; afterwards the cluster is ready again."""
        holds = [self._folder.held / name for name in names]
        for hold in holds:
            hold.touch()
        try:
            self._kill_all(names)
            yield
        finally:
            for hold in holds:
                hold.unlink()
            self.wait_ready()

    def start_with(self, names: Sequence[str], **settings: object) -> None:
        """Start processes anew with other settings, which last until the supervisor itself is started again."""
        for name in names:
            file = self._folder.settings_file(name)
            head, tables, rest = file.read_text().partition("\n[[")
            kept = [line for line in head.splitlines() if line.split(" =")[0] not in settings]
            lines = [*kept, *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
            file.write_text("\n".join(lines) + "\n" + tables + rest)
        with self.held_down(*names):
            """They read them when they start."""

    def answers_http(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/v1/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    @property
    def _folder(self) -> DataFolder:
        return DataFolder(self.data)

    @property
    def _output_file(self) -> Path:
        return self.data.with_name(f"{self.data.name}.out")

    def _remember(self) -> None:
        self._last_state = read_state(self._folder.state_file) or self._last_state

    def _is_ready(self) -> bool:
        assert self._supervisor is not None
        assert self._supervisor.poll() is None, f"`shoal up` ended: {self.output()}"
        state = read_state(self._folder.state_file)
        if state is None or state.pid != self._supervisor.pid or state.phase is not Phase.READY:
            return False
        current = all(self._killed.get(child.name) != child.pid for child in state.children)
        return current and all(child.phase is Phase.READY for child in state.children) and self.answers_http()


def is_unfinished(path: Path) -> bool:
    """Whether this is what a write left in its process's folder; a file may go while we look."""
    return (path.is_symlink() or path.is_file()) and path.name != "lock"


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
