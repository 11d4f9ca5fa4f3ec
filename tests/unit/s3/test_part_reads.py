"""Reads of one part while the object changes, and of objects whose parts are not known."""

from __future__ import annotations

import msgspec
import pytest

from shoal_core.multipart import Completion, PartChoice
from shoal_core.objects import NO_PRECONDITIONS, Bucket, ObjectInfo, Preconditions, PutRequest
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.part_reads import ATTEMPTS, chosen_part, open_part
from support.engines import BUCKET, in_pieces
from support.memory_store import MemoryObjectStore


class ReplacedAfterHead(MemoryObjectStore):
    """Somebody replaces the object behind each of the next `times` looks at it."""

    times = 0

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        info = await super().head(bucket, name, preconditions=preconditions)
        if self.times:
            self.times -= 1
            await in_parts(self, b"new!", b"other")
        return info


async def in_parts(store: MemoryObjectStore, *bodies: bytes) -> None:
    upload = (await store.begin_upload(BUCKET, PutRequest("a"))).id
    choices = []
    for number, body in enumerate(bodies, 1):
        part = await store.put_part(BUCKET, upload, number, PutRequest("a"), in_pieces(body))
        choices.append(PartChoice(number, part.etag))
    await store.complete_upload(BUCKET, "a", upload, Completion(choices))


async def second_part(store: MemoryObjectStore) -> bytes:
    _, body = await open_part(store, BUCKET, "a", number=2, preconditions=NO_PRECONDITIONS)
    assert body is not None
    return b"".join([piece async for piece in body.chunks()])


@pytest.mark.parametrize(("times", "expected"), [(0, b"second"), (1, b"other"), (ATTEMPTS - 1, b"other")])
async def test_a_part_is_always_of_one_version(times: int, expected: bytes) -> None:
    store = ReplacedAfterHead()
    await in_parts(store, b"the first", b"second")
    store.times = times
    assert await second_part(store) == expected


async def test_an_object_that_never_rests_is_told_so() -> None:
    store = ReplacedAfterHead()
    await in_parts(store, b"the first", b"second")
    store.times = ATTEMPTS
    with pytest.raises(S3Error, match="SlowDown"):
        await second_part(store)


async def test_parts_that_were_not_kept_are_not_guessed() -> None:
    store = MemoryObjectStore()
    await in_parts(store, b"the first", b"second")
    info = await store.head(BUCKET, "a")
    with pytest.raises(S3Error, match="NotImplemented"):
        chosen_part(msgspec.structs.replace(info, parts=()), 1)
