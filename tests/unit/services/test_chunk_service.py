"""Commits of a gateway on the target's host, over the Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
import xxhash

from shoal.bucket.v1.bucket_pb2 import GetBucketRequest
from shoal.bucket.v1.bucket_pb2_grpc import BucketServiceStub
from shoal.chunk.v1.chunk_pb2 import CommitEntry, CommitRequest, CommitResult, ReadsDone
from shoal.chunk.v1.chunk_pb2_grpc import ChunkServiceStub
from shoal.common.v1.common_pb2 import BucketReference
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from shoal_core.error_table import from_status
from shoal_core.errors import BucketNotFound, InvalidArgument
from shoal_store.commit import Commit, decode_info, encode_commit
from shoal_store.record import Record
from support.node import Nodes
from support.uploads import get


@pytest.fixture
async def chunks(shared_nodes: Nodes) -> AsyncIterator[ChunkServiceStub]:
    socket = shared_nodes.processes["t1"].ready["unix_socket"]
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        yield ChunkServiceStub(channel)


@pytest.fixture
async def bucket_id(proxy_channel: grpc.aio.Channel, bucket: BucketReference) -> bytes:
    answer = await BucketServiceStub(proxy_channel).GetBucket(GetBucketRequest(bucket=bucket), timeout=10)
    return answer.bucket.id


def entry(sequence: int, bucket_id: bytes, name: str, *, payload: bytes = b"small") -> CommitEntry:
    record = Record(
        size=len(payload),
        etag="e",
        checksum_type="none",
        checksum_value="",
        content_type="text/plain",
        metadata={},
        payload_checksum=xxhash.xxh3_64_intdigest(payload),
    )
    commit = Commit("put", bucket_id, 0, name, 0, record=record, payload=payload)
    return CommitEntry(sequence=sequence, commit=encode_commit(commit))


async def committed(chunks: ChunkServiceStub, *entries: CommitEntry) -> dict[int, CommitResult]:
    call = chunks.Commit(timeout=10)
    await call.write(CommitRequest(entries=entries))
    await call.done_writing()
    return {result.sequence: result async for response in call for result in response.results}


async def test_commits_of_one_message_are_all_answered_and_their_objects_readable(
    chunks: ChunkServiceStub, bucket_id: bytes, bucket: BucketReference, target_channel: grpc.aio.Channel
) -> None:
    entries = [entry(number, bucket_id, f"n{number}") for number in range(200)]
    results = await committed(chunks, *entries)
    assert sorted(results) == list(range(200))
    assert decode_info(results[7].info).name == "n7"
    assert await get(ObjectServiceStub(target_channel), bucket, "n7") == b"small"


async def test_a_refused_commit_spoils_no_other(chunks: ChunkServiceStub, bucket_id: bytes) -> None:
    results = await committed(
        chunks,
        entry(1, b"no-such!", "a"),
        CommitEntry(sequence=2, commit=b"\xc1 no MessagePack"),
        CommitEntry(sequence=3, commit=bytes((1 << 20) + 1)),
        entry(4, bucket_id, "a"),
    )
    refusals = [type(from_status(results[number].error)) for number in (1, 2, 3)]
    assert refusals == [BucketNotFound, InvalidArgument, InvalidArgument]
    assert decode_info(results[4].info).sequence == 1


async def test_a_stream_says_at_once_that_the_target_is_there(chunks: ChunkServiceStub) -> None:
    call = chunks.Commit(timeout=10)
    await call.wait_for_connection()
    call.cancel()


async def test_a_message_may_hold_reads_alone(chunks: ChunkServiceStub, bucket_id: bytes) -> None:
    call = chunks.Commit(timeout=10)
    await call.write(CommitRequest(reads=ReadsDone(count=3, bytes=500)))
    await call.write(CommitRequest(entries=[entry(1, bucket_id, "a")], reads=ReadsDone(count=1)))
    await call.done_writing()
    assert [result.sequence async for response in call for result in response.results] == [1]


async def test_an_empty_message_ends_the_stream(chunks: ChunkServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await committed(chunks)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_users_cannot_commit_records(target_channel: grpc.aio.Channel) -> None:
    call = ChunkServiceStub(target_channel).Commit(timeout=10)
    # Nothing is written: a write that meets the refusal on its way fails as INTERNAL inside grpc.aio.
    assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
