"""`shoal status`: the processes of the local cluster, and which targets the cluster itself counts on."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from shoal_cli.output import Format, OutputOption, complain, print_line
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.state import ClusterState, Phase, running_state
from shoal_cli.up import DEFAULT_DATA, DataOption
from shoal_client.client import ShoalClient
from shoal_core.errors import ConfigurationError, ShoalError

EXIT_FAILED = 1
MAP_SECONDS_MAX = 5.0


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(data: DataOption = DEFAULT_DATA, output: OutputOption = Format.text) -> None:
    """Show processes, addresses and targets. Exit code 1 when no cluster runs or a part of it does not serve."""
    try:
        state = running_state(DataFolder.at(data))
    except ConfigurationError as error:
        complain(error.message)
        raise typer.Exit(EXIT_FAILED) from error
    targets = asyncio.run(targets_alive(state))
    if output is Format.json:
        # msgspec turns the enumerations into plain strings first.
        document = msgspec.to_builtins(state) | {"targets": targets}
        print_line(json.dumps(document))
    else:
        print_text(state, targets)
    if not is_healthy(state, targets):
        raise typer.Exit(EXIT_FAILED)


async def targets_alive(state: ClusterState) -> dict[str, bool] | None:
    """Liveness by target as the cluster map has it; None when no proxy answers."""
    try:
        async with asyncio.timeout(MAP_SECONDS_MAX):
            async with ShoalClient.connect(state.grpc_address, ca=Path(state.ca)) as client:
                return {member.id: member.alive for member in client.cluster_map.targets}
    except (ShoalError, TimeoutError, OSError):
        return None


def is_healthy(state: ClusterState, targets: dict[str, bool] | None) -> bool:
    serving = all(child.phase is Phase.READY for child in state.children)
    return serving and targets is not None and all(targets.values())


def print_text(state: ClusterState, targets: dict[str, bool] | None) -> None:
    print_line(f"HTTP   {state.endpoint}\ngRPC   {state.grpc_address}\ndata   {state.data}\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("process", "state", "pid", "up", "restarts", "in the map"):
        table.add_column(column, justify="right" if column in ("pid", "up", "restarts") else "left")
    now = time.time()
    for child in state.children:
        up = duration(now - child.started_at) if child.pid else "-"
        alive = {None: "", True: "alive", False: "away"}[(targets or {}).get(child.name)]
        table.add_row(child.name, child.phase, str(child.pid or "-"), up, str(child.restarts), alive)
    Console(soft_wrap=True).print(table)
    if targets is None:
        print_line("\nThe proxy does not answer, so what the cluster map says is not known.")


def duration(seconds: float) -> str:
    """The two largest units: 12s, 3m 5s, 2h 10m, 4d 3h."""
    left = max(0, int(seconds))
    words: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count}{unit}")
    return " ".join(words[:2]) or "0s"
