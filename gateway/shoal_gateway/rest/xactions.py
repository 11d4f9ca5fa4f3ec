"""Jobs as AIStore's clients ask for them, where they are called xactions: status, snapshots, start and stop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from fastapi import Response

from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal_core import messages
from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import InvalidArgument, JobNotFound, NotImplementedYet
from shoal_core.jobs import SCRUB, UPKEEP
from shoal_core.objects import BucketReference
from shoal_core.rpc import call as call_proxy
from shoal_gateway.call import Call
from shoal_gateway.control import CHANGE_SECONDS_MAX, explained
from shoal_gateway.parts import Parts
from shoal_gateway.rest.actions import ActionMessage
from shoal_gateway.rest.answers import JobSnapshot, JobStatus
from shoal_gateway.rest.bucket_properties import Json
from shoal_gateway.rest.dispatch import json_answer
from shoal_gateway.rest.documented import Documentation, documented
from shoal_gateway.rest.names import shown_reference
from shoal_gateway.rest.object_jobs import Namespace

NEVER = "0001-01-01T00:00:00Z"
PAGE_JOBS = 1000
KIND_OF_NAME = {
    "copy-objects": "copy-listrange",
    "delete-objects": "delete-listrange",
    "evict-objects": "evict-listrange",
    "prefetch-objects": "prefetch-listrange",
    "etl-objects": "etl-listrange",
    "copy-bucket": "copy-bck",
    "rename-bucket": "move-bck",
    "etl-bucket": "etl-bck",
    "summary": "summary-bck",
    "cleanup": "cleanup-store",
    "lru-eviction": "lru",
    "warm-up-metadata": "load-lom-cache",
    "promote-files": "promote",
    "elect-primary": "election",
    "mirror": "make-n-copies",
    "ec-bucket": "ec-encode",
    "shard-index": "index-shard",
    "shard-summary": "summary-shard",
    "evict-remote-bucket": "evict-remote-bck",
}
"""What AIStore displays, and the kind that it means; clients send either."""
WORKERS_SHIFT = 10
"""In `glob.id`, above the number of joggers."""


class AskedBucket(msgspec.Struct, frozen=True):
    """One that a question about jobs names; without a name any."""

    name: str = ""
    """Empty: any bucket."""
    provider: str = ""
    """Empty: any provider."""
    namespace: Namespace | None = None
    """None: the global one."""

    def is_of(self, job: job_pb2.Job) -> bool:
        """Whether the job works on it, or to it."""
        named = [bucket for bucket in (job.bucket, job.to_bucket) if bucket.name]
        return not self.name or any(map(self.is_named, map(messages.bucket_reference_from_message, named)))

    def is_named(self, reference: BucketReference) -> bool:
        shown = shown_reference(reference)
        asked = self.namespace or Namespace()
        namespace = {"uuid": asked.uuid, "name": asked.name}
        provider = self.provider or reference.provider
        return (self.name, provider, namespace) == (shown["name"], shown["provider"], shown["namespace"])


class JobQuestion(msgspec.Struct, frozen=True):
    """AIStore's ArgsMsg; keys come in any case, so they are lowered first."""

    id: str = ""
    """Of one job."""
    kind: str = ""
    """Of jobs: AIStore's kind, or the name that it displays."""
    bck: AskedBucket = AskedBucket()
    """Only jobs of this bucket."""
    bucket: AskedBucket = AskedBucket()
    """The same."""
    daemonid: str = ""
    """Only jobs of this target."""
    node: str = ""
    """The same."""
    onlyrunning: bool = False
    """None that have ended."""
    show_active: bool | None = None
    """The same."""

    @property
    def target(self) -> str:
        return self.daemonid or self.node

    @property
    def wanted_kind(self) -> str:
        return KIND_OF_NAME.get(self.kind, self.kind)

    @property
    def running_only(self) -> bool:
        return self.onlyrunning or bool(self.show_active)


