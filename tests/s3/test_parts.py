"""What S3 says of an object's parts once they are one object: reads by partNumber, and GetObjectAttributes."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from support.cluster import Cluster
from support.raw_s3 import RawS3

SIZES = {1: 5 << 20, 2: 5 << 20, 5: (5 << 20) + 7, 9: 10}
"""By the number of the part."""


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(sum(SIZES.values()))


@pytest.fixture
def raw(cluster: Cluster, bucket: str) -> RawS3:
    return RawS3(cluster, bucket)


def upload(s3: Any, bucket: str, content: bytes, **how: str) -> Any:
    """`a` in parts, and the answer to its completion."""
    place = {"Bucket": bucket, "Key": "a"}
    began = s3.create_multipart_upload(**place, **how)["UploadId"]
    parts, offset = [], 0
    for number, size in SIZES.items():
        body = content[offset : offset + size]
        part = s3.upload_part(**place, UploadId=began, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
        offset += size
    return s3.complete_multipart_upload(**place, UploadId=began, MultipartUpload={"Parts": parts})


def refusal(call: Callable[[], Any]) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_each_part_is_read_by_its_number(s3: Any, bucket: str, content: bytes) -> None:
    done = upload(s3, bucket, content)
    offset = 0
    for number, size in SIZES.items():
        answer = s3.get_object(Bucket=bucket, Key="a", PartNumber=number)
        assert answer["Body"].read() == content[offset : offset + size]
        assert answer["ContentRange"] == f"bytes {offset}-{offset + size - 1}/{len(content)}"
        assert (answer["PartsCount"], answer["ETag"]) == (len(SIZES), done["ETag"])
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        head = s3.head_object(Bucket=bucket, Key="a", PartNumber=number)
        assert (head["ContentLength"], head["PartsCount"]) == (size, len(SIZES))
        offset += size
    assert "PartsCount" not in s3.head_object(Bucket=bucket, Key="a")


def test_parts_that_are_not_there_or_make_no_sense(s3: Any, bucket: str, content: bytes) -> None:
    upload(s3, bucket, content)
    place = {"Bucket": bucket, "Key": "a"}
    assert refusal(lambda: s3.get_object(**place, PartNumber=3)) == ("InvalidPartNumber", 416)
    assert refusal(lambda: s3.head_object(**place, PartNumber=10)) == ("416", 416)
    assert refusal(lambda: s3.get_object(**place, PartNumber=0)) == ("InvalidArgument", 400)
    assert refusal(lambda: s3.get_object(**place, PartNumber=10_001)) == ("InvalidArgument", 400)
    both = {"PartNumber": 1, "Range": "bytes=0-1"}
    assert refusal(lambda: s3.get_object(**place, **both)) == ("InvalidRequest", 400)
    assert refusal(lambda: s3.get_object(Bucket=bucket, Key="none", PartNumber=1)) == ("NoSuchKey", 404)


@pytest.mark.parametrize("body", [b"whole", b""])
def test_what_came_in_one_piece_is_its_own_first_part(s3: Any, bucket: str, body: bytes) -> None:
    place = {"Bucket": bucket, "Key": "a"}
    s3.put_object(**place, Body=body)
    answer = s3.get_object(**place, PartNumber=1)
    assert (answer["Body"].read(), answer["ContentLength"]) == (body, len(body))
    assert "PartsCount" not in answer
    assert s3.head_object(**place, PartNumber=1)["ContentLength"] == len(body)
    assert refusal(lambda: s3.get_object(**place, PartNumber=2)) == ("InvalidPartNumber", 416)


def test_conditions_hold_for_reads_of_parts(s3: Any, bucket: str, content: bytes) -> None:
    etag = upload(s3, bucket, content)["ETag"]
    place = {"Bucket": bucket, "Key": "a", "PartNumber": 1}
    assert s3.get_object(**place, IfMatch=etag)["PartsCount"] == len(SIZES)
    assert refusal(lambda: s3.get_object(**place, IfMatch='"x"')) == ("PreconditionFailed", 412)
    assert refusal(lambda: s3.get_object(**place, IfNoneMatch=etag)) == ("304", 304)


def test_a_copy_has_no_parts(s3: Any, bucket: str, content: bytes) -> None:
    upload(s3, bucket, content)
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    answer = s3.head_object(Bucket=bucket, Key="b", PartNumber=1)
    assert (answer["ContentLength"], answer.get("PartsCount")) == (len(content), None)


def test_attributes_of_an_object_in_parts(s3: Any, bucket: str, content: bytes) -> None:
    done = upload(s3, bucket, content, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    names = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    found = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=names)
    assert (f'"{found["ETag"]}"', found["ObjectSize"]) == (done["ETag"], len(content))
    assert found["Checksum"] == {"ChecksumCRC32": done["ChecksumCRC32"], "ChecksumType": "FULL_OBJECT"}
    assert (found["StorageClass"], found["ObjectParts"]["TotalPartsCount"]) == ("STANDARD", len(SIZES))
    parts = found["ObjectParts"]["Parts"]
    assert {part["PartNumber"]: part["Size"] for part in parts} == SIZES
    assert found["LastModified"] == s3.head_object(Bucket=bucket, Key="a")["LastModified"]


def test_parts_come_in_pages(s3: Any, bucket: str, content: bytes) -> None:
    upload(s3, bucket, content)
    found, marker = [], 0
    while True:
        page = s3.get_object_attributes(
            Bucket=bucket,
            Key="a",
            ObjectAttributes=["ObjectParts"],
            MaxParts=3,
            PartNumberMarker=marker,
        )["ObjectParts"]
        assert page["MaxParts"] == 3
        found += [part["PartNumber"] for part in page["Parts"]]
        marker = page["NextPartNumberMarker"]
        if not page["IsTruncated"]:
            break
    assert found == list(SIZES)


def test_only_what_was_asked_for_is_told(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"whole", ChecksumAlgorithm="SHA256")
    found = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["ObjectSize", "ObjectParts"])
    assert {"ETag", "Checksum", "StorageClass", "ObjectParts"}.isdisjoint(found)
    assert found["ObjectSize"] == 5


def test_attributes_that_cannot_be_told(s3: Any, bucket: str, raw: RawS3) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    place = {"Bucket": bucket, "Key": "a"}
    assert refusal(lambda: s3.get_object_attributes(**place, ObjectAttributes=["Colour"])) == (
        "InvalidArgument",
        400,
    )
    missing = {"Bucket": bucket, "Key": "none", "ObjectAttributes": ["ETag"]}
    assert refusal(lambda: s3.get_object_attributes(**missing)) == ("NoSuchKey", 404)
    bare = raw.send(raw.signed("GET", "/a?attributes"))
    assert (bare.status, bare.code) == (400, "InvalidRequest")


def test_attributes_may_be_asked_for_in_a_header_line_each(s3: Any, bucket: str, raw: RawS3) -> None:
    """As the SDK for Java does."""
    s3.put_object(Bucket=bucket, Key="a", Body=b"whole")
    name = "x-amz-object-attributes"
    sent = raw.signed("GET", "/a?attributes", headers={name: "ETag,ObjectSize"})
    place = urlsplit(raw.variables["AWS_ENDPOINT_URL"])
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    connection.putrequest(sent.method, sent.target)
    for header, value in [*((k, v) for k, v in sent.headers.items() if k != name), (name, "ETag")]:
        connection.putheader(header, value)
    connection.putheader(name, "ObjectSize")
    connection.endheaders()
    answer = connection.getresponse()
    document = answer.read()
    connection.close()
    assert answer.status == 200
    assert b"<ETag>" in document
    assert b"<ObjectSize>5</ObjectSize>" in document
