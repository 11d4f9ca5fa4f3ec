"""`get_reader(num_workers=N)` of the official SDK: as a stream and as a whole, of both kinds of objects."""

from __future__ import annotations

import os

import pytest
from aistore.sdk.bucket import Bucket

from support.parallel_reads import read_in_parallel, stream_in_parallel

MIB = 1 << 20
BODY = os.urandom(5 * MIB) + b"tail"


@pytest.fixture(params=["whole", "multipart"])
def stored(request: pytest.FixtureRequest, bucket: Bucket) -> Bucket:
    """The bucket, with BODY as object `o`."""
    if request.param == "whole":
        bucket.object("o").get_writer().put_content(BODY)
        return bucket
    upload = bucket.object("o").multipart_upload().create()
    for number, start in enumerate(range(0, len(BODY), 2 * MIB), 1):
        upload.add_part(number).put_content(BODY[start : start + 2 * MIB])
    upload.complete()
    return bucket


@pytest.mark.parametrize("chunk_size", [None, MIB, 700_001])
@pytest.mark.parametrize("workers", [2, 4])
def test_whole_object_comes_in_shared_memory(stored: Bucket, chunk_size: int | None, workers: int) -> None:
    assert read_in_parallel(stored, "o", workers=workers, chunk_size=chunk_size) == BODY


@pytest.mark.parametrize("chunk_size", [None, MIB, 700_001])
def test_stream_has_the_bytes_in_order(stored: Bucket, chunk_size: int | None) -> None:
    assert stream_in_parallel(stored, "o", workers=3, chunk_size=chunk_size) == BODY


def test_empty_object_is_refused_by_the_sdk_itself(bucket: Bucket) -> None:
    bucket.object("o").get_writer().put_content(b"")
    with pytest.raises(ValueError, match="non-empty object"):
        bucket.object("o").get_reader(num_workers=2).read_all()
