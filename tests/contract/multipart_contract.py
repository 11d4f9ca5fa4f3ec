"""What every `MultipartStore` promises beyond `ObjectStore`; a test class inherits it and gives the fixture `store`."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence

import pytest

from contract.object_store_contract import BUCKET, OTHER_BUCKET, get, pieces, put
from shoal_core.errors import (
    ChecksumMismatch,
    InvalidArgument,
    InvalidName,
    InvalidPart,
    ObjectNotFound,
    PreconditionFailed,
    SizeMismatch,
    UploadNotFound,
)
from shoal_core.multipart import (
    PARTS_MAX,
    Completion,
    MultipartStore,
    PartChoice,
    PartInfo,
    UploadQuery,
)
from shoal_core.objects import Bucket, Checksum, ObjectInfo, Preconditions, PutRequest, RangeRequest
from shoal_core.part_runs import PartRun

LONG = "é" * 512
"""A name that an index keeps by its hash."""
NOBODY = "0" * 32
WRONG_IDS = ["", "x", NOBODY, "ff" * 16, "FF" * 16, "0" * 31, "../../etc/passwd"]


async def begun(store: MultipartStore, name: str = "a", *, bucket: Bucket = BUCKET) -> str:
    return (await store.begin_upload(bucket, PutRequest(name))).id


async def put_part(
    store: MultipartStore, upload: str, number: int, data: bytes, *, name: str = "a"
) -> PartInfo:
    return await store.put_part(BUCKET, upload, number, PutRequest(name, size=len(data)), pieces(data))


async def complete(
    store: MultipartStore,
    upload: str,
    parts: Sequence[PartInfo],
    *,
    name: str = "a",
    preconditions: Preconditions | None = None,
) -> ObjectInfo:
    choices = tuple(PartChoice(part.number, part.etag) for part in parts)
    conditions = preconditions or Preconditions()
    return await store.complete_upload(BUCKET, name, upload, Completion(choices, "whole", {}, conditions))


async def numbers(store: MultipartStore, upload: str) -> list[int]:
    return [part.number for part in (await store.list_parts(BUCKET, "a", upload))[1]]


class MultipartContract:
    @pytest.mark.parametrize("name", ["a", "../up", LONG])
    async def test_parts_in_any_order_become_one_object(self, store: MultipartStore, name: str) -> None:
        upload = await begun(store, name)
        bodies = {3: os.urandom(1_500_000), 1: b"first", 2: os.urandom(40_000)}
        parts = [await put_part(store, upload, number, body, name=name) for number, body in bodies.items()]
        info = await complete(store, upload, sorted(parts, key=lambda part: part.number), name=name)
        assert (info.name, info.etag, info.size) == (name, "whole", 1_540_005)
        assert await get(store, name) == bodies[1] + bodies[2] + bodies[3]
        assert await store.head(BUCKET, name) == info

    async def test_an_object_without_an_etag_of_its_own_has_that_of_s3(self, store: MultipartStore) -> None:
        upload, bodies = await begun(store), [b"one", b"two"]
        choices = []
        for number, body in enumerate(bodies, 1):
            part = await store.put_part(BUCKET, upload, number, PutRequest("a", md5_etag=True), pieces(body))
            choices.append(PartChoice(number, part.etag))
        info = await store.complete_upload(BUCKET, "a", upload, Completion(choices))
        digests = b"".join(hashlib.md5(body).digest() for body in bodies)
        assert info.etag == f"{hashlib.md5(digests).hexdigest()}-2"

    async def test_what_the_upload_began_with_belongs_to_the_object(self, store: MultipartStore) -> None:
        request = PutRequest("a", content_type="text/x", metadata={"k": "é"}, headers={"cache-control": "no"})
        upload = await store.begin_upload(BUCKET, request)
        assert (upload.name, upload.content_type, upload.metadata) == ("a", "text/x", {"k": "é"})
        part = await put_part(store, upload.id, 1, b"x")
        completion = Completion((PartChoice(1, part.etag),), "whole", {"x-amz-checksum-crc32": "c"})
        await store.complete_upload(BUCKET, "a", upload.id, completion)
        info = await store.head(BUCKET, "a")
        assert (info.content_type, info.metadata) == ("text/x", {"k": "é"})
        assert info.headers == {"cache-control": "no", "x-amz-checksum-crc32": "c"}

    async def test_parts_are_invisible_until_they_are_an_object(self, store: MultipartStore) -> None:
        await put(store, "a", b"old")
        upload = await begun(store)
        part = await put_part(store, upload, 1, b"new")
        assert await get(store, "a") == b"old"
        await complete(store, upload, [part])
        assert await get(store, "a") == b"new"

    async def test_a_part_has_the_etag_and_the_checks_of_a_put(self, store: MultipartStore) -> None:
        upload = await begun(store)
        digest = hashlib.md5(b"content").hexdigest()
        right = PutRequest("a", checksums=(Checksum("md5", digest),), md5_etag=True, headers={"h": "v"})
        part = await store.put_part(BUCKET, upload, 1, right, pieces(b"con", b"tent"))
        assert (part.number, part.size, part.etag, part.headers) == (1, 7, digest, {"h": "v"})
        with pytest.raises(ChecksumMismatch):
            await store.put_part(BUCKET, upload, 1, right, pieces(b"Content"))
        with pytest.raises(SizeMismatch):
            await store.put_part(BUCKET, upload, 1, PutRequest("a", size=5), pieces(b"four"))
        assert (await store.list_parts(BUCKET, "a", upload))[1] == (part,)

    async def test_a_body_that_breaks_off_leaves_the_part_as_it_was(self, store: MultipartStore) -> None:
        upload = await begun(store)
        part = await put_part(store, upload, 1, b"before")

        async def broken() -> AsyncIterator[bytes]:
            yield bytes(100_000)
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await store.put_part(BUCKET, upload, 1, PutRequest("a"), broken())
        await complete(store, upload, [part])
        assert await get(store, "a") == b"before"

    async def test_the_last_writing_of_a_part_counts(self, store: MultipartStore) -> None:
        upload = await begun(store)
        first = await put_part(store, upload, 1, b"first")
        second = await put_part(store, upload, 1, b"second")
        with pytest.raises(InvalidPart) as caught:
            await complete(store, upload, [first])
        assert caught.value.metadata["part"] == "1"
        await complete(store, upload, [second])
        assert await get(store, "a") == b"second"

    async def test_parts_that_are_not_named_are_dropped(self, store: MultipartStore) -> None:
        upload = await begun(store)
        parts = [await put_part(store, upload, number, b"%d" % number) for number in range(1, 6)]
        await complete(store, upload, parts[1::2])
        assert await get(store, "a") == b"24"

    async def test_ranges_cross_the_borders_of_parts(self, store: MultipartStore) -> None:
        upload = await begun(store)
        bodies = [os.urandom(size) for size in (70_000, 1, 0, 65_536, 9)]
        parts = [await put_part(store, upload, number, body) for number, body in enumerate(bodies, 1)]
        await complete(store, upload, parts)
        whole = b"".join(bodies)
        for first, last in [(69_999, 70_000), (0, len(whole) - 1), (70_001, 70_001), (135_530, 135_545)]:
            assert await get(store, "a", range=RangeRequest(first, last)) == whole[first : last + 1]

    async def test_an_object_says_where_its_parts_lie(self, store: MultipartStore) -> None:
        upload = await begun(store)
        bodies = {1: b"aaaa", 2: b"bbbb", 3: b"dropped", 7: b"cc"}
        parts = [await put_part(store, upload, number, body) for number, body in bodies.items()]
        info = await complete(store, upload, [part for part in parts if part.number != 3])
        assert info.parts == (PartRun(1, 2, 4), PartRun(7, 1, 2))
        assert (await store.head(BUCKET, "a")).parts == info.parts
        assert (info.chunk_count, info.chunk_bytes_max) == (3, 4)
        await store.put(BUCKET, PutRequest("a"), pieces(b"whole"))
        assert (await store.head(BUCKET, "a")).parts == ()

    async def test_two_hundred_parts_at_once(self, store: MultipartStore) -> None:
        upload = await begun(store)
        parts = await asyncio.gather(
            *(put_part(store, upload, number, b"%05d" % number) for number in range(200, 0, -1))
        )
        await complete(store, upload, parts[::-1])
        assert await get(store, "a") == b"".join(b"%05d" % number for number in range(1, 201))

    @pytest.mark.parametrize("number", [0, -1, PARTS_MAX + 1])
    async def test_a_part_number_out_of_range_is_refused(self, store: MultipartStore, number: int) -> None:
        upload = await begun(store)
        with pytest.raises(InvalidArgument):
            await put_part(store, upload, number, b"x")

    async def test_a_list_of_parts_that_makes_no_sense_is_refused(self, store: MultipartStore) -> None:
        upload = await begun(store)
        one, two = [await put_part(store, upload, number, b"x") for number in (1, 2)]
        for wrong in ([], [two, one], [one, one]):
            with pytest.raises(InvalidArgument):
                await complete(store, upload, wrong)
        missing = PartChoice(3, one.etag)
        with pytest.raises(InvalidPart):
            await store.complete_upload(BUCKET, "a", upload, Completion((missing,), "whole"))
        assert await numbers(store, upload) == [1, 2]
        with pytest.raises(ObjectNotFound):
            await store.head(BUCKET, "a")

    async def test_conditions_are_those_of_a_put(self, store: MultipartStore) -> None:
        await put(store, "a", b"old")
        upload = await begun(store)
        part = await put_part(store, upload, 1, b"new")
        absent = Preconditions(if_none_match=("*",))
        with pytest.raises(PreconditionFailed):
            await complete(store, upload, [part], preconditions=absent)
        assert await get(store, "a") == b"old"
        await store.delete(BUCKET, "a")
        await complete(store, upload, [part], preconditions=absent)
        assert await get(store, "a") == b"new"

    async def test_a_completion_that_is_repeated_answers_as_the_first(self, store: MultipartStore) -> None:
        upload = await begun(store)
        part = await put_part(store, upload, 1, b"x")
        absent = Preconditions(if_none_match=("*",))
        first = await complete(store, upload, [part], preconditions=absent)
        assert await complete(store, upload, [part], preconditions=absent) == first
        await put(store, "a", b"newer")
        with pytest.raises(UploadNotFound):
            await complete(store, upload, [part])
        assert await get(store, "a") == b"newer"

    async def test_after_an_abort_nothing_is_there(self, store: MultipartStore) -> None:
        upload = await begun(store)
        part = await put_part(store, upload, 1, b"x")
        await store.abort_upload(BUCKET, "a", upload)
        for call in (
            store.abort_upload(BUCKET, "a", upload),
            store.list_parts(BUCKET, "a", upload),
            put_part(store, upload, 1, b"x"),
            complete(store, upload, [part]),
        ):
            with pytest.raises(UploadNotFound):
                await call
        assert (await store.list_uploads(BUCKET, UploadQuery())).uploads == ()

    @pytest.mark.parametrize("upload", WRONG_IDS)
    async def test_an_upload_that_never_began_is_not_found(self, store: MultipartStore, upload: str) -> None:
        for call in (
            put_part(store, upload, 1, b"x"),
            store.list_parts(BUCKET, "a", upload),
            store.abort_upload(BUCKET, "a", upload),
            store.complete_upload(BUCKET, "a", upload, Completion((PartChoice(1, "e"),), "whole")),
        ):
            with pytest.raises(UploadNotFound):
                await call

    async def test_an_upload_belongs_to_its_object_and_bucket(self, store: MultipartStore) -> None:
        upload = await begun(store)
        with pytest.raises(UploadNotFound):
            await store.list_parts(BUCKET, "b", upload)
        with pytest.raises(UploadNotFound):
            await store.abort_upload(OTHER_BUCKET, "a", upload)
        assert await numbers(store, upload) == []

    async def test_parts_are_listed_by_number(self, store: MultipartStore) -> None:
        upload = await begun(store)
        written = [await put_part(store, upload, number, bytes(number)) for number in (7, 300, 1, 10_000)]
        info, parts = await store.list_parts(BUCKET, "a", upload)
        assert (info.id, info.name) == (upload, "a")
        assert list(parts) == sorted(written, key=lambda part: part.number)

    async def test_uploads_are_listed_by_name_and_page(self, store: MultipartStore) -> None:
        names = ["b/1", "a", "é", "b/2", "b/1", LONG, "c"]
        expected = sorted([(name.encode(), await begun(store, name)) for name in names])
        await begun(store, "elsewhere", bucket=OTHER_BUCKET)
        found: list[tuple[bytes, str]] = []
        query = UploadQuery(limit=2)
        while True:
            page = await store.list_uploads(BUCKET, query)
            found += [(upload.name.encode(), upload.id) for upload in page.uploads]
            if not page.more:
                break
            assert len(page.uploads) == 2
            last = page.uploads[-1]
            query = UploadQuery(after_name=last.name, after_id=last.id, limit=2)
        assert found == expected

    async def test_uploads_are_listed_by_prefix_and_after_a_name(self, store: MultipartStore) -> None:
        for name in ("a", "b/1", "b/2", "c"):
            await begun(store, name)
        page = await store.list_uploads(BUCKET, UploadQuery(prefix="b/"))
        assert [upload.name for upload in page.uploads] == ["b/1", "b/2"]
        page = await store.list_uploads(BUCKET, UploadQuery(after_name="b/1"))
        assert [upload.name for upload in page.uploads] == ["b/2", "c"]
        with pytest.raises(InvalidArgument):
            await store.list_uploads(BUCKET, UploadQuery(limit=0))

    @pytest.mark.parametrize("name", ["", "a\0b", "x" * 1025])
    async def test_a_name_that_no_object_can_have_is_refused(self, store: MultipartStore, name: str) -> None:
        with pytest.raises(InvalidName):
            await begun(store, name)
