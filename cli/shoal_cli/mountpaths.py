"""`shoal mountpath ls|disable|enable`: the disks of targets, one by one."""

from __future__ import annotations

from typing import Annotated

import typer

from shoal.cluster.v1.mountpath_pb2 import MountpathDescription, MountpathState
from shoal_cli.connection import DEFAULT_ADDRESS, CaOption, GrpcOption, run
from shoal_cli.output import (
    Format,
    JsonValue,
    OutputOption,
    print_json,
    print_line,
    printable,
    size_text,
    timestamp,
)
from shoal_client.client import ShoalClient

PREFIX = "MOUNTPATH_STATE_"
TargetArgument = Annotated[str, typer.Argument(metavar="TARGET", help="Its id, for example `t1`.")]
MountpathArgument = Annotated[
    str, typer.Argument(metavar="MOUNTPATH", help="Its id, as `shoal mountpath ls` shows it.")
]


def register(app: typer.Typer) -> None:
    commands = typer.Typer(no_args_is_help=True, help="The disks of targets.")
    commands.command("ls")(ls)
    commands.command("disable")(disable)
    commands.command("enable")(enable)
    app.add_typer(commands, name="mountpath")


def ls(
    target: Annotated[str, typer.Argument(metavar="[TARGET]", help="Only those of this target.")] = "",
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """List the disks of all targets, or of one, and whether they are used."""

    async def action(client: ShoalClient) -> int | None:
        for each in await client.mountpaths.list(target):
            show(each, output)
        return None

    run(action, grpc=grpc, ca=ca)


def disable(
    target: TargetArgument,
    mountpath: MountpathArgument,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Stop reading and writing a disk. What lies on it is refused until it is enabled; all else is served."""

    async def action(client: ShoalClient) -> int | None:
        show(await client.mountpaths.disable(target, mountpath), output)
        return None

    run(action, grpc=grpc, ca=ca)


def enable(
    target: TargetArgument,
    mountpath: MountpathArgument,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Try a disk that is disabled or has failed, by writing and reading a small file, and use it again."""

    async def action(client: ShoalClient) -> int | None:
        show(await client.mountpaths.enable(target, mountpath), output)
        return None

    run(action, grpc=grpc, ca=ca)


def show(each: MountpathDescription, output: Format) -> None:
    if output is Format.json:
        print_json(document(each))
        return
    use = f"{size_text(each.used_bytes)} used, {size_text(each.available_bytes)} free"
    print_line(
        printable(
            f"{each.target}  {each.mountpath}  {state_text(each):<9}  {each.path}  {each.reason or use}"
        )
    )


def document(each: MountpathDescription) -> dict[str, JsonValue]:
    return {
        "target": each.target,
        "mountpath": each.mountpath,
        "path": each.path,
        "state": state_text(each),
        "reason": each.reason,
        "since": timestamp(each.since_ns) if each.since_ns else None,
        "used_bytes": each.used_bytes,
        "available_bytes": each.available_bytes,
        "device": each.device,
        "filesystem": each.filesystem,
    }


def state_text(each: MountpathDescription) -> str:
    """`unknown` of a target that does not answer."""
    if not each.state:
        return "unknown"
    return MountpathState.Name(each.state).removeprefix(PREFIX).lower()
