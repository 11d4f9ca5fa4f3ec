"""Checksums that a client sends: verified before anything changes, kept, and given back; by header and by trailer."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import anycrc
import pytest
from botocore.exceptions import ClientError

from support.cluster import Cluster
from support.raw_s3 import RawS3

OLD, NEW = b"the old object", b"what should replace it"
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4),
    "crc32c": lambda data: int(anycrc.Model("CRC32C").calc(data)).to_bytes(4),
    "crc64nvme": lambda data: int(anycrc.Model("CRC64-NVME").calc(data)).to_bytes(8),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}
EACH = pytest.mark.parametrize("algorithm", DIGESTS)
PARTS = [bytes(5 << 20), b"the last part"]


def digest(algorithm: str, data: bytes) -> str:
    return base64.b64encode(DIGESTS[algorithm](data)).decode()


def field(algorithm: str) -> str:
    """As boto3 names it."""
    return f"Checksum{algorithm.upper()}"


@pytest.fixture
def raw(cluster: Cluster, bucket: str) -> RawS3:
    return RawS3(cluster, bucket)


@pytest.fixture
def place(s3: Any, bucket: str) -> dict[str, str]:
    """Of an object that has the old content."""
    s3.put_object(Bucket=bucket, Key="key", Body=OLD)
    return {"Bucket": bucket, "Key": "key"}


def content(s3: Any, place: dict[str, str]) -> bytes:
    found: bytes = s3.get_object(**place)["Body"].read()
    return found


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


@EACH
def test_a_right_one_is_kept_and_given_back_to_those_who_ask(
    s3: Any, raw: RawS3, place: dict[str, str], algorithm: str
) -> None:
    value = digest(algorithm, NEW)
    put = s3.put_object(**place, Body=NEW, **{field(algorithm): value})
    assert (put[field(algorithm)], put["ChecksumType"]) == (value, "FULL_OBJECT")
    for read in (s3.get_object, s3.head_object):
        answer = read(**place, ChecksumMode="ENABLED")
        assert (answer[field(algorithm)], answer["ChecksumType"]) == (value, "FULL_OBJECT")
    assert field(algorithm) not in s3.head_object(**place)
    assert field(algorithm) not in s3.head_object(**place, ChecksumMode="ENABLED", Range="bytes=0-1")
    # boto3 asks for it with every GET.
    assert f"x-amz-checksum-{algorithm}" not in raw.send(raw.signed("GET", "/key")).headers
    attributes = s3.get_object_attributes(**place, ObjectAttributes=["Checksum"])
    assert attributes["Checksum"] == {field(algorithm): value, "ChecksumType": "FULL_OBJECT"}
    assert content(s3, place) == NEW


@EACH
@pytest.mark.parametrize("wrong", ["other", "short", "text", "empty"])
def test_a_wrong_one_leaves_the_old_object(
    s3: Any, raw: RawS3, place: dict[str, str], algorithm: str, wrong: str
) -> None:
    value = {"other": digest(algorithm, OLD), "short": "AAAA", "text": "no base64", "empty": ""}[wrong]
    answer = raw.send(raw.signed("PUT", "/key", body=NEW, headers={f"x-amz-checksum-{algorithm}": value}))
    assert (answer.status, answer.code) == (400, "BadDigest" if wrong == "other" else "InvalidRequest")
    assert content(s3, place) == OLD


@EACH
@pytest.mark.parametrize("payload", [SIGNED, UNSIGNED])
def test_a_right_one_in_a_trailer(
    s3: Any, raw: RawS3, place: dict[str, str], algorithm: str, payload: str
) -> None:
    name = f"x-amz-checksum-{algorithm}"
    sent, chunks = raw.chunked("/key", length=len(NEW), payload=payload, trailer=name)
    sent.body = chunks.body([NEW], {name: digest(algorithm, NEW)})
    assert raw.send(sent).status == 200
    assert s3.head_object(**place, ChecksumMode="ENABLED")[field(algorithm)] == digest(algorithm, NEW)
    assert content(s3, place) == NEW


@EACH
@pytest.mark.parametrize("payload", [SIGNED, UNSIGNED])
def test_a_wrong_one_in_a_trailer_leaves_the_old_object(
    s3: Any, raw: RawS3, place: dict[str, str], algorithm: str, payload: str
) -> None:
    name = f"x-amz-checksum-{algorithm}"
    sent, chunks = raw.chunked("/key", length=len(NEW), payload=payload, trailer=name)
    sent.body = chunks.body([NEW], {name: digest(algorithm, OLD)})
    assert raw.send(sent).code == "BadDigest"
    assert content(s3, place) == OLD


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (base64.b64encode(hashlib.md5(NEW).digest()).decode(), ""),
        (base64.b64encode(hashlib.md5(OLD).digest()).decode(), "BadDigest"),
        ("AAAA", "InvalidDigest"),
        ("x", "InvalidDigest"),
    ],
)
def test_content_md5(s3: Any, raw: RawS3, place: dict[str, str], value: str, code: str) -> None:
    answer = raw.send(raw.signed("PUT", "/key", body=NEW, headers={"content-md5": value}))
    assert (answer.code if code else answer.body.decode()) == code
    assert content(s3, place) == (OLD if code else NEW)


def begin(s3: Any, place: dict[str, str], algorithm: str, kind: str) -> dict[str, Any]:
    chosen = {"ChecksumAlgorithm": algorithm.upper(), "ChecksumType": kind} if algorithm else {}
    began = s3.create_multipart_upload(**place, **chosen)
    return {**place, "UploadId": began["UploadId"]}


def put_parts(s3: Any, upload: dict[str, Any], algorithm: str) -> list[dict[str, Any]]:
    parts = []
    for number, body in enumerate(PARTS, 1):
        value = {field(algorithm): digest(algorithm, body)} if algorithm else {}
        part = s3.upload_part(**upload, PartNumber=number, Body=body, **value)
        parts.append({"PartNumber": number, "ETag": part["ETag"], **value})
    return parts


def whole(algorithm: str, kind: str) -> str:
    if kind == "FULL_OBJECT":
        return digest(algorithm, b"".join(PARTS))
    joined = b"".join(DIGESTS[algorithm](part) for part in PARTS)
    return f"{digest(algorithm, joined)}-{len(PARTS)}"


POSSIBLE = [
    ("crc32", "COMPOSITE"),
    ("crc32", "FULL_OBJECT"),
    ("crc32c", "COMPOSITE"),
    ("crc32c", "FULL_OBJECT"),
    ("crc64nvme", "FULL_OBJECT"),
    ("sha1", "COMPOSITE"),
    ("sha256", "COMPOSITE"),
]


@pytest.mark.parametrize(("algorithm", "kind"), POSSIBLE)
def test_of_an_object_in_parts(s3: Any, place: dict[str, str], algorithm: str, kind: str) -> None:
    upload = begin(s3, place, algorithm, kind)
    parts = put_parts(s3, upload, algorithm)
    listed = s3.list_parts(**upload)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm.upper(), kind)
    assert [part[field(algorithm)] for part in listed["Parts"]] == [digest(algorithm, part) for part in PARTS]
    (begun,) = s3.list_multipart_uploads(Bucket=place["Bucket"])["Uploads"]
    assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == (algorithm.upper(), kind)
    wrong = {field(algorithm): whole(algorithm, kind).swapcase()}
    completed = {**upload, "MultipartUpload": {"Parts": parts}}
    assert code_of(lambda: s3.complete_multipart_upload(**completed, **wrong)) in (
        "BadDigest",
        "InvalidRequest",
    )
    assert content(s3, place) == OLD
    right = {field(algorithm): whole(algorithm, kind)}
    done = s3.complete_multipart_upload(**completed, **right)
    head = s3.head_object(**place, ChecksumMode="ENABLED")
    for answer in (done, head):
        assert (answer[field(algorithm)], answer["ChecksumType"]) == (whole(algorithm, kind), kind)


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("crc64nvme", "COMPOSITE"), ("sha1", "FULL_OBJECT"), ("sha256", "FULL_OBJECT")]
)
def test_a_type_that_the_algorithm_cannot_have(
    s3: Any, place: dict[str, str], algorithm: str, kind: str
) -> None:
    assert code_of(lambda: begin(s3, place, algorithm, kind)) == "InvalidRequest"


@EACH
def test_a_wrong_one_of_a_part_keeps_the_part_out(s3: Any, place: dict[str, str], algorithm: str) -> None:
    upload = begin(s3, place, "", "")
    value = {field(algorithm): digest(algorithm, OLD)}
    call = lambda: s3.upload_part(**upload, PartNumber=1, Body=NEW, **value)  # noqa: E731
    assert code_of(call) == "BadDigest"
    assert "Parts" not in s3.list_parts(**upload)


@pytest.mark.parametrize(("begun_with", "claimed"), [("", "crc32"), ("crc32c", "crc32"), ("crc32", "sha256")])
def test_one_of_the_whole_that_cannot_be_verified_is_refused(
    s3: Any, place: dict[str, str], begun_with: str, claimed: str
) -> None:
    upload = begin(s3, place, begun_with, "COMPOSITE")
    parts = put_parts(s3, upload, begun_with)
    value = {field(claimed): digest(claimed, b"".join(PARTS))}
    call = lambda: s3.complete_multipart_upload(  # noqa: E731
        **upload, MultipartUpload={"Parts": parts}, **value
    )
    assert code_of(call) in ("BadDigest", "InvalidRequest")
    assert content(s3, place) == OLD


def test_a_size_of_the_whole_that_is_wrong_is_refused(s3: Any, place: dict[str, str]) -> None:
    upload = begin(s3, place, "", "")
    parts = {"Parts": put_parts(s3, upload, "")}
    size = sum(map(len, PARTS))
    call = lambda: s3.complete_multipart_upload(  # noqa: E731
        **upload, MultipartUpload=parts, MpuObjectSize=size + 1
    )
    assert code_of(call) == "InvalidRequest"
    assert content(s3, place) == OLD
    s3.complete_multipart_upload(**upload, MultipartUpload=parts, MpuObjectSize=size)
    assert s3.head_object(**place)["ContentLength"] == size


def test_a_copy_keeps_the_one_of_the_whole(s3: Any, place: dict[str, str]) -> None:
    s3.put_object(**place, Body=NEW, ChecksumSHA256=digest("sha256", NEW))
    source = {"Bucket": place["Bucket"], "Key": place["Key"]}
    copied = s3.copy_object(Bucket=place["Bucket"], Key="copy", CopySource=source)["CopyObjectResult"]
    assert (copied["ChecksumSHA256"], copied["ChecksumType"]) == (digest("sha256", NEW), "FULL_OBJECT")
    head = s3.head_object(Bucket=place["Bucket"], Key="copy", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == digest("sha256", NEW)
