"""`shoal fsck`: read everything that the local cluster's targets store, and report what is damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.status import Status

from shoal_cli.output import Format, OutputOption, complain, print_line, printable, size_text
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import Layout, read_layout
from shoal_cli.up import DEFAULT_DATA, DataOption
from shoal_core.errors import ConfigurationError, ShoalError
from shoal_store.fsck import Report, verify

EXIT_DAMAGED = 1
EXIT_CONFIGURATION = 2


def register(app: typer.Typer) -> None:
    app.command("fsck")(fsck)


def fsck(data: DataOption = DEFAULT_DATA, output: OutputOption = Format.text) -> None:
    """Verify every stored object, block by block. Changes nothing; the cluster may run meanwhile.

    Exit code 1 when something is damaged. Orphans, files that no object names, cost space and nothing else.
    """
    folder = DataFolder.at(data)
    try:
        layout = recorded_layout(folder)
        reports = {
            target: verify_target(layout.mountpaths_of(folder, target), target)
            for target in layout.target_names()
        }
    except ShoalError as error:
        complain(error.message)
        raise typer.Exit(EXIT_CONFIGURATION) from error
    for target, report in reports.items():
        if output is Format.json:
            print_line(json.dumps({"target": target, "clean": report.clean} | asdict(report)))
        else:
            print_text(target, report)
    if not all(report.clean for report in reports.values()):
        raise typer.Exit(EXIT_DAMAGED)


def recorded_layout(folder: DataFolder) -> Layout:
    layout = read_layout(folder)
    if layout is None:
        raise ConfigurationError(f"there is no Shoal data in {folder.root}; name its folder with --data")
    return layout


def verify_target(mountpaths: Mapping[str, Path], target: str) -> Report:
    missing = [path for path in mountpaths.values() if not (path / "shoal.json").exists()]
    if missing:
        raise ConfigurationError(
            f"{missing[0]} is no mountpath; is its disk mounted, and was the cluster ever started?"
        )
    with Console(stderr=True).status(f"{target}: reading") as display:
        return verify(mountpaths, progress=lambda name, count: show(display, f"{target}/{name}", count))


def show(display: Status, place: str, objects: int) -> None:
    display.update(f"{place}: {objects:,} objects")


def print_text(target: str, report: Report) -> None:
    for finding in report.findings:
        print_line(
            printable(f"{target}: {finding.kind}: {finding.mountpath}/{finding.what} {finding.detail}")
        )
    verdict = "clean" if report.clean else f"{report.damages} DAMAGED"
    print_line(
        f"{target}: {verdict}; {report.objects:,} objects, {size_text(report.bytes)}, "
        f"{report.chunk_files:,} chunk files, {report.orphans:,} orphans"
    )
