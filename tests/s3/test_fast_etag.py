"""A bucket with `s3_etag: fast`: its etags are no MD5s and say so by a dash, and no client minds."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

LARGE = os.urandom((6 << 20) + 1)
FAST = re.compile(r'"[0-9a-f]{16}-1"')


@pytest.mark.parametrize("size", [0, 100, len(LARGE)])
def test_an_object_has_one_etag_everywhere_and_it_is_no_md5(s3: Any, fast_bucket: str, size: int) -> None:
    etag = s3.put_object(Bucket=fast_bucket, Key="a", Body=LARGE[:size])["ETag"]
    assert FAST.fullmatch(etag)
    assert s3.head_object(Bucket=fast_bucket, Key="a")["ETag"] == etag
    assert s3.list_objects_v2(Bucket=fast_bucket)["Contents"][0]["ETag"] == etag
    answer = s3.get_object(Bucket=fast_bucket, Key="a")
    assert (answer["ETag"], answer["Body"].read()) == (etag, LARGE[:size])


def test_conditions_know_the_fast_etag(s3: Any, fast_bucket: str) -> None:
    etag = s3.put_object(Bucket=fast_bucket, Key="a", Body=b"one")["ETag"]
    assert s3.get_object(Bucket=fast_bucket, Key="a", IfMatch=etag)["Body"].read() == b"one"
    with pytest.raises(ClientError, match="304"):
        s3.get_object(Bucket=fast_bucket, Key="a", IfNoneMatch=etag)
    second = s3.put_object(Bucket=fast_bucket, Key="a", Body=b"two", IfMatch=etag)["ETag"]
    assert second != etag
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=fast_bucket, Key="a", Body=b"three", IfMatch=etag)


def test_an_upload_in_parts_takes_fast_etags(s3: Any, fast_bucket: str) -> None:
    place = {"Bucket": fast_bucket, "Key": "a"}
    began = s3.create_multipart_upload(**place)["UploadId"]
    parts = []
    for number, body in enumerate((LARGE, b"end"), 1):
        part = s3.upload_part(**place, UploadId=began, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    done = s3.complete_multipart_upload(**place, UploadId=began, MultipartUpload={"Parts": parts})
    assert "-" in done["ETag"]
    answer = s3.get_object(**place)
    assert (answer["ETag"], answer["Body"].read()) == (done["ETag"], LARGE + b"end")


@pytest.mark.parametrize("md5", [LARGE, b"another"])
def test_an_md5_that_the_client_sent_is_verified_although_it_is_not_kept(
    s3: Any, fast_bucket: str, md5: bytes
) -> None:
    sent = base64.b64encode(hashlib.md5(md5).digest()).decode()
    if md5 is LARGE:
        assert FAST.fullmatch(s3.put_object(Bucket=fast_bucket, Key="a", Body=LARGE, ContentMD5=sent)["ETag"])
    else:
        with pytest.raises(ClientError, match="BadDigest"):
            s3.put_object(Bucket=fast_bucket, Key="a", Body=LARGE, ContentMD5=sent)


def test_files_of_both_sizes_go_up_and_down_by_transfers(s3: Any, fast_bucket: str, tmp_path: Path) -> None:
    for size in (100, 20 << 20):
        source, back = tmp_path / "source", tmp_path / "back"
        source.write_bytes(os.urandom(size))
        s3.upload_file(str(source), fast_bucket, "file")
        s3.download_file(fast_bucket, "file", str(back))
        assert back.read_bytes() == source.read_bytes()
