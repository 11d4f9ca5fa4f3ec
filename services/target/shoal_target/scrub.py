"""The job `scrub`: verify all that this target stores, at a bounded rate, and keep a list of what is damaged.

The list, and how far the scrub has come, are in one JSON file, so that a target that is started anew goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import DataCorrupt
from shoal_core.jobs import JobSpecification, ProgressReport
from shoal_core.load import Pace
from shoal_core.telemetry import get_logger
from shoal_store.checking import Finding
from shoal_store.engine import Engine
from shoal_store.scrub import Position, Step, scrub
from shoal_store.threads import in_thread
from shoal_target.job_runner import Work

FILE = "scrub.json"
"""In the target's state folder; of the last scrub, done or not."""
SAVE_SECONDS = 10.0
FINDINGS_MAX = 1000
FINDINGS_TOLD_MAX = 3


class ScrubReport(msgspec.Struct):
    """What `scrub.json` has."""

    job: str
    ended_ns: int = 0
    """0 as long as it goes on."""
    mountpath: str = ""
    table: int = 0
    key: str = ""
    """Hexadecimal; with the two before, the row up to which all is verified."""
    rows: int = 0
    objects: int = 0
    bytes: int = 0
    """Read from disks."""
    damages: int = 0
    findings: list[Finding] = []
    """The first FINDINGS_MAX."""

    @property
    def position(self) -> Position:
        return Position(self.mountpath, self.table, bytes.fromhex(self.key))

    def add(self, step: Step) -> None:
        self.rows += step.rows
        self.objects += step.objects
        self.bytes += step.bytes_read
        self.damages += len(step.findings)
        self.findings += step.findings[: FINDINGS_MAX - len(self.findings)]
        if step.position is not None:
            self.mountpath, self.table = step.position.mountpath, step.position.table
            self.key = step.position.key.hex()


def scrub_with(
    engine: Engine,
    folder: Path,
    *,
    rows_pace: Pace,
    bytes_pace: Pace,
    clock: Callable[[], float] = time.monotonic,
) -> Work:
    """The job's work; its report goes to `folder`. Damage makes it fail, with DataCorrupt, once all is looked at."""
    file = folder / FILE

    async def work(_job: JobSpecification, progress: ProgressReport) -> None:
        report = await in_thread(load_report, file, progress.job_id)
        progress.objects, progress.bytes = report.objects, report.bytes
        saved_at = clock()
        steps = (
            iter(()) if report.ended_ns else scrub(engine.indexes, engine.mountpaths, after=report.position)
        )
        while (step := await in_thread(following, steps)) is not None:
            tell(step, progress.job_id)
            report.add(step)
            if step.position is not None and clock() - saved_at >= SAVE_SECONDS:
                saved_at = clock()
                await in_thread(save_report, file, report)
            await progress.add(objects=step.objects, bytes=step.bytes_read)
            await rows_pace.spend(step.rows)
            await bytes_pace.spend(step.bytes_read)
        report.ended_ns = report.ended_ns or time.time_ns()
        await in_thread(save_report, file, report)
        if report.damages:
            raise DataCorrupt(summary(report, file))

    return work


def following(steps: Iterator[Step]) -> Step | None:
    return next(steps, None)


def tell(step: Step, job_id: str) -> None:
    for finding in step.findings:
        get_logger().error(
            "damage-found",
            job=job_id,
            kind=finding.kind,
            mountpath=finding.mountpath,
            what=finding.what,
            detail=finding.detail,
        )


def summary(report: ScrubReport, file: Path) -> str:
    first = "; ".join(
        f"{finding.kind} {finding.mountpath}:{finding.what[:60]}"
        for finding in report.findings[:FINDINGS_TOLD_MAX]
    )
    return (
        f"{report.damages} damaged: {first}{' ...' if report.damages > FINDINGS_TOLD_MAX else ''}; see {file}"
    )


def load_report(file: Path, job_id: str) -> ScrubReport:
    """A new one unless the file is of this very job. Blocks."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=ScrubReport)
    except FileNotFoundError:
        return ScrubReport(job_id)
    except (OSError, *UNDECODABLE) as error:
        get_logger().warning("scrub-report-ignored", path=str(file), reason=str(error))
        return ScrubReport(job_id)
    return found if found.job == job_id else ScrubReport(job_id)


def save_report(file: Path, report: ScrubReport) -> None:
    """Atomic, not synced: after a loss of power a scrub may begin anew. That it cannot be kept does not stop it.
    Blocks."""
    temporary = file.with_name(f"{file.name}.new")
    try:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
        temporary.replace(file)
    except OSError as error:
        get_logger().warning("scrub-report-not-saved", path=str(file), reason=str(error))
