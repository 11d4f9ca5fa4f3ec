"""`shoal config explain`: what the services of the local cluster are set to, and where each value came from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from shoal_cli.output import Format, OutputOption, complain, print_json
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.up import DEFAULT_DATA, DataOption

EXIT_FAILED = 2
EXPLAIN_SECONDS_MAX = 30.0
PROGRAMS = {"p": "shoal_proxy", "t": "shoal_target", "g": "shoal_gateway"}
"""By the first letter of a process's name, as `shoal up` gives them."""

ProcessesArgument = Annotated[
    list[str] | None, typer.Argument(help="Processes such as `g1` or `t1`; without any, all of them.")
]


def register(app: typer.Typer) -> None:
    config = typer.Typer(help="What the services are set to.", no_args_is_help=True)
    config.command("explain")(explain)
    app.add_typer(config, name="config")


def explain(
    processes: ProcessesArgument = None, data: DataOption = DEFAULT_DATA, output: OutputOption = Format.text
) -> None:
    """Show every setting of the processes of `shoal up`, its value, and where it came from: the file that `shoal up`
    wrote, a variable of this shell, or the default."""
    files = {path.stem: path for path in sorted(DataFolder.at(data).run.glob("*.toml"))}
    unknown = [name for name in processes or [] if name not in files]
    if unknown or not files:
        what = f"{unknown[0]} is no process there" if unknown else "no cluster was started there"
        complain(
            f"{data} has no settings to show: {what}; see `shoal status`, or name the folder with --data"
        )
        raise typer.Exit(EXIT_FAILED)
    for name in processes or files:
        settings = explained(files[name])
        if output is Format.json:
            for setting in settings:
                print_json({"process": name, **setting})
        else:
            print_table(name, settings)


def explained(path: Path) -> list[dict[str, Any]]:
    """The service itself says it: it alone knows its settings."""
    command = [sys.executable, "-m", PROGRAMS[path.stem[0]], "--config", str(path), "--explain"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=EXPLAIN_SECONDS_MAX, check=False)
    if result.returncode:
        sys.stderr.write(result.stderr)
        raise typer.Exit(EXIT_FAILED)
    settings: list[dict[str, Any]] = json.loads(result.stdout)
    return settings


def print_table(name: str, settings: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title=name, title_justify="left")
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for setting in settings:
        table.add_row(setting["name"], json.dumps(setting["value"]), setting["source"])
    Console().print(table)
