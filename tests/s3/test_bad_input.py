"""Requests that lie, break off, come too late or explode: the error that AWS documents, and no trace of them."""

from __future__ import annotations

import base64
import hashlib
import socket
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore import auth

from shoal_gateway.s3.operations import BUCKET_SUBRESOURCES, OBJECT_SUBRESOURCES, OPERATIONS
from support.aws_chunks import unsigned_body
from support.cluster import Cluster
from support.raw_s3 import Answer, RawS3, Sent
from support.workload import wait_until

OLD = b"the old object" * 3000
NEW = b"the new object" * 3000
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@pytest.fixture
def raw(cluster: Cluster, s3: Any, bucket: str) -> Iterator[RawS3]:
    """A bucket with one object, `/key`; after the test it is what it was, and nothing else is on the disks."""
    s3.put_object(Bucket=bucket, Key="key", Body=OLD)
    wait_until(lambda: cluster.leftovers() == [], 10, "the end of earlier writes")
    before = cluster.chunk_files()
    yield RawS3(cluster, bucket)
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == OLD
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["key"]
    wait_until(lambda: cluster.leftovers() == [], 10, "the removal of what was refused")
    assert cluster.chunk_files() == before
    for gateway in ("g1", "g2"):
        assert "Traceback" not in cluster.log(gateway)


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/xml"


def base64_md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def base64_crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4)).decode()


def test_a_wrong_signature(raw: RawS3) -> None:
    wrong = RawS3(raw.cluster, raw.bucket, secret="x" * 40)
    refused(wrong.send(wrong.signed("PUT", "/key", body=NEW)), 403, "SignatureDoesNotMatch")
    refused(wrong.send(wrong.presigned("PUT", "/key")), 403, "SignatureDoesNotMatch")


def test_an_unknown_key(raw: RawS3) -> None:
    sent = raw.signed("PUT", "/key", body=NEW)
    key = raw.variables["AWS_ACCESS_KEY_ID"]
    sent.headers["Authorization"] = sent.headers["Authorization"].replace(key, "AKIANOBODY0000000000")
    refused(raw.send(sent), 403, "InvalidAccessKeyId")


def test_no_signature_at_all(raw: RawS3) -> None:
    refused(raw.send(Sent("PUT", f"/{raw.bucket}/key", {}, NEW)), 403, "AccessDenied")


def test_another_region(raw: RawS3) -> None:
    elsewhere = RawS3(raw.cluster, raw.bucket, region="eu-west-1")
    refused(elsewhere.send(elsewhere.signed("PUT", "/key", body=NEW)), 400, "AuthorizationHeaderMalformed")


def test_a_stale_date(raw: RawS3, monkeypatch: pytest.MonkeyPatch) -> None:
    now = auth.get_current_datetime()
    for minutes in (-16, 16):
        moved = now + timedelta(minutes=minutes)
        monkeypatch.setattr(auth, "get_current_datetime", lambda moved=moved: moved)
        refused(raw.send(raw.signed("PUT", "/key", body=NEW)), 403, "RequestTimeTooSkewed")


def test_a_header_that_nobody_signed(raw: RawS3) -> None:
    for sent in (raw.signed("PUT", "/other", body=NEW), raw.presigned("PUT", "/other")):
        sent.headers["x-amz-copy-source"] = f"/{raw.bucket}/key"
        refused(raw.send(sent), 403, "AccessDenied")


def test_a_presigned_url_of_the_past_and_one_for_ever(raw: RawS3) -> None:
    refused(raw.send(raw.presigned("GET", "/key", expires=-1)), 400, "AuthorizationQueryParametersError")
    refused(raw.send(raw.presigned("GET", "/key", expires=604_801)), 400, "AuthorizationQueryParametersError")
    changed = raw.presigned("GET", "/key")
    changed.target = changed.target.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    refused(raw.send(changed), 403, "SignatureDoesNotMatch")
    refused(raw.send(raw.presigned("GET", "/key", expires=0)), 403, "AccessDenied")


