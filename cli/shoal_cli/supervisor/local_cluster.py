"""The processes of a local cluster in their order: etcd, then proxy, targets and gateways; back in reverse."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shoal_cli.supervisor.child import Child, ChildPlan
from shoal_cli.supervisor.etcd import etcd_command, etcd_environment, find_etcd, is_healthy
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import Layout
from shoal_cli.supervisor.logs import trim
from shoal_cli.supervisor.settings import (
    settle_certificates,
    settle_s3_key,
    write_gateway_settings,
    write_proxy_settings,
    write_target_settings,
)
from shoal_cli.supervisor.state import ChildState, ClusterState, Phase, read_state, write_state
from shoal_core.certificates import TlsFiles
from shoal_core.errors import ConfigurationError

START_SECONDS_MAX = 60.0
SERVICE_STOP_SECONDS = 11.0
"""Services end themselves after 9.5 s (shoal_core.process)."""
ETCD_STOP_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 30.0
LEFTOVER_SECONDS_MAX = 5.0
LOOPBACK = "127.0.0.1,localhost"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What to start, all of it written to the data folder."""

    folder: DataFolder
    layout: Layout
    gateways: int
    local_reads: bool

    def gateway_names(self) -> list[str]:
        return [f"g{number}" for number in range(1, self.gateways + 1)]

    def members(self) -> dict[str, str]:
        """Role by name, of every process that has a certificate."""
        members = {"etcd": "etcd", "p1": "proxy", "supervisor": "supervisor"}
        members |= dict.fromkeys(self.layout.target_names(), "target")
        return members | dict.fromkeys(self.gateway_names(), "gateway")


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """The part of a service's ready file that matters here (shoal_core.process)."""

    pid: int


def settle_files(plan: ClusterPlan) -> None:
    """Write what the processes read. Raises ConfigurationError."""
    folder, layout = plan.folder, plan.layout
    try:
        folder.logs.mkdir(mode=0o700, exist_ok=True)
        folder.run.mkdir(mode=0o700, exist_ok=True)
        folder.etcd.mkdir(mode=0o700, exist_ok=True)
        for stale in (folder.metrics, folder.held):
            shutil.rmtree(stale, ignore_errors=True)
            stale.mkdir(mode=0o700)
        settle_certificates(folder, layout, plan.members())
        settle_s3_key(folder)
        write_proxy_settings(folder, layout, "p1")
        for name in layout.target_names():
            write_target_settings(folder, layout, name)
        for name in plan.gateway_names():
            write_gateway_settings(folder, layout, name, local_reads=plan.local_reads)
    except OSError as error:
        raise ConfigurationError(f"cannot write {error.filename}: {error.strerror}") from error


