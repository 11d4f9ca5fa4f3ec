"""`MultipartStore` over the engine: in the target with its own committers, in gateways with a stream to the target."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

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
from shoal_store.commit import Commit, conditions_of
from shoal_store.keys import encode_name
from shoal_store.local_uploads import LocalUploads
from shoal_store.reader import StoreReader
from shoal_store.stored_body import StoredBody
from shoal_store.threads import in_thread
from shoal_store.writer import Written, inline
from shoal_store.written_commit import commit_written


class LocalObjectStore(LocalUploads):
    """Objects as a whole; its base has them in parts."""

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        encode_name(request.name)
        written = await self._writer.write(bucket, request, body)
        return await commit_written(self._committer, self._put_commit(bucket, request, written), written)

    def put_inline(self, bucket: Bucket, request: PutRequest, payload: bytes) -> Awaitable[ObjectInfo]:
        """As `put`, of a body that is here and small enough for the index. Under way when this returns."""
        encode_name(request.name)
        return self._committer.commit(self._put_commit(bucket, request, inline(bucket, request, payload)))

    def _put_commit(self, bucket: Bucket, request: PutRequest, written: Written) -> Commit:
        return Commit(
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

    @property
    def reader(self) -> StoreReader:
        return self._reader

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
        return await self._reader.head(bucket, name, preconditions)

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
