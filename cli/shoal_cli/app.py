"""The command tree of `shoal`."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from types import ModuleType

import typer

from shoal_cli import (
    archives,
    buckets,
    certificates,
    configuration,
    down,
    downloads,
    environment,
    fsck,
    jobs,
    mountpaths,
    objects,
    status,
    up,
    uploads,
)
from shoal_cli.output import print_line

MODULES: tuple[ModuleType, ...] = (
    up,
    down,
    status,
    environment,
    buckets,
    uploads,
    downloads,
    objects,
    archives,
    fsck,
    jobs,
    mountpaths,
    certificates,
    configuration,
)
"""In the order of `shoal --help`; each has `register(app)`."""


def build_app() -> typer.Typer:
    app = typer.Typer(
        name="shoal",
        help="Shoal, an object store for machine-learning data.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    for module in MODULES:
        module.register(app)
    app.command("version")(version)
    return app


def version() -> None:
    """Print the version."""
    print_line(f"shoal {installed_version('shoal')}")
