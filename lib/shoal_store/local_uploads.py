"""Multipart uploads over the engine: parts become chunk files, and the object is made of them where they lie."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from shoal_core.errors import InvalidArgument, InvalidPart, TooBusy, UploadNotFound
from shoal_core.multipart import (
    PARTS_MAX,
    Completion,
    PartChoice,
    PartInfo,
    UploadInfo,
    UploadPage,
    UploadQuery,
)
from shoal_core.objects import Bucket, ObjectInfo, PutRequest
from shoal_core.part_runs import runs_of
from shoal_store.commit import Commit, Committer, Kind, UploadStep, conditions_of
from shoal_store.durability import close_read, storage_error
from shoal_store.keys import encode_name
from shoal_store.reader import StoreReader
from shoal_store.record import Record
from shoal_store.threads import in_thread
from shoal_store.uploads import Part, Upload, new_upload_id
from shoal_store.uploads_read import FoundUpload, id_of, part_info, upload_info
from shoal_store.writer import BodyWriter
from shoal_store.written_commit import commit_written, to_the_end

ALONE_SECONDS_MAX = 30.0
ALONE_LOOK_SECONDS = 0.02


class LocalUploads:
    def __init__(
        self, reader: StoreReader, writer: BodyWriter, committer: Committer, *, epoch: Callable[[], int]
    ) -> None:
        self.reader = reader
        self._writer = writer
        self._committer = committer
        self._epoch = epoch

    async def begin_upload(self, bucket: Bucket, request: PutRequest) -> UploadInfo:
        encode_name(request.name)
        id = new_upload_id()
        upload = Upload(request.name, request.content_type, dict(request.metadata), 0, dict(request.headers))
        commit = self._commit_of("begin-upload", bucket, request.name, UploadStep(id, begins=upload))
        begun = await self._committer.commit(commit)
        return replace(upload_info(id.hex(), upload), created_ns=begun.modified_ns)

    async def put_part(
        self, bucket: Bucket, upload_id: str, number: int, request: PutRequest, body: AsyncIterator[bytes]
    ) -> PartInfo:
        if not 1 <= number <= PARTS_MAX:
            raise InvalidArgument(f"a part has a number from 1 to {PARTS_MAX}, not {number}")
        # Before the bytes are taken; the commit looks again.
        found = await in_thread(self.reader.uploads.find, bucket, request.name, upload_id)
        written = await self._writer.write(bucket, request, body, upload=upload_id)
        part = part_of(written.record)
        step = UploadStep(found.id, number=number, part=part)
        commit = self._commit_of("put-part", bucket, request.name, step)
        committed = await commit_written(self._committer, commit, written)
        return replace(part_info(number, part), modified_ns=committed.modified_ns)

    async def complete_upload(
        self, bucket: Bucket, name: str, upload_id: str, completion: Completion
    ) -> ObjectInfo:
        # The upload's id lies in a folder's name only to spread the waiting.
        folder = self.reader.uploads.index_of(bucket, name).path / "data" / id_of(upload_id).hex()[-2:]
        return await to_the_end(self._complete(bucket, name, upload_id, completion, folder=folder))

    async def _complete(
        self, bucket: Bucket, name: str, upload_id: str, completion: Completion, *, folder: Path
    ) -> ObjectInfo:
        async with alone(folder):
            try:
                found = await in_thread(self.reader.uploads.find, bucket, name, upload_id)
            except UploadNotFound:
                if (info := self.reader.uploads.completed(bucket, name, upload_id)) is None:
                    raise
                return info
            record = completed_record(found, completion)
            await in_thread(self._writer.write_manifest, bucket, name, record)
            numbers = tuple(choice.number for choice in completion.parts)
            commit = self._commit_of(
                "complete-upload",
                bucket,
                name,
                UploadStep(found.id, numbers=numbers),
                record=record,
                completion=completion,
            )
            # Whatever comes of it, nothing is discarded: the parts belong to the upload as long as there is one,
            # and a manifest that was written in vain goes with them.
            return await self._committer.commit(commit)

    async def abort_upload(self, bucket: Bucket, name: str, upload_id: str) -> None:
        encode_name(name)
        step = UploadStep(id_of(upload_id))
        await self._committer.commit(self._commit_of("abort-upload", bucket, name, step))

    async def list_uploads(self, bucket: Bucket, query: UploadQuery) -> UploadPage:
        return await in_thread(self.reader.uploads.page, bucket, query)

    async def list_parts(
        self, bucket: Bucket, name: str, upload_id: str
    ) -> tuple[UploadInfo, tuple[PartInfo, ...]]:
        found = await in_thread(self.reader.uploads.find, bucket, name, upload_id)
        parts = tuple(part_info(number, part) for number, part in found.parts.items())
        return upload_info(upload_id, found.upload), parts

    def _commit_of(
        self,
        kind: Kind,
        bucket: Bucket,
        name: str,
        step: UploadStep,
        *,
        record: Record | None = None,
        completion: Completion | None = None,
    ) -> Commit:
        return Commit(
            kind,
            bucket.id,
            bucket.generation,
            name,
            self._epoch(),
            bucket.properties.versioning,
            record,
            conditions=conditions_of((completion or NO_COMPLETION).preconditions),
            upload=step,
        )


NO_COMPLETION = Completion(())


@asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[None]:
    """One completion at a time on this host, also among processes: two that choose other parts of one upload would
    write the same manifest. Raises TooBusy after a while."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise storage_error(error, f"cannot open {folder}") from error
    try:
        deadline = time.monotonic() + ALONE_SECONDS_MAX
        while not locked(descriptor):
            if time.monotonic() >= deadline:
                raise TooBusy("other uploads are being completed at this moment: repeat after a pause")
            await asyncio.sleep(ALONE_LOOK_SECONDS)
        yield
    finally:
        close_read(descriptor)


def locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def part_of(record: Record) -> Part:
    return Part(
        record.size,
        record.etag,
        record.checksum_type,
        record.checksum_value,
        0,
        record.chunks,
        record.headers,
    )


def completed_record(found: FoundUpload, completion: Completion) -> Record:
    """Raises InvalidPart, InvalidArgument."""
    numbers = [choice.number for choice in completion.parts]
    if not numbers:
        raise InvalidPart("an upload is completed with one part at least: name the parts")
    if any(one >= following for one, following in pairwise(numbers)):
        raise InvalidArgument("the parts of an upload are named in ascending order, each once")
    parts = [chosen(found, choice) for choice in completion.parts]
    return Record(
        size=sum(part.size for part in parts),
        etag=completion.etag,
        checksum_type="none",
        checksum_value="",
        content_type=found.upload.content_type,
        metadata=found.upload.metadata,
        chunks=tuple(chunk for part in parts for chunk in part.chunks),
        upload=found.id.hex(),
        headers={**found.upload.headers, **completion.headers},
        parts=runs_of(zip(numbers, (part.size for part in parts), strict=True)),
    )


def chosen(found: FoundUpload, choice: PartChoice) -> Part:
    part = found.parts.get(choice.number)
    if part is None or part.etag != choice.etag:
        state = "was not uploaded" if part is None else f"has the etag {part.etag}, not {choice.etag[:64]}"
        raise InvalidPart(
            f"part {choice.number} of the upload {state}: upload it again or correct the list",
            part=str(choice.number),
        )
    return part
