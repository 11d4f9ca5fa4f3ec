"""`shoal up`: a whole cluster on this machine, in the foreground or detached."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from shoal_cli.output import complain, print_line
from shoal_cli.supervisor.detachment import Announcement, DetachedAnnouncement, start_detached
from shoal_cli.supervisor.folder import DataFolder, owned
from shoal_cli.supervisor.layout import MEMBERS_MAX, Wishes, settle_layout
from shoal_cli.supervisor.local_cluster import ClusterPlan, LocalCluster, settle_files
from shoal_cli.supervisor.state import ClusterState, running_state
from shoal_core.errors import ShoalError

EXIT_CONFIGURATION = 2

DataOption = Annotated[
    Path, typer.Option("--data", envvar="SHOAL_DATA", help="The folder that holds everything of the cluster.")
]
DEFAULT_DATA = Path("shoal-data")

TargetsOption = Annotated[
    int | None,
    typer.Option(min=1, max=MEMBERS_MAX, help="Storage targets; fixed at the first start. [default: 1]"),
]
MountpathOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--mountpath",
        help="A folder on a disk of its own for objects, shared by all targets; repeat for each disk. Fixed at "
        "the first start. [default: two in the data folder]",
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="HTTP port; 0 chooses one. [default: as before, or 51080]"),
]
GrpcPortOption = Annotated[
    int | None,
    typer.Option(
        "--grpc-port", min=0, max=65535, help="gRPC port; 0 chooses one. [default: as before, or 51081]"
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, max=MEMBERS_MAX, help="Gateway processes. [default: one per core]")
]


@dataclass(frozen=True, slots=True)
class UpOptions:
    folder: DataFolder
    wishes: Wishes
    workers: int
    local_reads: bool

    def arguments(self) -> list[str]:
        """The command line that means the same."""
        words = ["up", "--data", str(self.folder.root), "--workers", str(self.workers)]
        words += ["--local-reads" if self.local_reads else "--no-local-reads"]
        optional = {
            "--targets": self.wishes.targets,
            "--port": self.wishes.gateway_port,
            "--grpc-port": self.wishes.proxy_port,
        }
        words += [
            word for name, value in optional.items() if value is not None for word in (name, str(value))
        ]
        return words + [word for disk in self.wishes.disks for word in ("--mountpath", disk)]


def register(app: typer.Typer) -> None:
    app.command("up")(up)


def up(
    data: DataOption = DEFAULT_DATA,
    targets: TargetsOption = None,
    mountpath: MountpathOption = None,
    port: PortOption = None,
    grpc_port: GrpcPortOption = None,
    workers: WorkersOption = None,
    local_reads: Annotated[
        bool, typer.Option(help="Let gateways read the disks of this machine's targets without a call.")
    ] = True,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when the cluster is ready; `shoal down` stops it.")
    ] = False,
    ready_descriptor: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start a cluster on this machine and keep it running until Ctrl-C.

    The first start makes the data folder; later ones find every object in it. All processes listen on
    127.0.0.1 only, and end with this one.
    """
    cores = len(os.sched_getaffinity(0))
    disks = tuple(str(path.absolute()) for path in mountpath or ())
    wishes = Wishes(targets, port, grpc_port, disks)
    options = UpOptions(DataFolder.at(data), wishes, workers or min(cores, MEMBERS_MAX), local_reads)
    try:
        if detach:
            start_detached(options.arguments())
            print_line(welcome(running_state(options.folder)))
        elif ready_descriptor is not None:
            run_until_signal(options, DetachedAnnouncement(options.folder, ready_descriptor))
        else:
            run_until_signal(options, TerminalAnnouncement())
    except ShoalError as error:
        complain(error.message)
        raise typer.Exit(EXIT_CONFIGURATION) from error


class TerminalAnnouncement(Announcement):
    """Of a supervisor in the foreground."""

    def laid_out(self) -> None:
        say("starting; the first start takes a few seconds more")

    def ready(self, state: ClusterState) -> None:
        say(welcome(state))


def run_until_signal(options: UpOptions, announcement: Announcement) -> None:
    """Returns after SIGINT, SIGTERM or SIGHUP, when all is stopped. Raises ConfigurationError."""
    with announcement, owned(options.folder):
        layout = settle_layout(options.folder, options.wishes)
        plan = ClusterPlan(options.folder, layout, options.workers, options.local_reads)
        settle_files(plan)
        announcement.laid_out()
        asyncio.run(supervise(plan, announcement))


async def supervise(plan: ClusterPlan, announcement: Announcement) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if not stop.is_set():
            say("stopping")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    await LocalCluster(plan, say=say).run(stop, announcement.ready)
    say("stopped")


def say(text: str) -> None:
    # The terminal may be gone while the cluster still has to be stopped in order.
    with suppress(OSError):
        print_line(text)
        sys.stdout.flush()


def welcome(state: ClusterState) -> str:
    """What to do with a cluster that has just become ready."""
    shoal = program()
    return f"""Shoal is ready.

  HTTP   {state.endpoint}   (S3, AIStore REST, JSON)
  gRPC   {state.grpc_address}
  data   {state.data}

Try, in another terminal:

  eval "$({shoal} env --data {shlex.quote(state.data)})"
  {shoal} bucket create ais://first && date | {shoal} put - ais://first/hello
  curl {state.endpoint}/v1/objects/first/hello
"""


def program() -> str:
    """The shortest way to type this program here."""
    own = Path(sys.argv[0]).absolute()
    if own.name != "shoal":
        return f"{shlex.quote(sys.executable)} -m shoal_cli"
    if shutil.which("shoal") == str(own):
        return "shoal"
    here = own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own
    return shlex.quote(str(here))
