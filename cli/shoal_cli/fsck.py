"""`shoal fsck`: read all that the local cluster's targets store, and report what is damaged; or rebuild an index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from shoal_cli.output import Format, OutputOption, complain, print_line, printable, size_text
from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import Layout, read_layout
from shoal_cli.up import DEFAULT_DATA, DataOption
from shoal_core.errors import ConfigurationError, ShoalError
from shoal_store.fsck import Report, verify
from shoal_store.rebuild import LIST_FILE, RebuildReport, moment, rebuild_index as rebuild

EXIT_DAMAGED = 1
EXIT_CONFIGURATION = 2
DOUBTS_SHOWN_MAX = 1000


def register(app: typer.Typer) -> None:
    app.command("fsck")(fsck)


RebuildOption = Annotated[
    str,
    typer.Option(
        "--rebuild-index",
        metavar="TARGET/MOUNTPATH",
        help="Make the index of this mountpath anew, for example t1/mp1, from its newest copy and the stored files. "
        "The cluster must be stopped, or the mountpath disabled and the cluster restarted since.",
    ),
]


def fsck(
    data: DataOption = DEFAULT_DATA, rebuild_index: RebuildOption = "", output: OutputOption = Format.text
) -> None:
    """Verify every stored object, block by block. Changes nothing; the cluster may run meanwhile.

    Exit code 1 when something is damaged. Orphans, files that no object names, cost space and nothing else:
    `shoal cleanup` removes them.

    With --rebuild-index, make a lost or damaged index anew, verify it, and list what could not be proved. The old
    index is set aside. Lost are small objects (32 KiB and less) and deletes since the newest copy of the index.
    """
    folder = DataFolder.at(data)
    try:
        layout = recorded_layout(folder)
        if rebuild_index:
            rebuild_one(folder, layout, rebuild_index, output)
            return
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


def rebuild_one(folder: DataFolder, layout: Layout, name: str, output: Format) -> None:
    target, _, mountpath = name.partition("/")
    if target not in layout.target_names():
        known = ", ".join(layout.target_names())
        raise ConfigurationError(f"there is no target {target!r} here, only {known}; name it as in t1/mp1")
    mountpaths = layout.mountpaths_of(folder, target)
    if mountpath not in mountpaths:
        known = ", ".join(f"{target}/{each}" for each in mountpaths)
        raise ConfigurationError(f"there is no mountpath {name!r} here, only {known}")
    require_mountpaths(mountpaths)
    with Console(stderr=True).status(f"{name}: reading the copy and the files") as display:
        report = rebuild(
            mountpaths,
            mountpath,
            target=target,
            progress=lambda _, count: show(display, f"{name}: verifying", count),
        )
    if output is Format.json:
        print_line(json.dumps({"target": target, "doubts_by_kind": report.doubts_by_kind} | asdict(report)))
    else:
        print_rebuilt(name, report)
    if not report.verified.clean:
        raise typer.Exit(EXIT_DAMAGED)


def print_rebuilt(name: str, report: RebuildReport) -> None:
    for doubt in report.doubts[:DOUBTS_SHOWN_MAX]:
        print_line(printable(f"{name}: {doubt.kind}: {doubt.what} {doubt.detail}"))
    if len(report.doubts) > DOUBTS_SHOWN_MAX:
        print_line(
            f"{name}: ... {len(report.doubts) - DOUBTS_SHOWN_MAX:,} more in {report.aside}/{LIST_FILE}"
        )
    for finding in report.verified.findings:
        print_line(printable(f"{name}: {finding.kind}: {finding.mountpath}/{finding.what} {finding.detail}"))
    for each in report.damaged_copies:
        print_line(f"{name}: not used, since it is damaged: {each}")
    source = f"the copy of {moment(report.copy_made_ns)} ({report.copy})" if report.copy else "no copy"
    print_line(f"{name}: index rebuilt from {source} and the files of all mountpaths")
    print_line(
        f"{name}: {report.objects:,} objects, {report.restored:,} of them from files alone; "
        f"{report.verified.damages:,} damaged"
    )
    counts = ", ".join(f"{count:,} {kind}" for kind, count in report.doubts_by_kind.items()) or "nothing"
    print_line(f"{name}: not proved: {counts}")
    since = f"since {moment(report.copy_made_ns)}" if report.copy else "of all times, as there was no copy,"
    print_line(
        f"{name}: lost: objects of at most 32 KiB that were written, and deletes that were made, {since}; so "
        f"{report.inline:,} small objects of the copy may be older than they were, or should be gone"
    )
    print_line(f"{name}: the old index and the whole list are in {report.aside}")


def recorded_layout(folder: DataFolder) -> Layout:
    layout = read_layout(folder)
    if layout is None:
        raise ConfigurationError(f"there is no Shoal data in {folder.root}; name its folder with --data")
    return layout


def verify_target(mountpaths: Mapping[str, Path], target: str) -> Report:
    require_mountpaths(mountpaths)
    with Console(stderr=True).status(f"{target}: reading") as display:
        return verify(mountpaths, progress=lambda name, count: show(display, f"{target}/{name}", count))


def require_mountpaths(mountpaths: Mapping[str, Path]) -> None:
    missing = [path for path in mountpaths.values() if not (path / "shoal.json").exists()]
    if missing:
        raise ConfigurationError(
            f"{missing[0]} is no mountpath; is its disk mounted, and was the cluster ever started?"
        )


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
