"""`shoal_client.http_reads`: an object by several HTTP connections, of one version and verified."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from aistore.sdk.bucket import Bucket

from shoal_client.http_reads import look_up
from shoal_core.errors import ChecksumMismatch, ObjectNotFound, PreconditionFailed

BODY = os.urandom(2_000_000)
RANGE = 300_000


@pytest.mark.parametrize("size", [0, 1, RANGE, len(BODY)])
@pytest.mark.parametrize("workers", [1, 3])
def test_memory_gets_every_byte(endpoint: str, bucket: Bucket, size: int, workers: int) -> None:
    bucket.object("a b/ü").get_writer().put_content(BODY[:size])
    found = look_up(endpoint, bucket.name, "a b/ü")
    memory = bytearray(size)
    found.read_into(memoryview(memory), workers=workers, range_bytes=RANGE)
    assert memory == bytearray(BODY[:size])


def test_object_that_was_overwritten_is_an_error(endpoint: str, bucket: Bucket) -> None:
    bucket.object("a").get_writer().put_content(BODY)
    found = look_up(endpoint, bucket.name, "a")
    bucket.object("a").get_writer().put_content(BODY[::-1])
    with pytest.raises(PreconditionFailed, match="overwritten"):
        found.read_into(memoryview(bytearray(len(BODY))))


def test_whole_that_fails_its_checksum_is_an_error(endpoint: str, bucket: Bucket) -> None:
    bucket.object("a").get_writer().put_content(BODY)
    found = replace(look_up(endpoint, bucket.name, "a"), checksum_value="0" * 16)
    with pytest.raises(ChecksumMismatch, match="xxhash2"):
        found.read_into(memoryview(bytearray(len(BODY))))


def test_missing_object_is_not_found(endpoint: str, bucket: Bucket) -> None:
    with pytest.raises(ObjectNotFound):
        look_up(endpoint, bucket.name, "missing")
