"""The official SDK's parallel reads, in a process that has no gRPC.

The SDK forks its workers, and gRPC's threads do not survive a fork: in the process of the tests, which is a client of
the cluster's gRPC too, a worker died of a segmentation fault now and then."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.obj.content_iterator.buffer import ParallelBuffer
from aistore.sdk.obj.object_reader import ObjectReader

SECONDS_MAX = 60


def read_in_parallel(bucket: Bucket, name: str, *, workers: int, chunk_size: int | None = None) -> bytes:
    """The object as `read_all` gives it, in shared memory."""
    return _in_its_own_process(_read_whole, bucket, name, workers, chunk_size)


def stream_in_parallel(bucket: Bucket, name: str, *, workers: int, chunk_size: int | None = None) -> bytes:
    """The pieces that the reader gives as it is iterated, joined."""
    return _in_its_own_process(_read_stream, bucket, name, workers, chunk_size)


def _in_its_own_process(
    read: Callable[[str, str, str, int, int | None], bytes],
    bucket: Bucket,
    name: str,
    workers: int,
    chunk_size: int | None,
) -> bytes:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        done = pool.submit(read, bucket.client.base_url, bucket.name, name, workers, chunk_size)
        return done.result(SECONDS_MAX)


def _reader(base_url: str, bucket: str, name: str, workers: int, chunk_size: int | None) -> ObjectReader:
    client = Client(base_url.removesuffix("/v1"))
    return client.bucket(bucket).object(name).get_reader(num_workers=workers, chunk_size=chunk_size)


def _read_whole(base_url: str, bucket: str, name: str, workers: int, chunk_size: int | None) -> bytes:
    with _reader(base_url, bucket, name, workers, chunk_size).read_all() as buffer:
        assert isinstance(buffer, ParallelBuffer)
        return bytes(buffer.tobytes())


def _read_stream(base_url: str, bucket: str, name: str, workers: int, chunk_size: int | None) -> bytes:
    return b"".join(bytes(piece) for piece in _reader(base_url, bucket, name, workers, chunk_size))
