"""`ObjectStore` over the engine: in the target with its own committers, in gateways with a stream to the target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

from shoal_core.errors import ShoalError
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    ListPage,
    ListQuery,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)
from shoal_store.commit import Commit, Committer, conditions_of
from shoal_store.keys import encode_name
from shoal_store.reader import StoredBody, StoreReader
from shoal_store.threads import in_thread
from shoal_store.writer import BodyWriter, Written


class LocalObjectStore:
    def __init__(
        self, reader: StoreReader, writer: BodyWriter, committer: Committer, *, epoch: Callable[[], int]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._committer = committer
        self._epoch = epoch

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        encode_name(request.name)
        written = await self._writer.write(bucket, request, body)
        commit = Commit(
            "put",
            bucket.id,
            bucket.generation,
            request.name,
            self._epoch(),
            bucket.properties.versioning,
            written.record,
            written.payload,
            conditions_of(request.preconditions),
        )
        # Not cancelled with its caller: only the outcome tells whether the files are still needed.
        committing = asyncio.ensure_future(self._committer.commit(commit))
        try:
            return await asyncio.shield(committing)
        except ShoalError as error:
            if nothing_changed(error):
                await in_thread(written.discard)
            raise
        except asyncio.CancelledError:
            committing.add_done_callback(partial(discard_unless_committed, written))
            raise

    async def open(
        self,
        bucket: Bucket,
        name: str,
        *,
        range: RangeRequest | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> StoredBody:
        return await self._reader.open(bucket, name, range, preconditions)

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        return self._reader.head(bucket, name, preconditions)

    async def delete(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        encode_name(name)
        commit = Commit(
            "delete",
            bucket.id,
            bucket.generation,
            name,
            self._epoch(),
            bucket.properties.versioning,
            conditions=conditions_of(preconditions),
        )
        return await self._committer.commit(commit)

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage:
        return await in_thread(self._reader.page, bucket, query)


def discard_unless_committed(written: Written, committing: asyncio.Future[ObjectInfo]) -> None:
    """When a writer went away in the middle of its commit. On the event loop, so the removal goes to a thread."""
    if committing.cancelled():
        return
    error = committing.exception()
    if isinstance(error, ShoalError) and nothing_changed(error):
        asyncio.get_running_loop().run_in_executor(None, written.discard)


def nothing_changed(error: ShoalError) -> bool:
    """Whether a commit that failed with this has surely not happened. If it may have, its files must stay:
    a record may name them; if none does, they are orphans, which `shoal fsck` shows."""
    return error.metadata.get("outcome") != "unknown"