def test_a_presigned_url_whose_time_is_over_or_has_not_come(
    raw: RawS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = auth.get_current_datetime()
    for seconds in (-62, 16 * 60):
        moved = now + timedelta(seconds=seconds)
        monkeypatch.setattr(auth, "get_current_datetime", lambda moved=moved: moved)
        for method in ("GET", "PUT"):
            refused(raw.send(raw.presigned(method, "/key")), 403, "AccessDenied")


def test_a_presigned_get_does_not_put(raw: RawS3) -> None:
    sent = raw.presigned("GET", "/key")
    sent.method, sent.body = "PUT", NEW
    refused(raw.send(sent), 403, "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content-md5": base64_md5(OLD)}, "BadDigest"),
        ({"content-md5": "no digest"}, "InvalidDigest"),
        ({"x-amz-checksum-crc32": base64_crc32(OLD)}, "BadDigest"),
        ({"x-amz-checksum-crc32": "AAAA"}, "InvalidRequest"),
        ({"x-amz-checksum-sha256": "x"}, "InvalidRequest"),
        ({"x-amz-content-sha256": hashlib.sha256(OLD).hexdigest()}, "XAmzContentSHA256Mismatch"),
        ({"x-amz-checksum-crc32": base64_crc32(NEW), "x-amz-checksum-crc32c": "AAAAAA=="}, "InvalidRequest"),
    ],
)
def test_a_body_that_is_not_what_was_announced(raw: RawS3, headers: dict[str, str], code: str) -> None:
    for name in ("/key", "/other"):
        refused(raw.send(raw.signed("PUT", name, body=NEW, headers=headers)), 400, code)


def test_signed_chunks_that_were_changed_or_cut(raw: RawS3) -> None:
    bends: dict[str, Callable[[bytes], bytes]] = {
        "SignatureDoesNotMatch": lambda body: body.replace(b"new", b"bad", 1),
        "IncompleteBody": lambda body: body[: len(body) // 2],
    }
    for code, bend in bends.items():
        sent, chunks = raw.chunked("/key", length=len(NEW), payload=SIGNED)
        sent.body = bend(chunks.body([NEW[:20_000], NEW[20_000:]]))
        answer = raw.send(sent)
        refused(answer, 403 if code.startswith("Signature") else 400, code)


def test_a_chunk_signature_that_is_cut_short(raw: RawS3) -> None:
    sent, chunks = raw.chunked("/key", length=len(NEW), payload=SIGNED)
    head, rest = chunks.body([NEW]).split(b"\r\n", 1)
    sent.body = head[:-8] + b"\r\n" + rest
    refused(raw.send(sent), 403, "SignatureDoesNotMatch")


def test_fewer_and_more_bytes_than_were_announced(raw: RawS3) -> None:
    for length in (len(NEW) - 1, len(NEW) + 1):
        sent, chunks = raw.chunked("/key", length=length, payload=SIGNED)
        sent.body = chunks.body([NEW])
        refused(raw.send(sent), 400, "IncompleteBody")


def test_a_trailer_that_lies_or_does_not_come(raw: RawS3) -> None:
    for trailers, code in (
        ({"x-amz-checksum-crc32": base64_crc32(OLD)}, "BadDigest"),
        ({}, "MalformedTrailerError"),
    ):
        sent, _ = raw.chunked(
            "/key", length=len(NEW), payload=UNSIGNED_TRAILER, trailer="x-amz-checksum-crc32"
        )
        sent.body = unsigned_body([NEW], trailers)
        refused(raw.send(sent), 400, code)


def test_a_signed_trailer_that_was_changed_on_the_way(raw: RawS3) -> None:
    sent, chunks = raw.chunked(
        "/key", length=len(NEW), payload=f"{SIGNED}-TRAILER", trailer="x-amz-checksum-crc32"
    )
    body = chunks.body([NEW], {"x-amz-checksum-crc32": base64_crc32(OLD)})
    sent.body = body.replace(base64_crc32(OLD).encode(), base64_crc32(NEW).encode())
    refused(raw.send(sent), 403, "SignatureDoesNotMatch")


def test_a_client_that_goes_away_in_the_middle(raw: RawS3) -> None:
    place = urlsplit(raw.cluster.endpoint)
    chunked, chunks = raw.chunked("/key", length=len(NEW), payload=SIGNED)
    chunked.body = chunks.body([NEW[:20_000], NEW[20_000:]])
    for sent in (raw.signed("PUT", "/key", body=NEW), raw.signed("PUT", "/other", body=NEW), chunked):
        lines = [f"PUT {sent.target} HTTP/1.1", f"host: {place.netloc}", f"content-length: {len(sent.body)}"]
        lines += [f"{name}: {value}" for name, value in sent.headers.items()]
        with socket.create_connection((place.hostname or "", place.port or 0), 30) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + sent.body[:-100])


