"""The target's share of every job: what is not done yet is done, also after a restart.

One job of a kind at a time, since most are about a disk's time; of the kinds in BESIDE_EACH_OTHER, which users wait
for, several.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress

from shoal_core.errors import ControlPlaneDown, NotImplementedYet, ShoalError, TooBusy, Unavailable
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.mirror import Mirror
from shoal_core.jobs import JOBS_PREFIX, Job, JobSpecification, JobState, ProgressReport, jobs_of
from shoal_core.object_jobs import OBJECT_JOBS
from shoal_core.telemetry import get_logger

RESCAN_SECONDS = 5.0
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 30.0

BESIDE_EACH_OTHER = frozenset(OBJECT_JOBS)
RUNNING_MAX = 8
"""Jobs of those kinds that a target works on at a time."""

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
        """Kinds; of those in BESIDE_EACH_OTHER jobs."""
        self._attempts: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(RUNNING_MAX)

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
        pending = list(self._pending(mirror))
        for job in pending:
            if job.stopped and (attempt := self._attempts.get(job.id)) is not None:
                attempt.cancel()
        for key, job in {lane_of(job): job for job in pending}.items():
            if key not in self._at_work:
                self._at_work.add(key)
                group.create_task(self._work_off(key, job, mirror), name=f"jobs-{key}")

    async def _work_off(self, key: str, job: Job, mirror: Mirror) -> None:
        """Until no job of the lane is left."""
        if job.specification.kind in BESIDE_EACH_OTHER:
            async with self._places:
                await self._do(job, mirror)
        else:
            while mine := [job for job in self._pending(mirror) if lane_of(job) == key]:
                await self._do(mine[0], mirror)
        self._at_work.discard(key)

    def _pending(self, mirror: Mirror) -> Iterator[Job]:
        """Oldest first."""
        for job in reversed(jobs_of(mirror.items.values())):
            mine = self._target in job.specification.targets
            if mine and job.id not in self._ended and job.progress_of(self._target).state is JobState.RUNNING:
                yield job

    async def _do(self, job: Job, mirror: Mirror) -> None:
        """Until it is done, cannot be done, or was stopped. What is only away now is waited for."""
        pause_seconds = RETRY_SECONDS_MIN
        while True:
            try:
                await self._attempt_or_stop(job, mirror)
                self._ended.add(job.id)
                return
            except (Unavailable, TooBusy) as error:
                get_logger().warning("job-waits", job=job.id, reason=error.message, seconds=pause_seconds)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RETRY_SECONDS_MAX)

    async def _attempt_or_stop(self, job: Job, mirror: Mirror) -> None:
        before = as_shown(mirror, job).progress_of(self._target)
        report = ProgressReport(self._etcd, job.id, self._target, before=before)
        if not as_shown(mirror, job).stopped:
            attempt = asyncio.create_task(self._attempt(job, report))
            self._attempts[job.id] = attempt
            try:
                await asyncio.wait([attempt])
            except asyncio.CancelledError:
                attempt.cancel()
                await asyncio.wait([attempt])
                raise
            finally:
                del self._attempts[job.id]
            if not attempt.cancelled():
                return attempt.result()
        await report.end(JobState.ABORTED, error="stopped")
        get_logger().info("job-stopped", job=job.id, kind=job.specification.kind, objects=report.objects)

    async def _attempt(self, job: Job, report: ProgressReport) -> None:
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


def lane_of(job: Job) -> str:
    """Jobs of one lane are done one after the other."""
    return job.id if job.specification.kind in BESIDE_EACH_OTHER else job.specification.kind


def as_shown(mirror: Mirror, job: Job) -> Job:
    """As it is now: it may have been stopped since."""
    prefix = f"{JOBS_PREFIX}{job.id}/"
    shown = jobs_of(item for key, item in mirror.items.items() if key.startswith(prefix))
    return shown[0] if shown else job
