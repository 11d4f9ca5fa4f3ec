"""Jobs: long work that targets do, as records in etcd.

`jobs/<id>/spec` says what is to be done and by whom; it is written in the transaction that made it necessary.
`jobs/<id>/progress/<target>` says how far one target is, at most once a second, and after each batch where the kind of
job keeps a position. A job is over when every target named in its specification has ended; what a restarted target had
not ended, it does again, from its position if it kept one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

import msgspec

from shoal_core.errors import Conflict, ControlPlaneDown, DataCorrupt, JobNotFound
from shoal_core.objects import BucketId, BucketReference
from shoal_core.telemetry import get_logger
from shoal_core.usage import BucketUsage

if TYPE_CHECKING:
    from shoal_core.etcd.client import EtcdClient
    from shoal_core.etcd.values import KeyValue

T = TypeVar("T")

JOBS_PREFIX = "/shoal/v1/jobs/"
PURGE_BUCKET = "purge-bucket"
SCRUB = "scrub"
RECHUNK = "rechunk"
MOVE_BUCKET = "move-bck"
CLEANUP = "cleanup-store"
UPKEEP = ("lru", CLEANUP, "resilver", "rebalance", "load-lom-cache")
"""AIStore's kinds without arguments. All but the cleanup find nothing to do: nothing is evicted or out of place."""
SUMMARY = "summary-bck"
PROGRESS_SECONDS_MIN = 1.0
"""Between two writes of one target's progress: etcd is not for counters."""
HISTORY_JOBS_MAX = 200
"""Jobs that have ended and are kept for people to see."""
NO_BUCKET = BucketReference("")
ERROR_CHARACTERS_MAX = 500


class JobState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    ABORTED = "aborted"
    """Somebody stopped it."""


@dataclass(frozen=True, slots=True)
class JobSpecification:
    """What is to be done. JSON in etcd, so fields are only ever added, with defaults."""

    kind: str
    bucket: BucketReference
    """NO_BUCKET when it is about everything that the targets hold."""
    bucket_id: BucketId
    targets: tuple[str, ...]
    created_ns: int
    arguments: Mapping[str, str | int] = field(default_factory=dict)
    """What the kind needs to know beyond the bucket."""


