"""`eval "$(shoal env)"`: the variables by which every client finds the local cluster."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from shoal_cli.output import complain, print_line
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.state import ClusterState, running_state
from shoal_cli.up import DEFAULT_DATA, DataOption
from shoal_core.errors import ConfigurationError
from shoal_core.s3_keys import DEFAULT_REGION, read_key

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


def variables(state: ClusterState) -> dict[str, str]:
    key = read_key(DataFolder(Path(state.data)).s3_key)
    return {
        "AIS_ENDPOINT": state.endpoint,
        "SHOAL_GRPC": state.grpc_address,
        "SHOAL_CA": state.ca,
        "SHOAL_DATA": state.data,
        "AWS_ENDPOINT_URL": state.endpoint,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_REGION": DEFAULT_REGION,
        # boto3 and the aws CLI look at this name only.
        "AWS_DEFAULT_REGION": DEFAULT_REGION,
    }
