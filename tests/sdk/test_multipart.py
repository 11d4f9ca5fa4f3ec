"""Multipart uploads of the official SDK."""

from __future__ import annotations

import json
import os

import pytest
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError

from support.parallel_reads import read_in_parallel
from support.sdk_versions import selected

PARTS = [os.urandom(size) for size in (5 << 20, 1, 3 << 20, 700_001)]


def test_parts_become_the_object(bucket: Bucket) -> None:
    upload = bucket.object("o").multipart_upload().create()
    for number in (2, 1, 4, 3):
        upload.add_part(number).put_content(PARTS[number - 1])
    upload.complete()
    chunks = selected(bucket.object("o"), "chunked").chunks
    assert chunks is not None
    assert (chunks.chunk_count, chunks.max_chunk_size) == (4, 5 << 20)
    assert bucket.object("o").get_reader().read_all() == b"".join(PARTS)
    assert (
        bucket.object("o").get_reader(byte_range="bytes=5242870-5242890").read_all()
        == b"".join(PARTS)[5242870:5242891]
    )


def test_an_aborted_upload_is_gone(bucket: Bucket) -> None:
    upload = bucket.object("o").multipart_upload().create()
    upload.add_part(1).put_content(PARTS[0])
    upload.abort()
    with pytest.raises(AISError, match="does not exist"):
        upload.complete()
    assert not list(bucket.list_all_objects())


def test_an_object_grows_by_appends(bucket: Bucket) -> None:
    writer = bucket.object("o").get_writer()
    writer.put_content(b"before ")
    handle = writer.append_content(b"one ")
    handle = writer.append_content(PARTS[0], handle)
    assert bucket.object("o").get_reader().read_all() == b"before "
    assert writer.append_content(b" end", handle, flush=True) == ""
    assert bucket.object("o").get_reader().read_all() == b"before one " + PARTS[0] + b" end"


def test_a_bucket_that_stores_large_objects_in_chunks(client: Client, bucket: Bucket) -> None:
    change = {"chunks": {"objsize_limit": "2MiB", "chunk_size": 1 << 20}}
    message = {"action": "set-bprops", "value": change}
    client._request_client.request("PATCH", f"buckets/{bucket.name}", json=message)
    shown = json.loads(bucket.head()["ais-bucket-props"])["chunks"]
    assert (shown["objsize_limit"], shown["chunk_size"]) == ("2MiB", "1MiB")
    for name, size in (("whole", 2 << 20), ("chunked", 5 << 20)):
        bucket.object(name).get_writer().put_content(PARTS[0][:size])
        assert bucket.object(name).get_reader().read_all() == PARTS[0][:size]
        assert read_in_parallel(bucket, name, workers=2) == PARTS[0][:size]
    assert selected(bucket.object("whole"), "chunked").chunks is None
    chunks = selected(bucket.object("chunked"), "chunked").chunks
    assert chunks is not None
    assert (chunks.chunk_count, chunks.max_chunk_size) == (5, 1 << 20)