@dataclass(frozen=True, slots=True)
class RechunkArguments:
    """`arguments` of a rechunk: the form that objects get."""

    chunk_above_bytes: int
    """Objects of more bytes become chunks; 0: none do."""
    chunk_bytes: int
    """0 means CHUNK_BYTES_DEFAULT."""
    prefix: str = ""

    @classmethod
    def of(cls, specification: JobSpecification) -> RechunkArguments:
        """Raises DataCorrupt."""
        try:
            return msgspec.convert(specification.arguments, cls)
        except msgspec.ValidationError as error:
            raise DataCorrupt(f"the arguments of a rechunk cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far one target is."""

    state: JobState = JobState.RUNNING
    objects: int = 0
    bytes: int = 0
    error: str = ""
    updated_ns: int = 0
    usage: Mapping[str, BucketUsage] = field(default_factory=dict)
    """Of a summary that has ended: by the bucket's id, in hexadecimal."""
    position: str = ""
    """Where the work goes on after a restart, in words of its kind; empty: from the beginning."""
    disks: Mapping[str, int] = field(default_factory=dict)
    """Of a summary: bytes of each filesystem, by a name that all targets of its host give to it."""
    seen: int = 0
    """Of `total` names, those that this target has passed, also those that others own."""
    total: int = 0
    """0: not known in advance."""


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    specification: JobSpecification
    progress: Mapping[str, JobProgress] = field(default_factory=dict)
    """By target; a target that has yet to begin is missing."""
    stopped: bool = False
    """Whether somebody asked for its end."""

    @property
    def state(self) -> JobState:
        states = [self.progress_of(target).state for target in self.specification.targets]
        if JobState.RUNNING in states:
            return JobState.RUNNING
        return next(
            (each for each in (JobState.ABORTED, JobState.FAILED) if each in states), JobState.FINISHED
        )

    @property
    def ended_ns(self) -> int:
        """When the last target ended; 0 while the job runs."""
        if self.state is JobState.RUNNING:
            return 0
        ended = [progress.updated_ns for progress in self.progress.values()]
        return max(ended, default=self.specification.created_ns)

    def progress_of(self, target: str) -> JobProgress:
        return self.progress.get(target, JobProgress())


class JobBoard:
    """All jobs, read from etcd's quorum, so that a job is found the moment its id was returned."""

    def __init__(self, etcd: EtcdClient) -> None:
        self._etcd = etcd

    async def get(self, job_id: str) -> Job:
        found: list[Job] = []
        if job_id and "/" not in job_id:
            found = jobs_of((await self._etcd.get_prefix(f"{JOBS_PREFIX}{job_id}/")).items)
        if not found:
            raise JobNotFound(
                f"job {job_id} does not exist, or ended so long ago that it is forgotten", job=job_id
            )
        return found[0]

    async def list(self, kind: str = "") -> list[Job]:
        """Newest first; all kinds, or one."""
        jobs = jobs_of((await self._etcd.get_prefix(JOBS_PREFIX)).items)
        return [job for job in jobs if not kind or job.specification.kind == kind]

    async def start(self, specification: JobSpecification, *, job_id: str = "") -> Job:
        """The targets begin as soon as they see it. Raises ControlPlaneDown."""
        job = Job(job_id or new_job_id(), specification)
        await self._etcd.put(specification_key(job.id), encode_specification(specification))
        return job

    async def stop(self, job_id: str) -> Job:
        """Have its targets end it soon. What it has done stays done. Raises JobNotFound."""
        job = await self.get(job_id)
        if job.state is JobState.RUNNING and not job.stopped:
            await self._etcd.put(stop_key(job.id), b"1")
        return job

    async def remove(self, job_id: str) -> None:
        """Forget a job that has ended. Raises JobNotFound, and Conflict while it runs."""
        if (await self.get(job_id)).state is JobState.RUNNING:
            raise Conflict(f"job {job_id} still runs: stop it first", job=job_id)
        await self._etcd.delete_prefix(f"{JOBS_PREFIX}{job_id}/")

    async def forget_old(self, *, keep: int = HISTORY_JOBS_MAX) -> int:
        """Remove the oldest jobs that have ended, beyond `keep`; returns their number."""
        ended = [job for job in await self.list() if job.state is not JobState.RUNNING]
        for job in ended[keep:]:
            await self._etcd.delete_prefix(f"{JOBS_PREFIX}{job.id}/")
        return len(ended[keep:])


class ProgressReport:
    """One target's progress in one job; counts in memory, and tells etcd now and then."""

    def __init__(
        self, etcd: EtcdClient, job_id: str, target: str, *, before: JobProgress | None = None
    ) -> None:
        """`before` is how far it was when it was interrupted; it counts where the kind keeps a position."""
        self._etcd = etcd
        self.job_id = job_id
        self._key = progress_key(job_id, target)
        self._written_at = float("-inf")
        self.begun = before is not None and before.updated_ns > 0
        """Whether an attempt before this one has told anything."""
        resumed = before if before is not None and before.position else JobProgress()
        self.objects = resumed.objects
        self.bytes = resumed.bytes
        self.position = resumed.position
        self.error = resumed.error
        """What went wrong so far and did not end the work."""
        self.seen = resumed.seen
        self.total = resumed.total
        self.usage: dict[str, BucketUsage] = {}
        self.disks: Mapping[str, int] = {}

    async def add(self, *, objects: int, bytes: int) -> None:
        """Count work done. That etcd cannot be told now is no reason to stop it."""
        self.objects += objects
        self.bytes += bytes
        if time.monotonic() - self._written_at < PROGRESS_SECONDS_MIN:
            return
        self._written_at = time.monotonic()
        try:
            await self._write(JobState.RUNNING, self.error)
        except ControlPlaneDown as error:
            get_logger().warning("job-progress-not-written", job=self.job_id, reason=error.message)

    async def checkpoint(self, position: str = "", *, objects: int = 0, bytes: int = 0) -> None:
        """Count work done, and say at once that nothing up to `position` is to be repeated. Raises ControlPlaneDown:
        then it may be."""
        self.objects += objects
        self.bytes += bytes
        self.position = position or self.position
        await self._write(JobState.RUNNING, self.error)

    async def end(self, state: JobState, *, error: str = "") -> None:
        """Say that this target is done. Raises ControlPlaneDown: then the work counts as not done."""
        await self._write(state, error or self.error)

    async def _write(self, state: JobState, error: str) -> None:
        ended = {} if state is JobState.RUNNING else self.usage
        progress = JobProgress(
            state,
            self.objects,
            self.bytes,
            error[:ERROR_CHARACTERS_MAX],
            time.time_ns(),
            ended,
            self.position,
            self.disks if ended else {},
            self.seen,
            self.total,
        )
        await self._etcd.put(self._key, msgspec.json.encode(progress))


def new_job_id() -> str:
    return f"j-{secrets.token_hex(6)}"


def specification_key(job_id: str) -> str:
    return f"{JOBS_PREFIX}{job_id}/spec"


def stop_key(job_id: str) -> str:
    return f"{JOBS_PREFIX}{job_id}/stop"


def progress_key(job_id: str, target: str) -> str:
    return f"{JOBS_PREFIX}{job_id}/progress/{target}"


def encode_specification(specification: JobSpecification) -> bytes:
    return msgspec.json.encode(specification)


def jobs_of(items: Iterable[KeyValue]) -> list[Job]:
    """The jobs among keys under JOBS_PREFIX, newest first. One that cannot be read is logged and left out."""
    specifications: dict[str, JobSpecification] = {}
    progress: dict[str, dict[str, JobProgress]] = {}
    stopped: set[str] = set()
    for item in items:
        job_id, _, rest = item.key.removeprefix(JOBS_PREFIX).partition("/")
        try:
            if rest == "spec":
                specifications[job_id] = decoded(item, JobSpecification)
            elif rest == "stop":
                stopped.add(job_id)
            elif rest.startswith("progress/"):
                target = rest.removeprefix("progress/")
                progress.setdefault(job_id, {})[target] = decoded(item, JobProgress)
        except DataCorrupt as error:
            get_logger().error("job-not-readable", key=item.key, reason=error.message)
    jobs = [
        Job(job_id, each, progress.get(job_id, {}), job_id in stopped)
        for job_id, each in specifications.items()
    ]
    return sorted(jobs, key=lambda job: (job.specification.created_ns, job.id), reverse=True)


def decoded(item: KeyValue, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(item.value, type=kind)
    except msgspec.DecodeError as error:
        raise DataCorrupt(f"etcd key {item.key} does not hold a {kind.__name__}: {error}") from error
