"""One command: Shoal, SeaweedFS, rclone and nginx in turn on the same work, in one run; prints a table.

python -m shoal_bench [--quick] [--only shoal] [--folder DIR] [--output FILE]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from shoal_bench.batches import batch_rows
from shoal_bench.load import ROUNDS, BenchFailed, Measured
from shoal_bench.report import (
    commit_groups,
    cpu_ratio,
    machine,
    syncs_per_second,
    table,
    written_mib_per_second,
)
from shoal_bench.systems import Running, missing_commands, nginx, rclone, seaweedfs, shoal
from shoal_bench.work import Scale, make_files, measure, measure_reads

Rows = dict[str, dict[str, Measured]]


def main() -> int:
    arguments = parsed()
    if missing := [name for name in missing_commands() if not arguments.only or name == "wrk"]:
        print(f"missing: {', '.join(missing)}; see docs/bench.md", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="shoal-bench-", dir=arguments.folder) as temporary:
        try:
            text = report(Path(temporary), Scale.quick() if arguments.quick else Scale.full(), arguments.only)
        except BenchFailed as error:
            print(f"the bench failed: {error}", file=sys.stderr)
            return 1
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shoal_bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 s a row, few objects: does it run?")
    parser.add_argument("--only", choices=["shoal"], help="this system alone")
    parser.add_argument(
        "--folder", type=Path, help="on the disk to measure; default: that of temporary files"
    )
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    return parser.parse_args()


def report(folder: Path, scale: Scale, only: str | None) -> str:
    """Runs everything; the text of the report."""
    rows: Rows = {}
    notes = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}; {syncs_per_second(folder):,.0f} fdatasync/s, "
        f"{written_mib_per_second(folder):,.0f} MiB/s written and synced; wrk with one thread on the same machine, the "
        f"median of {ROUNDS} rounds of {scale.seconds:g} s a row. Shoal: 1 target, 1 mountpath, 1 disk, a gateway "
        "a core."
    ]
    with shoal(folder / "shoal") as running:
        for work, figures in measure(running, scale, folder):
            add(rows, work, running.name, figures)
        collect(rows, running, batch_rows(running, scale))
        commits, groups = commit_groups(running.signer.endpoint)
        notes.append(
            f"Mean commit group: {commits / max(groups, 1):.2f} ({commits:,.0f} commits in {groups:,.0f} groups)."
        )
    with shoal(folder / "shoal", local_reads=False) as running:
        collect(rows, running, measure_reads(running, scale, folder))
    shutil.rmtree(folder / "shoal")  # the next system gets the space
    if only is None:
        with seaweedfs(folder / "seaweedfs") as running:
            collect(rows, running, measure(running, scale, folder))
        with rclone(folder / "rclone") as running:
            collect(rows, running, measure(running, scale, folder))
        make_files(folder / "nginx" / "root", scale)
        with nginx(folder / "nginx") as running:
            for work, figures in measure_reads(running, scale, folder):
                add(rows, work, running.name, figures)
                add(rows, f"REST {work}", running.name, figures)
        notes.append(marks(rows))
    return "\n\n".join([*notes, table(rows)]) + "\n"


def collect(rows: Rows, system: Running, figures: Iterable[tuple[str, Measured]]) -> None:
    """A peer that fails keeps the rows that it has; the others go on."""
    try:
        for work, measured in figures:
            add(rows, work, system.name, measured)
    except BenchFailed as error:
        if system.is_ours:
            raise
        print(f"{system.name}: no more rows: {error}", file=sys.stderr, flush=True)


def add(rows: Rows, work: str, system: str, figures: Measured) -> None:
    print(f"{system}: {work}: {figures.per_second:,.0f}/s", file=sys.stderr, flush=True)
    rows.setdefault(work, {})[system] = figures


def marks(rows: Rows) -> str:
    """Ours to SeaweedFS's where a mark is set."""
    found = [
        f"{work}: {rows[work]['shoal'].per_second / rows[work]['seaweedfs'].per_second:.2f}"
        for work in ("GET 4 KiB", "GET 64 KiB", "PUT 4 KiB", "GET 64 MiB")
        if work in rows
    ]
    found += [
        f"CPU of {work}: 1/{cpu_ratio(rows, work, 'seaweedfs'):.1f}"
        for work in ("GET 4 KiB", "GET 64 KiB")
        if work in rows
    ]
    found.append(f"CPU per name listed: 1/{cpu_ratio(rows, 'LIST', 'seaweedfs'):.1f}")
    return "Shoal to SeaweedFS: " + ", ".join(found) + "."


if __name__ == "__main__":
    sys.exit(main())
