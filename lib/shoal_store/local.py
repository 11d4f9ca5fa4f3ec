"""`MultipartStore` over the engine: in the target with its own committers, in gateways with a stream to the target."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping

from shoal_core.copying import copy_bytes
from shoal_core.errors import DataCorrupt
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    CopyRequest,
    ListPage,
    ListQuery,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)
from shoal_store import conditions
from shoal_store.commit import Annotation, Commit, conditions_of
from shoal_store.copying import CannotLink, unplaced
from shoal_store.hashing import Bytes
from shoal_store.keys import encode_name
from shoal_store.local_uploads import LocalUploads
from shoal_store.reader import ATTEMPTS_LEFT
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

    async def put_whole(self, bucket: Bucket, request: PutRequest, body: Bytes) -> ObjectInfo:
        """As `put`, of a body that is here, and larger than `put_inline` takes."""
        encode_name(request.name)
        written = await in_thread(self._writer.write_whole, bucket, request, body)
        return await commit_written(self._committer, self._put_commit(bucket, request, written), written)

    def _put_commit(self, bucket: Bucket, request: PutRequest | CopyRequest, written: Written) -> Commit:
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

    async def open(
        self,
        bucket: Bucket,
        name: str,
        *,
        range: RangeRequest | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> StoredBody:
        return await self.reader.open(bucket, name, range, preconditions)

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        return await self.reader.head(bucket, name, preconditions)

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
        return await in_thread(self.reader.page, bucket, query)

    async def copy(self, bucket: Bucket, request: CopyRequest) -> ObjectInfo:
        """Raises StaleEpoch when this target has not both names."""
        encode_name(request.name)
        try:
            written = await in_thread(self._linked, bucket, request)
        except CannotLink:
            return await copy_bytes(self, self, bucket, request)
        return await commit_written(self._committer, self._put_commit(bucket, request, written), written)

    def _linked(self, bucket: Bucket, request: CopyRequest) -> Written:
        """Blocks."""
        for attempt in ATTEMPTS_LEFT:
            found, payload = self.reader.record(request.source, request.source_name)
            conditions.check(request.source_preconditions, found, reading=True)
            record = unplaced(found, request.description)
            if record.inline:
                return Written(record, payload, ())
            try:
                return self._writer.link(bucket, request.name, record)
            except FileNotFoundError as error:
                if not attempt:
                    raise DataCorrupt(
                        f"a chunk file of {request.source.reference}/{request.source_name} is missing: "
                        "run `shoal fsck`"
                    ) from error
        raise AssertionError("the last attempt returns or raises")

    async def annotate(
        self,
        bucket: Bucket,
        name: str,
        metadata: Mapping[str, str],
        *,
        replace: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectInfo:
        encode_name(name)
        commit = Commit(
            "annotate",
            bucket.id,
            bucket.generation,
            name,
            self._epoch(),
            bucket.properties.versioning,
            conditions=conditions_of(preconditions),
            annotation=Annotation(dict(metadata), replace),
        )
        return await self._committer.commit(commit)
