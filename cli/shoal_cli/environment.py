"""`eval "$(shoal env)"`: the variables by which every client finds the local cluster."""

from __future__ import annotations

import shlex

import typer

from shoal_cli.output import complain, print_line
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.state import ClusterState, running_state
from shoal_cli.up import DEFAULT_DATA, DataOption
from shoal_core.errors import ConfigurationError

EXIT_FAILED = 1


def register(app: typer.Typer) -> None:
    app.command("env")(env)


def env(data: DataOption = DEFAULT_DATA) -> None:
    """Print shell commands that tell clients where the cluster is: `eval "$(shoal env)"`."""
    try:
        state = running_state(DataFolder.at(data))
    except ConfigurationError as error:
        complain(error.message)
        raise typer.Exit(EXIT_FAILED) from error
    for name, value in variables(state).items():
        print_line(f"export {name}={shlex.quote(value)}")
    print_line("# S3 (AWS_ENDPOINT_URL and keys) is not built yet; its variables will stand here.")


def variables(state: ClusterState) -> dict[str, str]:
    return {
        "AIS_ENDPOINT": state.endpoint,
        "SHOAL_GRPC": state.grpc_address,
        "SHOAL_CA": state.ca,
        "SHOAL_DATA": state.data,
    }
