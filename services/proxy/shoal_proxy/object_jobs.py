"""Jobs over many objects, as they are asked for: checked, given to targets, and visible before they are answered."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import msgspec

from shoal.common.v1 import common_pb2
from shoal.job.v1 import job_pb2
from shoal_archive.formats import ArchiveFormat, format_of_mime, format_of_name
from shoal_core import messages
from shoal_core.access import Permission, authorize
from shoal_core.buckets import BucketDirectory, BucketRegistry
from shoal_core.errors import BucketAlreadyExists, BucketNotFound, InvalidArgument, Unavailable
from shoal_core.etcd.client import EtcdClient
from shoal_core.jobs import Job, JobBoard, JobSpecification, new_job_id
from shoal_core.membership import ClusterView
from shoal_core.names import checked_object_name
from shoal_core.object_jobs import (
    ARCHIVE,
    COPY_BUCKET,
    COPY_OBJECTS,
    DELETE_OBJECTS,
    WORKERS_MAX,
    ObjectsArguments,
    Selection,
    arguments_of,
    keep_names,
)
from shoal_core.objects import Bucket, BucketReference
from shoal_core.rpc import current_principal
from shoal_proxy.observers import Observers

EXTENSIONS_MAX = 100


@dataclass(frozen=True, slots=True)
class ObjectJobs:
    """Each method makes a job. Raises BucketNotFound, PermissionDenied, InvalidArgument, InvalidName."""

    etcd: EtcdClient
    board: JobBoard
    view: ClusterView
    directory: BucketDirectory
    registry: BucketRegistry
    observers: Observers

    async def delete(self, request: job_pb2.StartDeleteRequest) -> Job:
        bucket = await self._bucket(request.bucket, Permission.DELETE_OBJECT)
        selection = selection_of(request.selection)
        if selection.is_everything:
            raise InvalidArgument("the job selects every object: remove the bucket, or name a prefix")
        arguments = ObjectsArguments(
            keep_going=int(request.keep_going), workers=checked_workers(request.workers)
        )
        return await self._start(DELETE_OBJECTS, bucket, selection, arguments)

    async def copy(self, request: job_pb2.StartCopyRequest) -> Job:
        bucket = await self._bucket(request.bucket, Permission.GET)
        selection = selection_of(request.selection)
        if len(request.extensions) > EXTENSIONS_MAX:
            raise InvalidArgument(f"at most {EXTENSIONS_MAX} extensions can be changed at once")
        to = await self._destination(request.to_bucket, like=bucket)
        extensions = dict(request.extensions)
        if to.id == bucket.id and not (request.prepend or extensions):
            raise InvalidArgument(
                f"{bucket.reference} cannot be copied onto itself: name another bucket or a prefix"
            )
        arguments = ObjectsArguments(
            prepend=request.prepend,
            extensions=msgspec.json.encode(extensions).decode() if extensions else "",
            keep_going=int(request.keep_going),
            dry_run=int(request.dry_run),
            workers=checked_workers(request.workers),
        )
        by_names = bool(selection.names or selection.template)
        kind = COPY_OBJECTS if by_names else COPY_BUCKET
        return await self._start(kind, bucket, selection, to_bucket(arguments, to))

    async def archive(self, request: job_pb2.StartArchiveRequest) -> Job:
        bucket = await self._bucket(request.bucket, Permission.GET)
        to = bucket
        if request.HasField("to_bucket") and request.to_bucket.name:
            to = await self._bucket(request.to_bucket, Permission.PUT)
        name = checked_object_name(request.archive)
        format = format_of_mime(request.format) if request.format else format_of_name(name)
        arguments = ObjectsArguments(
            archive=name,
            mime=(format or ArchiveFormat.TAR).value,
            with_bucket=int(request.with_bucket),
            append=int(request.append),
            keep_going=int(request.keep_going),
        )
        owner = self.view.current.target_of(to.id, name).id
        selection = selection_of(request.selection)
        return await self._start(ARCHIVE, bucket, selection, to_bucket(arguments, to), targets=(owner,))

    async def _start(
        self,
        kind: str,
        bucket: Bucket,
        selection: Selection,
        arguments: ObjectsArguments,
        *,
        targets: tuple[str, ...] = (),
    ) -> Job:
        targets = targets or tuple(target.id for target in self.view.current.targets)
        if not targets:
            raise Unavailable("no target has joined the cluster yet: start one, then repeat")
        job_id = new_job_id()
        if selection.names:
            await keep_names(self.etcd, job_id, selection.names)
        arguments = replace(
            arguments, template=selection.template, prefix=selection.prefix, listed=len(selection.names)
        )
        specification = JobSpecification(
            kind, bucket.reference, bucket.id, targets, time.time_ns(), arguments_of(arguments)
        )
        return await self.board.start(specification, job_id=job_id)

    async def _bucket(self, message: common_pb2.BucketReference, permission: Permission) -> Bucket:
        reference = messages.bucket_reference_from_message(message)
        return await self.directory.resolve(reference, permission=permission, principal=current_principal())

    async def _destination(self, message: common_pb2.BucketReference, *, like: Bucket) -> Bucket:
        """Made as its source is, if it is not there and the caller may make buckets."""
        try:
            return await self._bucket(message, Permission.PUT)
        except BucketNotFound:
            reference = messages.bucket_reference_from_message(message)
        return await self._made(reference, like)

    async def _made(self, reference: BucketReference, like: Bucket) -> Bucket:
        authorize(current_principal(), Permission.CREATE_BUCKET, reference)
        try:
            bucket = await self.registry.create(reference, like.properties)
        except BucketAlreadyExists:
            return await self.registry.get(reference)
        await self.observers.wait_for(bucket.generation)
        return bucket


def to_bucket(arguments: ObjectsArguments, bucket: Bucket) -> ObjectsArguments:
    reference = bucket.reference
    return replace(
        arguments,
        to_provider=reference.provider,
        to_namespace=reference.namespace,
        to_name=reference.name,
        to_id=bucket.id.hex(),
    )


def selection_of(message: job_pb2.ObjectSelection) -> Selection:
    return Selection(tuple(message.names), message.template, message.prefix).checked()


def checked_workers(workers: int) -> int:
    if workers > WORKERS_MAX:
        raise InvalidArgument(f"{workers} workers are too many: a target has at most {WORKERS_MAX} a job")
    return max(workers, -1)
