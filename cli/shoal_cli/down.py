"""`shoal down`: stop a cluster that `shoal up` started, from another terminal."""

from __future__ import annotations

import os
import select
import signal

import typer

from shoal_cli.output import complain, print_line
from shoal_cli.supervisor.folder import DataFolder, is_owned
from shoal_cli.supervisor.local_cluster import ETCD_STOP_SECONDS, SERVICE_STOP_SECONDS
from shoal_cli.supervisor.state import running_state
from shoal_cli.up import DEFAULT_DATA, DataOption

STOP_SECONDS_MAX = 3 * SERVICE_STOP_SECONDS + ETCD_STOP_SECONDS + 10
EXIT_FAILED = 1


def register(app: typer.Typer) -> None:
    app.command("down")(down)


def down(data: DataOption = DEFAULT_DATA) -> None:
    """Stop the cluster; its objects stay. Without a running cluster there is nothing to do."""
    folder = DataFolder.at(data)
    if not is_owned(folder):
        print_line(f"no cluster runs on {folder.root}")
        return
    supervisor = running_state(folder).pid
    if not stop_process(supervisor):
        complain(f"the cluster did not stop in {STOP_SECONDS_MAX:g} s; end it with `kill -9 {supervisor}`")
        raise typer.Exit(EXIT_FAILED)
    print_line(f"stopped; {folder.root} keeps the objects")


def stop_process(pid: int) -> bool:
    """SIGTERM, and wait for the end; False when it takes too long."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        ended, _, _ = select.select([descriptor], [], [], STOP_SECONDS_MAX)
        return bool(ended)
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)
