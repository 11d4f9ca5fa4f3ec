"""Multipart uploads of the official SDK."""

from __future__ import annotations

import os

import pytest
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError

PARTS = [os.urandom(size) for size in (5 << 20, 1, 3 << 20, 700_001)]


def test_parts_become_the_object(bucket: Bucket) -> None:
    upload = bucket.object("o").multipart_upload().create()
    for number in (2, 1, 4, 3):
        upload.add_part(number).put_content(PARTS[number - 1])
    upload.complete()
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
