"""One command: Shoal and its peers in turn on the same work, in one run; prints a table and the marks.

python -m shoal_bench [--quick] [--only shoal] [--rows PATTERN] [--folder DIR] [--output FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from shoal_bench.batches import batch_rows, remote_batch_rows
from shoal_bench.client_reads import client_rows
from shoal_bench.floors import disk_rows
from shoal_bench.listing_engine import FOLDER as ENGINE_FOLDER, engine_rows
from shoal_bench.load import ROUNDS, Measured
from shoal_bench.marks import marks_table
from shoal_bench.report import (
    as_json,
    commit_groups,
    machine,
    syncs_per_second,
    table,
    written_mib_per_second,
)
from shoal_bench.rows import Row, Subject, matching
from shoal_bench.streams import stream_rows
from shoal_bench.swift import is_installed as swift_is_installed, swift
from shoal_bench.systems import Running, missing_commands, nginx, rclone, seaweedfs, shoal, this_process
from shoal_bench.work import Place, Scale, file_rows, our_rows, peer_rows, remote_rows

Generated = Callable[[Running, Scale], Iterable[tuple[str, Measured]]]

SWIFT_OBJECTS_MAX = 1000


@dataclass(frozen=True)
class System:
    """What is started, and which of its rows there are."""

    name: str
    start: Callable[[], AbstractContextManager[Running]]
    rows: list[Row]
    is_ours: bool = False
    """Whether a row that fails is a failure of the bench."""
    is_last_in_its_folder: bool = True
    generated: tuple[tuple[str, Generated], ...] = ()
    """Groups of rows that know their own titles, each begun with the group's name."""

    @property
    def folder(self) -> str:
        """Shared by a system and the same one in another setting."""
        return self.name.partition(",")[0]


def main() -> int:
    arguments = parsed()
    if missing := [name for name in missing_commands() if not arguments.only or name == "wrk"]:
        print(f"missing: {', '.join(missing)}; see docs/bench.md", file=sys.stderr)
        return 2
    run = Run(Scale.quick() if arguments.quick else Scale.full(), arguments.rows)
    temporary = tempfile.TemporaryDirectory(prefix="shoal-bench-", dir=arguments.folder)
    with temporary as folder, asyncio.Runner() as runner:
        notes = measured_all(run, Path(folder), runner, only=arguments.only)
    failed = [f"No figure for: {', '.join(run.failed)}."] if run.failed else []
    text = (
        "\n\n".join(part for part in (*notes, *failed, marks_table(run.rows), table(run.rows)) if part) + "\n"
    )
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    if arguments.json:
        arguments.json.write_text(as_json(run.rows))
    return 1 if run.failed else 0


@dataclass(frozen=True)
class Run:
    """What is to be measured, and what has been."""

    scale: Scale
    pattern: str | None
    rows: dict[str, dict[str, Measured]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    """Rows of ours."""

    def add(self, work: str, system: str, figures: Measured) -> None:
        print(f"{system}: {work}: {figures.per_second:,.1f}/s", file=sys.stderr, flush=True)
        self.rows.setdefault(work, {})[system] = figures

    @contextmanager
    def surviving(self, system: System, what: str) -> Iterator[None]:
        """Whatever a row dies of, the rest of twenty minutes is kept; a failure of ours is said in the report."""
        try:
            yield
        except Exception as error:
            print(f"{system.name}: {what}: no figure: {error!r}", file=sys.stderr, flush=True)
            if system.is_ours:
                self.failed.append(f"{system.name}: {what}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shoal_bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a second a round, few objects: does it run?")
    parser.add_argument("--only", choices=["shoal"], help="this system alone")
    parser.add_argument(
        "--rows", metavar="PATTERN", help="only rows whose `system: title` has this regular expression"
    )
    parser.add_argument(
        "--folder", type=Path, help="on the disk to measure; default: that of temporary files"
    )
    parser.add_argument("--output", type=Path, help="write the tables to this file too")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def measured_all(run: Run, folder: Path, runner: asyncio.Runner, *, only: str | None) -> list[str]:
    """Runs everything that is asked for; what is said above the tables."""
    scale = run.scale
    notes = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}; {syncs_per_second(folder):,.0f} fdatasync/s, "
        f"{written_mib_per_second(folder):,.0f} MiB/s written and synced; wrk with one thread on the same machine, the "
        f"median of {ROUNDS} rounds of {scale.seconds} s a row. Shoal: 1 target, 1 mountpath, 1 disk, a gateway a core."
    ]
    prepared = defaultdict[str, set[str]](set)
    for system in [*ours(folder, scale), *([] if only else peers(folder, scale)), engine(scale)]:
        wanted = matching(system.rows, run.pattern, system.name)
        groups = [
            (name, group)
            for name, group in system.generated
            if not run.pattern or re.search(run.pattern, f"{system.name}: {name}")
        ]
        if wanted or groups:
            with run.surviving(system, "the rest"), system.start() as running:
                subject = Subject(running, folder, runner, prepared[system.folder])
                notes += measured_system(run, system, wanted, groups, subject=subject)
        if system.is_last_in_its_folder:
            # The next system gets the space.
            shutil.rmtree(folder / system.folder, ignore_errors=True)
    return notes


def measured_system(
    run: Run, system: System, wanted: list[Row], groups: list[tuple[str, Generated]], *, subject: Subject
) -> list[str]:
    """What is to be said of it beside its rows."""
    for row in wanted:
        with run.surviving(system, row.work):
            figures = row.measure(subject)
            for work in (row.work, *row.also):
                run.add(work, row.system or system.name, figures)
    for name, group in groups:
        with run.surviving(system, name):
            Place().ready(subject)
            for work, figures in group(subject.running, run.scale):
                run.add(work, system.name, figures)
    if system.name != "shoal":
        return []
    commits, committed_groups = commit_groups(subject.running.signer.endpoint)
    mean = commits / max(committed_groups, 1)
    return [f"Mean commit group: {mean:.2f} ({commits:,.0f} commits in {committed_groups:,.0f} groups)."]


def ours(folder: Path, scale: Scale) -> list[System]:
    place = folder / "shoal"
    everything = [
        *our_rows(scale),
        *disk_rows(scale),
        *stream_rows(scale),
        *client_rows(scale),
    ]
    return [
        System(
            "shoal",
            partial(shoal, place),
            everything,
            is_ours=True,
            is_last_in_its_folder=False,
            generated=(("BATCH", batch_rows),),
        ),
        System(
            "shoal, remote owner",
            partial(shoal, place, local_reads=False),
            remote_rows(scale),
            is_ours=True,
            generated=(("BATCH", remote_batch_rows),),
        ),
    ]


def engine(scale: Scale) -> System:
    """Last, because the disk is busy for a while with the gigabytes that it leaves."""
    return System(ENGINE_FOLDER, this_process, engine_rows(scale), is_ours=True)


def peers(folder: Path, scale: Scale) -> list[System]:
    found = [
        System("seaweedfs", partial(seaweedfs, folder / "seaweedfs"), peer_rows(scale)),
        System("rclone", partial(rclone, folder / "rclone"), peer_rows(scale, lists=False)),
        System("nginx", partial(nginx, folder / "nginx"), file_rows(scale, folder / "nginx" / "root")),
    ]
    if swift_is_installed():
        few = scale.at_most(SWIFT_OBJECTS_MAX)
        found.append(System("swift", partial(swift, folder / "swift"), peer_rows(few, lists=False)))
    return found


if __name__ == "__main__":
    sys.exit(main())