class XactionRoutes:
    """One method for each question."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @documented(
        Documentation(
            "Tell where one job stands over all targets.",
            text="The body is the question itself: `ID`, or `Kind` for its newest job.",
            answer="JSON; `end_time` is 0 while it runs.",
            body=JobStatus,
            example={"Kind": "lru"},
        )
    )
    async def status(self, _call: Call, message: ActionMessage) -> Response:
        """Of one job over all targets; of a kind, its newest."""
        jobs = await self._jobs(question_of(message.whole))
        return json_answer(shown_status(jobs[0]))

    @documented(
        Documentation(
            "Tell where all jobs stand, or those of a kind.",
            text="The body is the question itself: `kind`, `node`.",
            answer="A list of what `status` answers, newest first.",
            body=list[JobStatus],
            example={},
        )
    )
    async def all_status(self, _call: Call, message: ActionMessage) -> Response:
        return json_answer([shown_status(job) for job in await self._matching(message)])

    @documented(
        Documentation(
            "Name the jobs that run.",
            text="The body is the question itself: `kind`, `node`.",
            answer="A list of `kind[id]`.",
            body=list[str],
            example={},
        )
    )
    async def all_running(self, _call: Call, message: ActionMessage) -> Response:
        jobs = await self._matching(message)
        return json_answer(
            [f"{job.kind}[{job.id}]" for job in jobs if job.state == job_pb2.JOB_STATE_RUNNING]
        )

    async def _matching(self, message: ActionMessage) -> Sequence[job_pb2.Job]:
        """Those asked for that have work on the target that is named, if one is; maybe none."""
        asked = question_of(message.whole)
        try:
            jobs = await self._jobs(asked)
        except JobNotFound:
            return []
        target = asked.target
        return [
            job for job in jobs if not target or target in {each.target for each in self._progress_of(job)}
        ]

    @documented(
        Documentation(
            "Tell how far each target is with the jobs that are asked for.",
            text="The body is the question itself: `ID`, `Kind`, `OnlyRunning`.",
            answer="JSON: lists of snapshots by target.",
            body=dict[str, list[JobSnapshot]],
            example={},
        )
    )
    async def snapshots(self, _call: Call, message: ActionMessage) -> Response:
        """Of jobs by target; nothing when a kind has none, an error when an id is not known."""
        asked = question_of(message.whole)
        try:
            jobs = await self._jobs(asked)
        except JobNotFound:
            if asked.id:
                raise
            jobs = []
        return json_answer(self._snapshots(jobs, asked.target))

    @documented(
        Documentation(
            "Tell how far each target is with one job.",
            text="The job is `uuid` of the query, or `ID` of the body.",
            query={"uuid": "The job's id, for `getxstats`."},
            answer="JSON: lists of snapshots by target, as `qryxstats` answers.",
            body=dict[str, list[JobSnapshot]],
            example={"ID": "{job}"},
        )
    )
    async def snapshots_of_one(self, call: Call, message: ActionMessage) -> Response:
        asked = question_of(message.whole)
        wanted = call.query.get("uuid", "") or asked.id
        if not wanted:
            raise InvalidArgument("name the job: send its id as `uuid` of the query, or as ID of the body")
        (job,) = await self._jobs(JobQuestion(id=wanted))
        return json_answer(self._snapshots([job], asked.target))

    @documented(
        Documentation(
            "Start a job of a kind that takes no more than its name.",
            text="Kinds: scrub, cleanup-store, and upkeep that finds nothing to do here: lru, resilver, rebalance, "
            "load-lom-cache.",
            value=JobQuestion,
            answer="The job's id, as text.",
            body=str,
            example={"Kind": "lru"},
        )
    )
    async def start(self, _call: Call, message: ActionMessage) -> Response:
        asked = question_of(bytes(message.value))
        channel, peer = self._parts.proxy()
        jobs = JobServiceStub(channel)
        with explained(peer):
            if asked.wanted_kind == SCRUB:
                scrub = await call_proxy(
                    jobs.StartScrub,
                    job_pb2.StartScrubRequest(),
                    timeout_seconds=CHANGE_SECONDS_MAX,
                    peer=peer,
                )
                return Response(scrub.job.id, media_type="text/plain")
            if asked.wanted_kind not in UPKEEP:
                raise NotImplementedYet(
                    f"jobs of kind {asked.kind[:40]!r} are not started like this, or not built yet"
                )
            request = job_pb2.StartUpkeepRequest(kind=asked.wanted_kind)
            upkeep = await call_proxy(
                jobs.StartUpkeep, request, timeout_seconds=CHANGE_SECONDS_MAX, peer=peer
            )
        return Response(upkeep.job.id, media_type="text/plain")

    @documented(
        Documentation(
            "Stop a job, or all of a kind.",
            text="What it has done stays done.",
            value=JobQuestion,
            answer="Nothing.",
            example={"Kind": "lru"},
        )
    )
    async def stop(self, _call: Call, message: ActionMessage) -> Response:
        """One job by its id, or all of a kind that run. Stopping what has ended does nothing."""
        asked = question_of(bytes(message.value))
        jobs = await self._jobs(asked)
        channel, peer = self._parts.proxy()
        for job in jobs:
            if job.state == job_pb2.JOB_STATE_RUNNING:
                with explained(peer):
                    await call_proxy(
                        JobServiceStub(channel).StopJob,
                        job_pb2.StopJobRequest(id=job.id),
                        timeout_seconds=CHANGE_SECONDS_MAX,
                        idempotent=True,
                        peer=peer,
                    )
        return Response(status_code=200)

    async def _jobs(self, asked: JobQuestion) -> Sequence[job_pb2.Job]:
        """Newest first; at least one. Raises JobNotFound."""
        channel, peer = self._parts.proxy()
        stub = JobServiceStub(channel)
        with explained(peer):
            if asked.id:
                one = await call_proxy(
                    stub.GetJob,
                    job_pb2.GetJobRequest(id=asked.id),
                    timeout_seconds=CHANGE_SECONDS_MAX,
                    idempotent=True,
                    peer=peer,
                )
                jobs = [one.job]
            else:
                request = job_pb2.ListJobsRequest(kind=asked.wanted_kind, page_size=PAGE_JOBS)
                page = await call_proxy(
                    stub.ListJobs, request, timeout_seconds=CHANGE_SECONDS_MAX, idempotent=True, peer=peer
                )
                jobs = list(page.jobs)
        if asked.running_only:
            jobs = [job for job in jobs if job.state == job_pb2.JOB_STATE_RUNNING]
        jobs = [job for job in jobs if asked.bck.is_of(job) and asked.bucket.is_of(job)]
        if not jobs:
            raise JobNotFound(f"no job of kind {asked.kind[:40]!r} is known", kind=asked.kind[:40])
        return jobs

    def _snapshots(self, jobs: Sequence[job_pb2.Job], target: str) -> dict[str, list[dict[str, Json]]]:
        """By target; of all targets unless one is named."""
        found: dict[str, list[dict[str, Json]]] = {}
        for job in jobs:
            for progress in self._progress_of(job):
                if target in ("", progress.target):
                    found.setdefault(progress.target, []).append(snapshot(job, progress))
        return found

    def _progress_of(self, job: job_pb2.Job) -> Sequence[job_pb2.JobProgress]:
        """A job without work for any target is one that all have done."""
        if job.progress:
            return list(job.progress)
        return [
            job_pb2.JobProgress(target=target.id, state=job.state, update_time=job.create_time)
            for target in self._parts.cluster_map().targets
        ]


def question_of(body: bytes) -> JobQuestion:
    """Raises InvalidArgument."""
    if not body.strip() or body.strip() == b"null":
        return JobQuestion()
    try:
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        known = {name.lower(): value for name, value in given.items() if bytes(value) != b"null"}
        return msgspec.json.decode(msgspec.json.encode(known), type=JobQuestion)
    except UNDECODABLE as error:
        raise InvalidArgument(f"the question about jobs cannot be read: {error}") from error


def shown_status(job: job_pb2.Job) -> dict[str, Json]:
    running = job.state == job_pb2.JOB_STATE_RUNNING
    return {
        "uuid": job.id,
        "kind": job.kind,
        "err": errors_of(job),
        "end_time": 0 if running else messages.timestamp_from_message(job.end_time),
        "aborted": is_aborted(job.state),
        "is_idle": not running,
    }


def errors_of(job: job_pb2.Job) -> str:
    return "; ".join(f"{each.target}: {each.error}" for each in job.progress if each.error)


def is_aborted(state: int) -> bool:
    """AIStore has one word for what was stopped and what an error ended."""
    return state in (job_pb2.JOB_STATE_ABORTED, job_pb2.JOB_STATE_FAILED)


def snapshot(job: job_pb2.Job, progress: job_pb2.JobProgress) -> dict[str, Json]:
    """AIStore's Snap: counts are decimal strings, times are RFC 3339."""
    running = progress.state == job_pb2.JOB_STATE_RUNNING
    aborted = is_aborted(progress.state)
    shown: dict[str, Json] = {
        "id": job.id,
        "kind": job.kind,
        "start-time": rfc3339(messages.timestamp_from_message(job.create_time)),
        "end-time": NEVER if running else rfc3339(messages.timestamp_from_message(progress.update_time)),
        "stats": {
            "loc-objs": str(progress.objects),
            "loc-bytes": str(progress.bytes),
            "out-objs": "0",
            "out-bytes": "0",
            "in-objs": "0",
            "in-bytes": "0",
        },
        "aborted": aborted,
        "is_idle": not running,
        "abort-err": progress.error if aborted else "",
        "err": progress.error,
        "glob.id": str(job.workers << WORKERS_SHIFT | 1),
        "ctlmsg": "",
    }
    if job.HasField("bucket"):
        source = shown_reference(messages.bucket_reference_from_message(job.bucket))
        shown["bck"] = source
        if job.HasField("to_bucket"):
            shown["src-bck"] = source
            shown["dst-bck"] = shown_reference(messages.bucket_reference_from_message(job.to_bucket))
    return shown


def rfc3339(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"