def test_too_much_metadata(raw: RawS3) -> None:
    headers = {f"x-amz-meta-{number}": "v" * 200 for number in range(11)}
    refused(raw.send(raw.signed("PUT", "/other", body=NEW, headers=headers)), 400, "MetadataTooLarge")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_a_subresource_that_is_not_built_changes_nothing(raw: RawS3, method: str) -> None:
    for key, names in (("", BUCKET_SUBRESOURCES), ("/key", OBJECT_SUBRESOURCES)):
        for name in names.keys() - {built for _, _, built in OPERATIONS} | {"somethingNew"}:
            query = "versionId=x" if name == "versionId" else name
            refused(raw.send(raw.signed(method, f"{key}?{query}")), 501, "NotImplemented")
    refused(raw.send(raw.signed(method, "/key?versionId")), 400, "InvalidArgument")


def test_too_large_and_of_no_length(raw: RawS3) -> None:
    sent = raw.signed("PUT", "/key", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    sent.headers["content-length"] = str((5 << 30) + 1)
    refused(raw.send(sent), 400, "EntityTooLarge")
    place = urlsplit(raw.cluster.endpoint)
    sent = raw.signed("PUT", "/key", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    lines = [f"PUT {sent.target} HTTP/1.1", f"host: {place.netloc}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in sent.headers.items()]
    with socket.create_connection((place.hostname or "", place.port or 0), 30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 411 " in answer.split(b"\r\n")[0]
    assert b"<Code>MissingContentLength</Code>" in answer


EXPLODING = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b"<Delete><Object><Key>&b;</Key></Object></Delete>"
)
OUTSIDE = (
    b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&a;</Key></Object></Delete>'
)


@pytest.mark.parametrize(
    "document",
    [
        EXPLODING,
        OUTSIDE,
        b"<Delete>",
        b"",
        b"no xml",
        b"<Delete/>",
        b"<Other><Object><Key>key</Key></Object></Other>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete>" + b"<Object>" * 5000 + b"</Delete>",
        b"<Delete>" + b"<Object><Key>no-such</Key></Object>" * 1001 + b"</Delete>",
        b'<?xml version="1.0" encoding="utf-7"?><Delete/>',
    ],
    ids=lambda document: document[:20].decode(),
)
def test_xml_that_lies_or_explodes(raw: RawS3, document: bytes) -> None:
    headers = {"content-md5": base64_md5(document)}
    refused(raw.send(raw.signed("POST", "?delete", body=document, headers=headers)), 400, "MalformedXML")


def test_a_document_beyond_every_limit(raw: RawS3) -> None:
    document = b"<Delete>" + b" " * (5 << 20) + b"</Delete>"
    headers = {"content-md5": base64_md5(document)}
    sent = raw.signed("POST", "?delete", body=document, headers=headers)
    refused(raw.send(sent), 400, "MaxMessageLengthExceeded")


@pytest.mark.parametrize(
    ("key", "code"),
    [("/" + "x" * 1025, "KeyTooLongError"), ("/a%00b", "InvalidURI"), ("/a%FFb", "InvalidURI")],
)
def test_names_that_no_object_can_have(raw: RawS3, key: str, code: str) -> None:
    refused(raw.send(raw.signed("PUT", key, body=NEW)), 400, code)


def test_an_upload_that_is_never_completed_is_listed_and_leaves_no_byte(
    raw: RawS3, s3: Any, large_file: Path
) -> None:
    place = {"Bucket": raw.bucket, "Key": "never"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    part = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=large_file.read_bytes()[: 6 << 20])
    listed = s3.list_multipart_uploads(Bucket=raw.bucket)["Uploads"]
    assert [(each["Key"], each["UploadId"]) for each in listed] == [("never", upload)]
    for parts in (
        [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}],
        [{"PartNumber": 2, "ETag": part["ETag"]}],
    ):
        with pytest.raises(s3.exceptions.ClientError, match="InvalidPart"):
            s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    s3.abort_multipart_upload(**place, UploadId=upload)
    with pytest.raises(s3.exceptions.NoSuchUpload):
        s3.list_parts(**place, UploadId=upload)
