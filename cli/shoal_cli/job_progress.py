"""Jobs as they go on: a bar for each target on a terminal, a document each time for programs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from shoal_cli.output import size_text
from shoal_client.client import ShoalClient
from shoal_core.jobs import Job, JobProgress, JobState


async def followed(client: ShoalClient, job_id: str, *, every_seconds: float) -> Job:
    """The job when it has ended; shown meanwhile. Nothing is kept here, so one may look away and back again."""
    job = await client.jobs.get(job_id)
    with Live(table_of(job, {}, 0), console=Console(stderr=True), transient=True) as live:
        while job.state is JobState.RUNNING:
            before, began = job, time.monotonic()
            await asyncio.sleep(every_seconds)
            job = await client.jobs.get(job_id)
            live.update(table_of(job, before.progress, time.monotonic() - began), refresh=True)
    return job


def table_of(job: Job, before: Mapping[str, JobProgress], seconds: float) -> Table:
    """`before` is the progress of `seconds` ago."""
    table = Table.grid(padding=(0, 2))
    for target in job.specification.targets:
        now = job.progress_of(target)
        was = before.get(target, now)
        table.add_row(
            target,
            ProgressBar(total=1.0, completed=share_done(now) or 0.0, width=30),
            f"{now.objects} objects, {size_text(now.bytes)}",
            rate_text(now, was, seconds),
            left_text(job, now),
        )
    return table


def share_done(progress: JobProgress) -> float | None:
    """0 to 1; None where nobody knows how much there is."""
    if progress.state is not JobState.RUNNING:
        return 1.0
    return min(progress.seen / progress.total, 1.0) if progress.total else None


def rate_text(now: JobProgress, before: JobProgress, seconds: float) -> str:
    if seconds <= 0:
        return ""
    objects, moved = now.objects - before.objects, now.bytes - before.bytes
    return f"{max(objects, 0) / seconds:.0f}/s, {size_text(int(max(moved, 0) / seconds))}/s"


def left_text(job: Job, progress: JobProgress) -> str:
    """How long it takes yet, if it goes on as it did since the job was made."""
    if progress.state is not JobState.RUNNING:
        return str(progress.state)
    done = share_done(progress)
    if not done:
        return ""
    elapsed = (progress.updated_ns - job.specification.created_ns) / 1e9
    return f"{max(elapsed, 0.0) * (1 - done) / done:.0f} s left"
