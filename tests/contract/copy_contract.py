"""What `copy` and `annotate` of every `ObjectStore` promise; a test module runs it as it runs `ObjectStoreContract`."""

from __future__ import annotations

import hashlib
import os

import pytest

from contract.object_store_contract import BUCKET, CHUNKED_BUCKET, OTHER_BUCKET, get, pieces, put
from shoal_core.errors import InvalidName, ObjectNotFound, PreconditionFailed
from shoal_core.objects import (
    FRAME_BYTES,
    Bucket,
    CopyRequest,
    Description,
    ObjectStore,
    Preconditions,
    PutRequest,
)

COPY_NAMES = ("b", "c/d", "long" * 200, "é/猫/😀")
"""Enough for several owners."""


async def digest(store: ObjectStore, name: str, *, bucket: Bucket = BUCKET) -> str:
    return digest_of(await get(store, name, bucket=bucket))


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class CopyContract:
    @pytest.mark.parametrize("bucket", [BUCKET, OTHER_BUCKET], ids=["same-bucket", "other-bucket"])
    @pytest.mark.parametrize("size", [0, 5, 32 * 1024 + 1, 3 * FRAME_BYTES + 7])
    async def test_copies_outlive_their_source(self, store: ObjectStore, size: int, bucket: Bucket) -> None:
        data = os.urandom(size)
        request = PutRequest(
            "a", content_type="text/x", metadata={"k": "v"}, headers={"cache-control": "no-store"}
        )
        source = await store.put(BUCKET, request, pieces(data))
        copies = [await store.copy(bucket, CopyRequest(BUCKET, "a", name)) for name in COPY_NAMES]
        await store.delete(BUCKET, "a")
        for copy in copies:
            assert await digest(store, copy.name, bucket=bucket) == digest_of(data)
            assert await store.head(bucket, copy.name) == copy
            assert (copy.size, copy.etag, copy.checksum) == (size, source.etag, source.checksum)
            assert (copy.metadata, copy.headers) == (source.metadata, source.headers)
            assert (copy.content_type, copy.sequence) == ("text/x", 1)

    async def test_chunks_are_copied_again_and_again(self, store: ObjectStore) -> None:
        data = os.urandom(3 * FRAME_BYTES + 7)
        await put(store, "a", data, bucket=CHUNKED_BUCKET)
        await store.copy(CHUNKED_BUCKET, CopyRequest(CHUNKED_BUCKET, "a", "b"))
        await store.delete(CHUNKED_BUCKET, "a")
        copy = await store.copy(CHUNKED_BUCKET, CopyRequest(CHUNKED_BUCKET, "b", "c"))
        await store.delete(CHUNKED_BUCKET, "b")
        assert (copy.chunk_count, copy.chunk_bytes_max) == (4, FRAME_BYTES)
        assert await digest(store, "c", bucket=CHUNKED_BUCKET) == digest_of(data)

    @pytest.mark.parametrize("size", [5, 100_000])
    async def test_a_copy_onto_itself_is_an_overwrite(self, store: ObjectStore, size: int) -> None:
        data = os.urandom(size)
        first = await put(store, "a", data)
        description = Description("text/plain", {"new": "pair"}, {})
        copy = await store.copy(BUCKET, CopyRequest(BUCKET, "a", "a", description))
        assert (copy.sequence, copy.content_type, copy.metadata) == (2, "text/plain", {"new": "pair"})
        assert copy.version > first.version
        assert await digest(store, "a") == digest_of(data)

    async def test_what_cannot_be_copied_changes_nothing(self, store: ObjectStore) -> None:
        first, kept = await put(store, "a", b"a" * 40_000), await put(store, "b", b"b" * 40_000)
        with pytest.raises(ObjectNotFound):
            await store.copy(BUCKET, CopyRequest(BUCKET, "missing", "b"))
        never = Preconditions(if_none_match=("*",))
        with pytest.raises(PreconditionFailed):
            await store.copy(BUCKET, CopyRequest(BUCKET, "a", "b", preconditions=never))
        other = Preconditions(if_version=kept.version)
        with pytest.raises(PreconditionFailed):
            await store.copy(BUCKET, CopyRequest(BUCKET, "a", "b", source_preconditions=other))
        with pytest.raises(InvalidName):
            await store.copy(BUCKET, CopyRequest(BUCKET, "a", "x" * 1025))
        assert (await store.head(BUCKET, "b")).version == kept.version
        same = Preconditions(if_version=first.version)
        copy = await store.copy(BUCKET, CopyRequest(BUCKET, "a", "b", source_preconditions=same))
        assert (copy.etag, copy.sequence) == (first.etag, 2)

    @pytest.mark.parametrize("name", ["a", "n" * 900])
    async def test_pairs_change_within_the_version(self, store: ObjectStore, name: str) -> None:
        first = await put(store, name, b"x" * 40_000)
        await store.annotate(BUCKET, name, {"a": "1", "b": "2"})
        added = await store.annotate(BUCKET, name, {"b": "3", "c": "猫"})
        assert added.metadata == {"a": "1", "b": "3", "c": "猫"}
        assert await store.head(BUCKET, name) == added
        assert (added.version, added.sequence, added.modified_ns) == (first.version, 1, first.modified_ns)
        replaced = await store.annotate(BUCKET, name, {"d": "4"}, replace=True)
        assert replaced.metadata == {"d": "4"}
        with pytest.raises(PreconditionFailed):
            await store.annotate(BUCKET, name, {"e": ""}, preconditions=Preconditions(if_match=("other",)))
        with pytest.raises(ObjectNotFound):
            await store.annotate(BUCKET, "missing", {"e": ""})
        assert await digest(store, name) == digest_of(b"x" * 40_000)
