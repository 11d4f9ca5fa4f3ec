"""The target's share of every job: what is not done yet is done, one job of a kind at a time, also after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress

from shoal_core.errors import ControlPlaneDown, NotImplementedYet, ShoalError, TooBusy, Unavailable
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.mirror import Mirror
from shoal_core.jobs import JOBS_PREFIX, Job, JobSpecification, JobState, ProgressReport, jobs_of
from shoal_core.telemetry import get_logger

RESCAN_SECONDS = 5.0
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 30.0

Work = Callable[[JobSpecification, ProgressReport], Awaitable[None]]
"""Does one job; must be repeatable, since a job that was interrupted is done again from its start."""


class JobRunner:
    """`work` by kind of job. Run it as a task, and cancel it to stop."""

    def __init__(self, etcd: EtcdClient, target: str, work: Mapping[str, Work]) -> None:
        self._etcd = etcd
        self._target = target
        self._work = work
        # The mirror may not show yet what this process has ended.
        self._ended: set[str] = set()
        self._at_work: set[str] = set()

    async def run(self) -> None:
        async with Mirror(self._etcd, JOBS_PREFIX) as mirror, asyncio.TaskGroup() as group:
            while True:
                seen = mirror.revision
                self._begin(mirror, group)
                # Also after a quiet while: a job may have failed only because something was away.
                with suppress(ControlPlaneDown):
                    await mirror.wait_for_revision(seen + 1, RESCAN_SECONDS)

    def _begin(self, mirror: Mirror, group: asyncio.TaskGroup) -> None:
        """Each kind by itself: a scrub of days must not keep a removed bucket on the disks."""
        for kind in {job.specification.kind for job in self._pending(mirror)} - self._at_work:
            self._at_work.add(kind)
            group.create_task(self._work_off(kind, mirror), name=f"jobs-{kind}")

    async def _work_off(self, kind: str, mirror: Mirror) -> None:
        """Until no job of the kind is left."""
        while mine := [job for job in self._pending(mirror) if job.specification.kind == kind]:
            await self._do(mine[0])
        self._at_work.discard(kind)

    def _pending(self, mirror: Mirror) -> Iterator[Job]:
        """Oldest first."""
        for job in reversed(jobs_of(mirror.items.values())):
            mine = self._target in job.specification.targets
            if mine and job.id not in self._ended and job.progress_of(self._target).state is JobState.RUNNING:
                yield job

    async def _do(self, job: Job) -> None:
        """Until it is done or cannot be done. What is only away now is waited for."""
        pause_seconds = RETRY_SECONDS_MIN
        while True:
            try:
                await self._attempt(job)
                self._ended.add(job.id)
                return
            except (Unavailable, TooBusy) as error:
                get_logger().warning("job-waits", job=job.id, reason=error.message, seconds=pause_seconds)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RETRY_SECONDS_MAX)

    async def _attempt(self, job: Job) -> None:
        report = ProgressReport(self._etcd, job.id, self._target)
        kind = job.specification.kind
        try:
            if kind not in self._work:
                raise NotImplementedYet(f"this version of the target does not know jobs of kind {kind}")
            await self._work[kind](job.specification, report)
        except (Unavailable, TooBusy):
            raise
        except ShoalError as error:
            get_logger().error("job-failed", job=job.id, kind=kind, reason=error.message)
            await report.end(JobState.FAILED, error=error.message)
        except Exception as error:
            get_logger().error("internal-error", job=job.id, kind=kind, exc_info=error)
            await report.end(JobState.FAILED, error="internal error: see the target's log and report it")
        else:
            await report.end(JobState.FINISHED)
            get_logger().info(
                "job-finished", job=job.id, kind=kind, objects=report.objects, bytes=report.bytes
            )
