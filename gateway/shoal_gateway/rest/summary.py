"""Bucket summaries: a job is begun with one request, and asked for its figures with the next ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from fastapi import Response

from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal_core import messages
from shoal_core.errors import Conflict, JobNotFound
from shoal_core.jobs import SUMMARY
from shoal_core.objects import Bucket, BucketReference
from shoal_core.rpc import call as call_proxy
from shoal_core.usage import BucketUsage, together
from shoal_gateway.call import Call
from shoal_gateway.control import CHANGE_SECONDS_MAX, explained
from shoal_gateway.parts import Parts, ProxyChannel
from shoal_gateway.rest.actions import ActionMessage, decode_value
from shoal_gateway.rest.bucket_properties import Json, shown_properties
from shoal_gateway.rest.dispatch import json_answer, json_header
from shoal_gateway.rest.names import shown_reference

ACCEPTED = 202


class SummaryMessage(msgspec.Struct, frozen=True):
    """The value of action `summary-bck`. What it says of remote objects changes nothing: there are none yet."""

    uuid: str = ""
    """The job that counts; empty: begin one."""
    prefix: str = ""
    """Only objects whose names begin so."""


class Summaries:
    """The two ways to ask: GET with a message, for one bucket or many, and HEAD, for one and its properties."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def of_buckets(self, call: Call, message: ActionMessage, wanted: Sequence[Bucket]) -> Response:
        """Of all `wanted`. The first answer must be 202 with the bare id, or the official SDK gives up."""
        value = decode_value(message, SummaryMessage) or SummaryMessage()
        if not value.uuid:
            one = call.bucket and wanted[0].reference
            return Response(
                await begin(self._parts.proxy, one, value.prefix), ACCEPTED, media_type="text/plain"
            )
        job = await found(self._parts.proxy, value.uuid)
        if job.state == job_pb2.JOB_STATE_RUNNING:
            return Response(status_code=ACCEPTED)
        return json_answer([shown_summary(bucket, job.progress) for bucket in wanted])

    async def of_head(self, call: Call, bucket: Bucket, prefix: str) -> Response:
        headers = {"Ais-Bucket-Props": json_header(shown_properties(bucket))}
        job_id = call.query.get("uuid", "").strip('"')
        if not job_id:
            headers["Ais-Xaction-Id"] = await begin(self._parts.proxy, bucket.reference, prefix)
            return Response(status_code=ACCEPTED, headers=headers)
        job = await found(self._parts.proxy, job_id)
        headers["Ais-Xaction-Id"] = job.id
        if job.state == job_pb2.JOB_STATE_RUNNING:
            return Response(status_code=ACCEPTED, headers=headers)
        headers["Ais-Bucket-Summ"] = json_header(shown_summary(bucket, job.progress))
        return Response(headers=headers)


async def begin(proxy: ProxyChannel, bucket: BucketReference | None, prefix: str) -> str:
    """The job's id."""
    request = job_pb2.StartSummaryRequest(prefix=prefix)
    if bucket is not None:
        request.bucket.CopyFrom(messages.bucket_reference_to_message(bucket))
    channel, peer = proxy()
    with explained(peer):
        # Repeated after a lost answer it counts twice, which costs a little and changes nothing.
        response = await call_proxy(
            JobServiceStub(channel).StartSummary,
            request,
            timeout_seconds=CHANGE_SECONDS_MAX,
            idempotent=True,
            peer=peer,
        )
    return response.job.id


async def found(proxy: ProxyChannel, job_id: str) -> job_pb2.Job:
    """The summary. Raises JobNotFound, and Conflict when it failed."""
    channel, peer = proxy()
    with explained(peer):
        response = await call_proxy(
            JobServiceStub(channel).GetJob,
            job_pb2.GetJobRequest(id=job_id),
            timeout_seconds=CHANGE_SECONDS_MAX,
            idempotent=True,
            peer=peer,
        )
    if response.job.kind != SUMMARY:
        raise JobNotFound(f"job {job_id[:64]} is no summary", job=job_id[:64])
    if response.job.state == job_pb2.JOB_STATE_FAILED:
        reasons = "; ".join(f"{each.target}: {each.error}" for each in response.job.progress if each.error)
        raise Conflict(f"the summary {job_id} failed ({reasons}): repeat it", job=job_id)
    return response.job


def shown_summary(bucket: Bucket, progress: Iterable[job_pb2.JobProgress]) -> dict[str, Json]:
    """AIStore's BsummResult: counts and totals are decimal strings, sizes of objects are numbers."""
    shares = list(progress)
    usage = together(
        usage_of(each) for share in shares for each in share.usage if each.bucket_id == bucket.id
    )
    disks = sum({name: size for share in shares for name, size in share.disk_bytes.items()}.values())
    return {
        **shown_reference(bucket.reference),
        "ObjCount": {"obj_count_present": str(usage.objects), "obj_count_remote": "0"},
        "ObjSize": {
            "obj_min_size": usage.smallest_bytes,
            "obj_avg_size": usage.bytes // max(usage.objects, 1),
            "obj_max_size": usage.largest_bytes,
        },
        "TotalSize": {
            "size_on_disk": str(usage.bytes_on_disk),
            "size_all_present_objs": str(usage.bytes),
            "size_all_remote_objs": "0",
            "total_disks_size": str(disks),
        },
        "used_pct": usage.bytes_on_disk * 100 // max(disks, 1),
        "is_present": True,
    }


def usage_of(message: job_pb2.BucketUsage) -> BucketUsage:
    return BucketUsage(
        message.objects,
        message.bytes,
        message.bytes_on_disk,
        message.smallest_bytes,
        message.largest_bytes,
    )
