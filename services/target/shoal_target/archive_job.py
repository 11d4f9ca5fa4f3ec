"""The job `archive`: many objects, of any target, into one archive that this target owns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, closing
from itertools import islice

from shoal_archive.archives import Archives
from shoal_archive.batch import BatchReader, Elsewhere, Item
from shoal_archive.formats import format_of_mime
from shoal_archive.packing import packer_of
from shoal_archive.selecting import printable
from shoal_core.errors import ObjectNotFound, ShoalError, TooBusy, Unavailable
from shoal_core.jobs import JobSpecification, ProgressReport
from shoal_core.names import checked_object_name
from shoal_core.objects import BodyBytes, Bucket, ListQuery, PutRequest
from shoal_core.telemetry import get_logger
from shoal_target.job_runner import Work
from shoal_target.object_jobs import FAILURES_TOLD_MAX, LIST_PAGE, Cluster, ObjectsJob
from shoal_target.rechunk import bucket_of

ITEMS_AT_ONCE = 4000
PIECE_BYTES = 512 << 10


def archive_with(cluster: Cluster, elsewhere: Elsewhere) -> Work:
    """The job's work. An archive is one object, so what was interrupted begins anew."""

    async def work(job: JobSpecification, report: ProgressReport) -> None:
        bucket = await bucket_of(job, cluster.engine.target, cluster.buckets)
        selected = ObjectsJob(cluster, job, report, bucket)
        to = cluster.buckets.by_id(selected.arguments.to_bucket_id)
        if to is None:
            raise Unavailable(f"{selected.arguments.to_reference} is not known here yet, or was removed")
        archiving = Archiving(cluster, elsewhere, selected, report, to)
        async with aclosing(archiving.content()) as content:
            request = PutRequest(name=selected.arguments.archive, content_type=archiving.format.media_type)
            await cluster.store.put(to, request, content)

    return work


class Archiving:
    """One archive as it is written."""

    def __init__(
        self,
        cluster: Cluster,
        elsewhere: Elsewhere,
        selected: ObjectsJob,
        report: ProgressReport,
        to: Bucket,
    ) -> None:
        self.format = format_of_mime(selected.arguments.mime)
        self._cluster = cluster
        self._arguments = selected.arguments
        self._selected = selected
        self._report = report
        self._to = to
        self._archives = Archives(cluster.store)
        self._reader = BatchReader(cluster.store, self._archives, elsewhere=elsewhere)
        self._packer, self._compressor = packer_of(self.format, modified_seconds=int(time.time()))
        self._failures: list[str] = []

    async def content(self) -> AsyncGenerator[bytes, None]:
        """The archive, in pieces."""
        with closing(self._packer):
            async with aclosing(self._packed()) as pieces:
                gathered, size = list[BodyBytes](), 0
                async for piece in pieces:
                    gathered.append(piece)
                    size += len(piece)
                    if size >= PIECE_BYTES:
                        yield await self._compressed(gathered)
                        gathered, size = [], 0
            gathered.append(self._packer.end())
            yield await self._compressed(gathered) + (self._compressor.finish() if self._compressor else b"")

    async def _compressed(self, pieces: Sequence[BodyBytes]) -> bytes:
        data = b"".join(pieces)
        return await asyncio.to_thread(self._compressor.compress, data) if self._compressor else data

    async def _packed(self) -> AsyncGenerator[BodyBytes, None]:
        if self._arguments.append:
            async for old in self._as_it_was():
                yield old
        async for names in self._names():
            async with aclosing(self._members(names)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _as_it_was(self) -> AsyncIterator[bytes]:
        """The members of the archive that is gone on with, if there is one."""
        try:
            _, members = await self._archives.members(self._to, self._arguments.archive)
        except ObjectNotFound:
            return
        for member in members:
            body = await self._archives.open_member(self._to, self._arguments.archive, member.name)
            try:
                yield self._packer.begin(printable(member.name), body.size)
                async for data in body.chunks():
                    yield self._packer.piece(data)
                yield self._packer.finish()
            finally:
                await body.close()

    async def _members(self, names: Sequence[str]) -> AsyncGenerator[BodyBytes, None]:
        bucket = self._selected.bucket
        items = [Item(bucket, checked_object_name(name)) for name in names]
        position = 0
        async with aclosing(self._reader.begin(items).entries()) as groups:
            async for entries in groups:
                for entry in entries:
                    name, position = names[position], position + 1
                    if entry.error is not None:
                        self._failed(entry.error)
                        continue
                    path = f"{bucket.reference.name}/{name}" if self._arguments.with_bucket else name
                    if entry.body is None:
                        for piece in self._packer.whole(path, entry.data):
                            yield piece
                    else:
                        yield self._packer.begin(path, entry.size)
                        async for data in entry.chunks(name):
                            yield self._packer.piece(data)
                        yield self._packer.finish()
                    await self._report.add(objects=1, bytes=entry.size)

    def _failed(self, error: ShoalError) -> None:
        """Raises what ends the job."""
        if isinstance(error, Unavailable | TooBusy):
            raise error
        if isinstance(error, ObjectNotFound) and not self._arguments.listed:
            return
        if not self._arguments.keep_going:
            raise error
        self._failures.append(error.message)
        told = "; ".join(self._failures[:FAILURES_TOLD_MAX])
        self._report.error = f"{len(self._failures)} objects left out: {told}"
        get_logger().warning("object-not-archived", job=self._report.job_id, reason=error.message)

    async def _names(self) -> AsyncIterator[Sequence[str]]:
        if self._arguments.listed or self._arguments.template:
            for some in in_pieces(await self._selected.names()):
                yield some
            return
        after = ""
        while True:
            query = ListQuery(prefix=self._arguments.prefix, start_after=after, limit=LIST_PAGE)
            page = await self._cluster.store.list(self._selected.bucket, query)
            own = self._arguments.archive if self._to.id == self._selected.bucket.id else None
            yield [info.name for info in page.entries if info.name != own]
            after = page.next_after
            if not after:
                return


def in_pieces(names: Iterable[str]) -> Iterable[Sequence[str]]:
    rest = iter(names)
    while some := list(islice(rest, ITEMS_AT_ONCE)):
        yield some