class LocalCluster:
    """`run()` is the supervisor: it returns when all processes have ended after `stop` was set."""

    def __init__(self, plan: ClusterPlan, *, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._phase = Phase.STARTING
        self._started_at = time.time()
        self._environment = service_environment(plan.folder)
        self._ranks: list[list[Child]] = []
        """In starting order; the members of one rank start and stop together."""

    async def run(self, stop: asyncio.Event, on_ready: Callable[[ClusterState], None]) -> None:
        """Raises ConfigurationError when a process cannot start; nothing runs any more then."""
        await leftovers_gone(self._plan.folder)
        tls = TlsFiles.node(self._plan.folder.certificates("supervisor"))
        first, *later = self._child_plans(tls)
        try:
            async with asyncio.TaskGroup() as group:
                housekeeping = group.create_task(self._keep_house())
                try:
                    await until(stop, self._start(group, first, later))
                    if not stop.is_set():
                        self._phase = Phase.READY
                        self._write_state()
                        on_ready(self.state)
                    await stop.wait()
                finally:
                    housekeeping.cancel()
                    await self._stop()
        except ExceptionGroup as problems:
            raise only_problem(problems) from None
        finally:
            self._plan.folder.state_file.unlink(missing_ok=True)

    @property
    def state(self) -> ClusterState:
        folder, ports = self._plan.folder, self._plan.layout.ports
        return ClusterState(
            pid=os.getpid(),
            phase=self._phase,
            started_at=self._started_at,
            data=str(folder.root),
            cluster_id=self._plan.layout.cluster_id,
            endpoint=f"http://127.0.0.1:{ports['gateway']}",
            grpc_address=f"127.0.0.1:{ports['proxy']}",
            ca=str(folder.ca),
            children=tuple(child.state for rank in self._ranks for child in rank),
        )

    async def _start(
        self, group: asyncio.TaskGroup, first: Sequence[ChildPlan], later: Sequence[Sequence[ChildPlan]]
    ) -> None:
        """etcd must answer before anything registers there; the others find each other by themselves."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS_MAX
        for ranks in ([first], later):
            children = [[self._child(plan) for plan in rank] for rank in ranks]
            self._ranks += children
            started = [child for rank in children for child in rank]
            for child in started:
                group.create_task(child.keep())
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.gather(*(child.first_ready() for child in started))
            except TimeoutError as error:
                late = [child.plan for child in started if child.state.phase is not Phase.READY]
                raise ConfigurationError(
                    f"{', '.join(plan.name for plan in late)} did not get ready in {START_SECONDS_MAX:g} s; "
                    f"see {late[0].log if late else self._plan.folder.logs}"
                ) from error

    async def _stop(self) -> None:
        self._phase = Phase.STOPPING
        self._write_state()
        for rank in reversed(self._ranks):
            await asyncio.gather(*(child.stop() for child in rank))

    def _child(self, plan: ChildPlan) -> Child:
        return Child(plan, say=self._say, changed=self._write_state)

    def _child_plans(self, tls: TlsFiles) -> list[list[ChildPlan]]:
        plan = self._plan
        return [
            [self._etcd_plan(tls)],
            [self._service_plan("p1", "shoal_proxy")],
            [self._service_plan(name, "shoal_target") for name in plan.layout.target_names()],
            [self._service_plan(name, "shoal_gateway") for name in plan.gateway_names()],
        ]

    def _etcd_plan(self, tls: TlsFiles) -> ChildPlan:
        folder, layout = self._plan.folder, self._plan.layout
        return ChildPlan(
            "etcd",
            etcd_command(find_etcd(), folder, layout),
            etcd_environment(os.environ),
            log=folder.log("etcd"),
            is_ready=lambda _pid: is_healthy(layout.ports["etcd-client"], tls),
            stop_seconds=ETCD_STOP_SECONDS,
            held_file=folder.held / "etcd",
        )

    def _service_plan(self, name: str, module: str) -> ChildPlan:
        folder = self._plan.folder
        return ChildPlan(
            name,
            [sys.executable, "-m", module, "--config", str(folder.settings_file(name))],
            self._environment,
            log=folder.log(name),
            is_ready=says_ready(folder.ready_file(name)),
            stop_seconds=SERVICE_STOP_SECONDS,
            held_file=folder.held / name,
        )

    def _write_state(self) -> None:
        with suppress(ConfigurationError):  # a full disk must not stop a cluster that serves
            write_state(self._plan.folder, self.state)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            for log in self._plan.folder.logs.glob("*.log"):
                with suppress(OSError):
                    trim(log)


def says_ready(ready_file: Path) -> Callable[[int], Awaitable[bool]]:
    async def is_ready(pid: int) -> bool:
        return writer_of(ready_file) == pid

    return is_ready


def writer_of(ready_file: Path) -> int:
    """The process that wrote the file, which a killed one leaves behind; 0 while there is none."""
    try:
        return msgspec.json.decode(ready_file.read_bytes(), type=ReadyFile).pid
    except (OSError, msgspec.DecodeError):
        return 0


async def until(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Do the work, unless `stop` is set first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        stopping.cancel()


async def leftovers_gone(folder: DataFolder) -> None:
    """Wait for the children of a killed supervisor: the kernel ends them, but not in an instant."""
    state = read_state(folder.state_file)
    deadline = time.monotonic() + LEFTOVER_SECONDS_MAX
    for child in state.children if state is not None else ():
        while is_same_process(folder, child):
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"{child.name} of an earlier start still runs as process {child.pid}; end it (`kill -9 "
                    f"{child.pid}`) and start again"
                )
            await asyncio.sleep(0.02)


def is_same_process(folder: DataFolder, child: ChildState) -> bool:
    """Whether the recorded process is there, and not another that got its id later: ours name the folder."""
    try:
        return os.fsencode(folder.root) in Path(f"/proc/{child.pid}/cmdline").read_bytes()
    except OSError:
        return False


def only_problem(problems: ExceptionGroup[Exception]) -> Exception:
    """What a person can do something about, if that is all; a bug is shown with everything."""
    known, bugs = problems.split(ConfigurationError)
    first: Exception = problems if bugs is not None or known is None else known
    while isinstance(first, ExceptionGroup) and bugs is None:
        first = first.exceptions[0]
    return first


def service_environment(folder: DataFolder) -> dict[str, str]:
    environment = dict(os.environ)
    environment["PROMETHEUS_MULTIPROC_DIR"] = str(folder.metrics)
    # gRPC would send even loopback calls to a proxy that the environment names.
    others = environment.get("no_grpc_proxy") or environment.get("no_proxy", "")
    environment["no_grpc_proxy"] = f"{LOOPBACK},{others}".rstrip(",")
    return environment
