"""What every `ObjectStore` promises; a test module runs it by subclassing and giving the fixture `store`."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from operator import attrgetter

import pytest
import xxhash

from shoal_core.errors import (
    ChecksumMismatch,
    InvalidName,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    SizeMismatch,
)
from shoal_core.objects import (
    FRAME_BYTES,
    Bucket,
    BucketId,
    BucketProperties,
    BucketReference,
    ByteRange,
    Checksum,
    ListPage,
    ListQuery,
    ObjectInfo,
    ObjectStore,
    Preconditions,
    PutRequest,
    RangeRequest,
    Version,
)

BUCKET = Bucket(BucketReference("contract"), BucketId(b"contract"), 1, 0, BucketProperties())
OTHER_BUCKET = replace(BUCKET, reference=BucketReference("other"), id=BucketId(b"other-id"))
CHUNKED_BUCKET = replace(
    BUCKET,
    reference=BucketReference("chunked"),
    id=BucketId(b"chunked-"),
    properties=BucketProperties(chunk_above_bytes=2 << 20, chunk_bytes=1 << 20),
)
BUCKETS = (BUCKET, OTHER_BUCKET, CHUNKED_BUCKET)
SIZES = [0, 1, 4096, 32 * 1024, 32 * 1024 + 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES + 7]
NAMES = [
    "a",
    "/leading",
    "trailing/",
    "a//b",
    "../up",
    "a/../b",
    ".",
    "%2F",
    "question?",
    "hash#",
    "space in it ",
    "new\nline",
    "é/猫/😀",
    "x" * 1024,
    "猫" * 341,
    "a" * 440,
    "a" * 441,
]
SECOND = 1_000_000_000


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def put(store: ObjectStore, name: str, data: bytes, *, bucket: Bucket = BUCKET) -> ObjectInfo:
    return await store.put(bucket, PutRequest(name, size=len(data)), pieces(data))


async def get(
    store: ObjectStore, name: str, *, range: RangeRequest | None = None, bucket: Bucket = BUCKET
) -> bytes:
    body = await store.open(bucket, name, range=range)
    try:
        return b"".join([piece async for piece in body.chunks()])
    finally:
        await body.close()


async def walk(store: ObjectStore, query: ListQuery) -> list[str]:
    """Names and prefixes of all pages, in the order shown."""
    shown: list[str] = []
    while True:
        page = await store.list(BUCKET, query)
        keys = page_keys(page)
        assert len(keys) <= query.limit
        shown += keys
        if not page.next_after:
            return shown
        query = replace(query, start_after=page.next_after)


def page_keys(page: ListPage) -> list[str]:
    return sorted([*(entry.name for entry in page.entries), *page.prefixes], key=str.encode)


class ObjectStoreContract:
    @pytest.mark.parametrize("size", SIZES)
    async def test_bytes_of_any_size_come_back(self, store: ObjectStore, size: int) -> None:
        data = os.urandom(size)
        info = await put(store, "name", data)
        assert info.size == size
        assert await get(store, "name") == data

    @pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:12].encode("unicode_escape").decode())
    async def test_names_are_kept_byte_for_byte(self, store: ObjectStore, name: str) -> None:
        assert (await put(store, name, b"data")).name == name
        assert (await store.head(BUCKET, name)).name == name
        assert await walk(store, ListQuery()) == [name]
        assert (await store.delete(BUCKET, name)).name == name
        assert await walk(store, ListQuery()) == []

    @pytest.mark.parametrize("name", ["", "a\0b", "x" * 1025, "猫" * 342])
    async def test_names_that_are_not_allowed_are_refused(self, store: ObjectStore, name: str) -> None:
        with pytest.raises(InvalidName):
            await put(store, name, b"data")
        with pytest.raises(InvalidName):
            await store.head(BUCKET, name)
        with pytest.raises(InvalidName):
            await store.delete(BUCKET, name)

    async def test_put_open_head_and_list_agree_on_the_record(self, store: ObjectStore) -> None:
        request = PutRequest("name", content_type="text/plain", metadata={"by": "né", "empty": ""})
        written = await store.put(BUCKET, request, pieces(b"hello ", b"world"))
        assert (written.content_type, dict(written.metadata)) == ("text/plain", {"by": "né", "empty": ""})
        assert written.checksum == Checksum("xxhash2", xxhash.xxh64_hexdigest(b"hello world"))
        assert await store.head(BUCKET, "name") == written
        assert (await store.list(BUCKET, ListQuery())).entries == (written,)
        body = await store.open(BUCKET, "name")
        assert (body.info, body.range) == (written, None)
        await body.close()

    async def test_a_brief_list_has_names_and_sizes(self, store: ObjectStore) -> None:
        for name, size in (("a", 3), ("b/1", 100_000), ("long" * 250, 5)):
            await put(store, name, bytes(size))
        entries = (await store.list(BUCKET, ListQuery(detail="size"))).entries
        assert [(info.name, info.size) for info in entries] == [("a", 3), ("b/1", 100_000), ("long" * 250, 5)]
        folded = await store.list(BUCKET, ListQuery(delimiter="/", detail="size"))
        assert ([info.name for info in folded.entries], folded.prefixes) == (["a", "long" * 250], ("b/",))

    async def test_a_list_with_etags_has_the_times_too(self, store: ObjectStore) -> None:
        for name, size in (("a", 3), ("b/1", 100_000), ("long" * 250, 5)):
            await put(store, name, bytes(size))
        wanted = attrgetter("name", "size", "etag", "modified_ns")
        found = (await store.list(BUCKET, ListQuery(detail="etag"))).entries
        assert [wanted(info) for info in found] == [
            wanted(await store.head(BUCKET, info.name)) for info in found
        ]
        assert len(found) == 3

    @pytest.mark.parametrize("size", [5, 100_000, 3 * FRAME_BYTES])
    async def test_headers_are_kept_also_those_known_at_the_end_and_the_etag_is_the_md5_if_asked(
        self, store: ObjectStore, size: int
    ) -> None:
        data, late = os.urandom(size), {"x-amz-checksum-crc32": "q1w2"}
        request = PutRequest(
            "name", headers={"content-encoding": "gzip"}, late_headers=lambda: late, md5_etag=True
        )
        written = await store.put(BUCKET, request, pieces(data))
        assert written.headers == {"content-encoding": "gzip", "x-amz-checksum-crc32": "q1w2"}
        assert written.etag == hashlib.md5(data).hexdigest()
        assert await store.head(BUCKET, "name") == written

    async def test_overwrite_replaces_and_grows_version_and_sequence(self, store: ObjectStore) -> None:
        first = await put(store, "name", b"first")
        second = await put(store, "name", os.urandom(100_000))
        third = await put(store, "name", b"first")
        assert first.version < second.version < third.version
        assert (first.sequence, second.sequence, third.sequence) == (1, 2, 3)
        assert first.etag != second.etag
        assert await get(store, "name") == b"first"

    async def test_deleted_object_is_gone_from_everywhere(self, store: ObjectStore) -> None:
        written = await put(store, "name", b"data")
        assert await store.delete(BUCKET, "name") == written
        with pytest.raises(ObjectNotFound):
            await store.open(BUCKET, "name")
        with pytest.raises(ObjectNotFound):
            await store.head(BUCKET, "name")
        with pytest.raises(ObjectNotFound):
            await store.delete(BUCKET, "name")
        assert await walk(store, ListQuery()) == []

    @pytest.mark.parametrize("size", [10, 3 * FRAME_BYTES + 10], ids=["small", "large"])
    @pytest.mark.parametrize(
        ("first", "last"),
        [(0, 0), (0, None), (1, 5), (9, 9), (9, 10**12), (None, 4), (None, 10**12), (3, None)],
    )
    async def test_ranges_are_cut_at_the_end_of_the_object(
        self, store: ObjectStore, size: int, first: int | None, last: int | None
    ) -> None:
        data = os.urandom(size)
        await put(store, "name", data)
        wanted = RangeRequest(first, last)
        resolved = wanted.resolve(size)
        assert resolved is not None
        assert await get(store, "name", range=wanted) == data[resolved.offset :][: resolved.length]

    async def test_range_over_a_frame_boundary(self, store: ObjectStore) -> None:
        data = os.urandom(2 * FRAME_BYTES + 100)
        await put(store, "name", data)
        body = await store.open(BUCKET, "name", range=RangeRequest(FRAME_BYTES - 5, FRAME_BYTES + 4))
        assert body.range == ByteRange(FRAME_BYTES - 5, 10)
        assert b"".join([p async for p in body.chunks()]) == data[FRAME_BYTES - 5 : FRAME_BYTES + 5]
        await body.close()

    @pytest.mark.parametrize(
        ("size", "first", "last"), [(10, 10, None), (10, 11, 20), (10, None, 0), (0, 0, None), (0, None, 5)]
    )
    async def test_range_outside_of_the_object_is_not_satisfiable(
        self, store: ObjectStore, size: int, first: int | None, last: int | None
    ) -> None:
        await put(store, "name", bytes(size))
        with pytest.raises(RangeNotSatisfiable) as caught:
            await store.open(BUCKET, "name", range=RangeRequest(first, last))
        assert caught.value.metadata["size"] == str(size)

    @pytest.mark.parametrize("announced", [0, 99_999, 100_001])
    async def test_body_of_another_size_than_announced_leaves_the_old_object(
        self, store: ObjectStore, announced: int
    ) -> None:
        old = await put(store, "name", b"old")
        with pytest.raises(SizeMismatch):
            await store.put(BUCKET, PutRequest("name", size=announced), pieces(bytes(50_000), bytes(50_000)))
        assert await store.head(BUCKET, "name") == old

    @pytest.mark.parametrize("size", [5, 100_000])
    async def test_every_kind_of_checksum_is_verified(self, store: ObjectStore, size: int) -> None:
        data = os.urandom(size)
        right = [Checksum("xxhash2", xxhash.xxh64_hexdigest(data))]
        right += [Checksum(kind, hashlib.new(kind, data).hexdigest()) for kind in ("md5", "sha256", "sha512")]
        for checksum in right:
            await store.put(BUCKET, PutRequest("name", checksums=(checksum,)), pieces(data))
            wrong = Checksum(checksum.type, "0" * len(checksum.value))
            with pytest.raises(ChecksumMismatch):
                await store.put(BUCKET, PutRequest("other", checksums=(wrong,)), pieces(data))
        assert await walk(store, ListQuery()) == ["name"]

    @pytest.mark.parametrize("size", [100, 3 * FRAME_BYTES])
    async def test_body_that_fails_leaves_the_old_object(self, store: ObjectStore, size: int) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield bytes(size)
            raise ConnectionResetError("the client is gone")

        old = await put(store, "name", b"old")
        with pytest.raises(ConnectionResetError, match="the client is gone"):
            await store.put(BUCKET, PutRequest("name"), failing())
        assert await store.head(BUCKET, "name") == old

    async def test_write_conditions(self, store: ObjectStore) -> None:
        async def conditional(data: bytes, **conditions: tuple[str, ...] | Version) -> ObjectInfo:
            request = PutRequest("name", preconditions=Preconditions(**conditions))  # type: ignore[arg-type]
            return await store.put(BUCKET, request, pieces(data))

        with pytest.raises(PreconditionFailed):
            await conditional(b"1", if_match=("*",))
        first = await conditional(b"1", if_none_match=("*",))
        with pytest.raises(PreconditionFailed):
            await conditional(b"2", if_none_match=("*",))
        second = await conditional(b"2", if_match=("other", first.etag))
        with pytest.raises(PreconditionFailed):
            await conditional(b"3", if_match=(first.etag,))
        with pytest.raises(PreconditionFailed):
            await conditional(b"3", if_version=first.version)
        await conditional(b"3", if_version=second.version)
        assert await get(store, "name") == b"3"

    async def test_delete_conditions(self, store: ObjectStore) -> None:
        first = await put(store, "name", b"1")
        second = await put(store, "name", b"2")
        with pytest.raises(PreconditionFailed):
            await store.delete(BUCKET, "name", preconditions=Preconditions(if_match=(first.etag,)))
        with pytest.raises(PreconditionFailed):
            await store.delete(BUCKET, "name", preconditions=Preconditions(if_version=first.version))
        await store.delete(BUCKET, "name", preconditions=Preconditions(if_match=(second.etag,)))

    async def test_a_condition_that_names_an_object_fails_before_a_delete_finds_none(
        self, store: ObjectStore
    ) -> None:
        with pytest.raises(PreconditionFailed):
            await store.delete(BUCKET, "name", preconditions=Preconditions(if_match=("*",)))
        with pytest.raises(ObjectNotFound):
            await store.delete(BUCKET, "name", preconditions=Preconditions(if_none_match=("*",)))

    async def test_read_conditions(self, store: ObjectStore) -> None:
        info = await put(store, "name", b"data")
        fails = [
            (Preconditions(if_none_match=(info.etag,)), NotModified),
            (Preconditions(if_none_match=("*",)), NotModified),
            (Preconditions(if_match=("other",)), PreconditionFailed),
            (Preconditions(if_modified_since_ns=info.modified_ns + SECOND), NotModified),
            (Preconditions(if_unmodified_since_ns=info.modified_ns - SECOND), PreconditionFailed),
        ]
        for conditions, error in fails:
            with pytest.raises(error):
                await store.open(BUCKET, "name", preconditions=conditions)
            with pytest.raises(error):
                await store.head(BUCKET, "name", preconditions=conditions)
        holds = Preconditions(
            if_match=(info.etag,), if_none_match=("other",), if_unmodified_since_ns=info.modified_ns
        )
        assert await store.head(BUCKET, "name", preconditions=holds) == info

    async def test_of_racing_creations_exactly_one_wins(self, store: ObjectStore) -> None:
        request = PutRequest("name", preconditions=Preconditions(if_none_match=("*",)))
        outcomes = await asyncio.gather(
            *(store.put(BUCKET, request, pieces(b"%d" % number)) for number in range(8)),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, PreconditionFailed) for outcome in outcomes) == 7

    async def test_read_during_overwrites_sees_one_whole_version(self, store: ObjectStore) -> None:
        versions = [bytes([number]) * 200_000 for number in range(6)]
        await put(store, "name", versions[0])

        async def overwrite() -> None:
            for data in versions:
                await put(store, "name", data)

        writing = asyncio.create_task(overwrite())
        while not writing.done():
            assert await get(store, "name") in versions
            await asyncio.sleep(0)  # a store in memory never waits for anything
        await writing

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
    async def test_list_pages_show_every_name_once_in_byte_order(
        self, store: ObjectStore, limit: int
    ) -> None:
        names = ["b", "a/1", "a/2/3", "a/2", "é", "\uffff", "😀", "a", "a-", "B", "a/é"]
        for name in names:
            await put(store, name, b"")
        assert await walk(store, ListQuery(limit=limit)) == sorted(names, key=str.encode)

    @pytest.mark.parametrize("limit", [1, 2, 3, 1000])
    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", ["a", "a-", "a/", "b", "c//", "é/"]),
            ("a", ["a", "a-", "a/"]),
            ("a/", ["a/", "a/1", "a/2/"]),
            ("a/2", ["a/2/"]),
            ("c/", ["c//"]),
            ("none", []),
        ],
    )
    async def test_list_folds_names_at_the_delimiter(
        self, store: ObjectStore, prefix: str, expected: list[str], limit: int
    ) -> None:
        for name in ["a", "a-", "a/", "a/1", "a/2/3", "a/2/4", "b", "c//1", "c//2", "é/1", "é/2"]:
            await put(store, name, b"")
        shown = await walk(store, ListQuery(prefix=prefix, delimiter="/", limit=limit))
        assert shown == [key.replace("c//", "c/") if not prefix else key for key in expected]

    async def test_list_starts_after_a_name_whether_it_exists_or_not(self, store: ObjectStore) -> None:
        for name in ["a", "b", "c"]:
            await put(store, name, b"")
        assert await walk(store, ListQuery(start_after="a")) == ["b", "c"]
        assert await walk(store, ListQuery(start_after="aa")) == ["b", "c"]
        assert await walk(store, ListQuery(start_after="c")) == []

    async def test_buckets_are_worlds_apart(self, store: ObjectStore) -> None:
        await put(store, "name", b"data")
        with pytest.raises(ObjectNotFound):
            await store.head(OTHER_BUCKET, "name")
        assert (await store.list(OTHER_BUCKET, ListQuery())).entries == ()

    async def test_list_after_many_concurrent_writes_is_complete(self, store: ObjectStore) -> None:
        names = [f"{number:03}" for number in range(100)]
        await asyncio.gather(*(put(store, name, b"x") for name in names))
        assert await walk(store, ListQuery(limit=30)) == names

    async def test_large_objects_go_into_chunks_as_the_bucket_says(self, store: ObjectStore) -> None:
        small, large, bucket = os.urandom(2 << 20), os.urandom((3 << 20) + 5), CHUNKED_BUCKET
        await put(store, "small", small, bucket=bucket)
        await put(store, "large", large, bucket=bucket)
        assert (await store.head(bucket, "small")).chunk_count == 0
        info = await store.head(bucket, "large")
        assert (info.chunk_count, info.chunk_bytes_max) == (4, 1 << 20)
        assert await get(store, "large", bucket=bucket) == large
        border = RangeRequest((1 << 20) - 3, (2 << 20) + 3)
        assert await get(store, "large", range=border, bucket=bucket) == large[(1 << 20) - 3 : (2 << 20) + 4]
