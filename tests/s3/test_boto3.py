"""boto3, unchanged: buckets, objects, conditions, listings, copies, checksums, presigned URLs, and what is missing."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.cluster import Cluster
from support.s3_clients import s3_client

ODD_NAMES = [
    "plain", "space in it", "plus+plus", "percent%20", "é", "猫/猫", "a//b", "/leading", "trailing/", "..", "../up",
    "q?q", "h#h", "amp&eq=", "tab\tnew\nline", "'quote\"", "<xml>", "x" * 1024, "\x01control",
]  # fmt: skip
ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def body(answer: Any) -> bytes:
    return bytes(answer["Body"].read())


# Buckets


def test_buckets_come_are_listed_and_go(s3: Any, bucket: str) -> None:
    assert bucket in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == "shoal"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert code_of(lambda: s3.delete_bucket(Bucket=bucket)) == "BucketNotEmpty"


def test_a_bucket_that_is_not_there(s3: Any) -> None:
    for call in (
        lambda: s3.list_objects_v2(Bucket="no-such-bucket"),
        lambda: s3.put_object(Bucket="no-such-bucket", Key="a", Body=b""),
        lambda: s3.get_object(Bucket="no-such-bucket", Key="a"),
        lambda: s3.delete_bucket(Bucket="no-such-bucket"),
        lambda: s3.create_multipart_upload(Bucket="no-such-bucket", Key="a"),
    ):
        assert code_of(call) == "NoSuchBucket"
    assert code_of(lambda: s3.head_bucket(Bucket="no-such-bucket")) == "404"


def test_a_bucket_that_is_made_again_keeps_its_objects(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    for options in ({}, {"CreateBucketConfiguration": {"LocationConstraint": "shoal"}}):
        s3.create_bucket(Bucket=bucket, **options)
    assert body(s3.get_object(Bucket=bucket, Key="a")) == b"x"
    elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    assert (
        code_of(lambda: s3.create_bucket(Bucket=bucket, **elsewhere)) == "IllegalLocationConstraintException"
    )


@pytest.mark.parametrize("name", ["ab", "under_score", "Upper", "dot..dot", "x" * 64])
def test_a_bucket_name_that_aws_would_refuse(s3: Any, name: str) -> None:
    assert code_of(lambda: s3.create_bucket(Bucket=name)) == "InvalidBucketName"


# Objects


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:20])
def test_any_name_goes_round(s3: Any, bucket: str, name: str) -> None:
    s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
    assert body(s3.get_object(Bucket=bucket, Key=name)) == name.encode()
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [name]
    s3.delete_object(Bucket=bucket, Key=name)
    assert code_of(lambda: s3.get_object(Bucket=bucket, Key=name)) == "NoSuchKey"


def test_headers_and_metadata_come_back(s3: Any, bucket: str) -> None:
    headers = {
        "ContentType": "text/x-test",
        "ContentEncoding": "gzip",
        "ContentLanguage": "ga",
        "ContentDisposition": 'attachment; filename="a"',
        "CacheControl": "max-age=60",
        "Expires": datetime(2030, 1, 1, tzinfo=UTC),
        "Metadata": {"color": "blue", "utf-8": "=?UTF-8?B?w6k=?="},
    }
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", **headers)
    answer = s3.head_object(Bucket=bucket, Key="a")
    found = {name: answer[name] for name in headers if name != "Expires"}
    assert found == {name: value for name, value in headers.items() if name != "Expires"}
    assert "2030" in answer["ExpiresString"]
    shown = s3.get_object(
        Bucket=bucket, Key="a", ResponseContentType="text/y", ResponseCacheControl="no-store"
    )
    assert (shown["ContentType"], shown["CacheControl"]) == ("text/y", "no-store")


@pytest.mark.parametrize(
    ("asked", "expected", "content_range"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=3-", b"3456789", "bytes 3-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-100", b"56789", "bytes 5-9/10"),
        ("bytes=-100", b"0123456789", "bytes 0-9/10"),
    ],
)
def test_ranges(s3: Any, bucket: str, asked: str, expected: bytes, content_range: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"0123456789")
    answer = s3.get_object(Bucket=bucket, Key="a", Range=asked)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (body(answer), answer["ContentRange"]) == (expected, content_range)


def test_a_range_beyond_the_end(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"0123456789")
    for asked in ("bytes=10-", "bytes=-0"):
        assert code_of(partial(s3.get_object, Bucket=bucket, Key="a", Range=asked)) == "InvalidRange"


def test_conditions_on_reads(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    now = datetime.now(UTC)
    before, after = now - timedelta(days=1), now + timedelta(seconds=2)
    place = {"Bucket": bucket, "Key": "a"}
    assert body(s3.get_object(**place, IfMatch=etag, IfModifiedSince=before)) == b"x"
    assert code_of(lambda: s3.get_object(**place, IfMatch='"other"')) == "PreconditionFailed"
    assert code_of(lambda: s3.get_object(**place, IfNoneMatch=etag)) == "304"
    assert code_of(lambda: s3.get_object(**place, IfUnmodifiedSince=before)) == "PreconditionFailed"
    assert code_of(lambda: s3.head_object(**place, IfModifiedSince=after)) == "304"


def test_conditions_on_writes(s3: Any, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "a"}
    etag = s3.put_object(**place, Body=b"1", IfNoneMatch="*")["ETag"]
    assert code_of(lambda: s3.put_object(**place, Body=b"2", IfNoneMatch="*")) == "PreconditionFailed"
    assert code_of(lambda: s3.put_object(**place, Body=b"2", IfMatch='"other"')) == "PreconditionFailed"
    s3.put_object(**place, Body=b"3", IfMatch=etag)
    assert body(s3.get_object(**place)) == b"3"
    missing = {"Bucket": bucket, "Key": "missing"}
    assert code_of(lambda: s3.put_object(**missing, Body=b"", IfMatch=etag)) == "NoSuchKey"


def test_of_many_who_create_one_name_exactly_one_does(s3: Any, bucket: str) -> None:
    def create(number: int) -> str:
        try:
            s3.put_object(Bucket=bucket, Key="a", Body=b"%d" % number, IfNoneMatch="*")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "created"

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(create, range(48)))
    assert sorted(outcomes) == ["PreconditionFailed"] * 47 + ["created"]
    winner = outcomes.index("created")
    assert body(s3.get_object(Bucket=bucket, Key="a")) == b"%d" % winner


def test_a_range_of_what_was_overwritten_meanwhile_is_refused(s3: Any, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "a"}
    etag = s3.put_object(**place, Body=b"old" * 100)["ETag"]
    s3.put_object(**place, Body=b"new" * 100)
    call = partial(s3.get_object, **place, Range="bytes=100-", IfMatch=etag)
    assert code_of(call) == "PreconditionFailed"


def test_a_delete_of_what_is_not_there_succeeds(s3: Any, bucket: str) -> None:
    assert s3.delete_object(Bucket=bucket, Key="never")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert code_of(lambda: s3.head_object(Bucket=bucket, Key="never")) == "404"


def test_deletes_of_many(s3: Any, bucket: str) -> None:
    names = [f"n/{number}" for number in range(5)]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    wanted = {"Objects": [{"Key": name} for name in [*names, "never"]]}
    answer = s3.delete_objects(Bucket=bucket, Delete=wanted)
    assert sorted(each["Key"] for each in answer["Deleted"]) == [*names, "never"]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    quiet = s3.delete_objects(Bucket=bucket, Delete=wanted | {"Quiet": True})
    assert "Deleted" not in quiet
    assert "Errors" not in quiet


@pytest.mark.parametrize("name", [" a", "a ", "\ta", "a\r\n", " "], ids=ascii)
def test_a_delete_of_many_takes_a_name_to_the_letter(s3: Any, bucket: str, name: str) -> None:
    for each in ("a", name):
        s3.put_object(Bucket=bucket, Key=each, Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name}]})
    assert [each["Key"] for each in answer["Deleted"]] == [name]
    assert keys(s3.list_objects_v2(Bucket=bucket)) == ["a"]


# Copies


def test_a_copy_keeps_or_replaces_what_belongs_to_the_object(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a é+", Body=b"x" * 50_000, ContentType="text/a", Metadata={"k": "a"})
    source = {"Bucket": bucket, "Key": "a é+"}
    result = s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)["CopyObjectResult"]
    kept = s3.head_object(Bucket=bucket, Key="kept")
    assert (kept["ETag"], kept["ContentType"], kept["Metadata"]) == (result["ETag"], "text/a", {"k": "a"})
    s3.copy_object(
        Bucket=bucket, Key="changed", CopySource=source, MetadataDirective="REPLACE", ContentType="text/b",
        Metadata={"k": "b"},
    )  # fmt: skip
    changed = s3.head_object(Bucket=bucket, Key="changed")
    assert (changed["ContentType"], changed["Metadata"]) == ("text/b", {"k": "b"})
    assert body(s3.get_object(Bucket=bucket, Key="changed")) == b"x" * 50_000


def test_copies_that_cannot_be(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    source = {"Bucket": bucket, "Key": "a"}
    to = {"Bucket": bucket, "Key": "b"}
    assert code_of(lambda: s3.copy_object(**source, CopySource=source)) == "InvalidRequest"
    assert code_of(lambda: s3.copy_object(**to, CopySource={"Bucket": bucket, "Key": "no"})) == "NoSuchKey"
    assert (
        code_of(lambda: s3.copy_object(**to, CopySource={"Bucket": "nowhere", "Key": "a"})) == "NoSuchBucket"
    )
    condition = {"CopySource": source, "CopySourceIfNoneMatch": etag}
    assert code_of(lambda: s3.copy_object(**to, **condition)) == "PreconditionFailed"


# Listings


def keys(answer: Any) -> list[str]:
    return [each["Key"] for each in answer.get("Contents", [])]


def prefixes(answer: Any) -> list[str]:
    return [each["Prefix"] for each in answer.get("CommonPrefixes", [])]


@pytest.fixture
def tree(s3: Any, bucket: str) -> list[str]:
    names = ["a", "b/1", "b/2", "b/c/1", "b+", "d/1", "é", "猫/1"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    return sorted(names)


def test_pages_by_delimiter_and_prefix(s3: Any, bucket: str, tree: list[str]) -> None:
    answer = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert (keys(answer), prefixes(answer)) == (["a", "b+", "é"], ["b/", "d/", "猫/"])
    answer = s3.list_objects_v2(Bucket=bucket, Prefix="b/", Delimiter="/")
    assert (keys(answer), prefixes(answer)) == (["b/1", "b/2"], ["b/c/"])
    assert keys(s3.list_objects_v2(Bucket=bucket, StartAfter="b/2")) == [
        name for name in tree if name > "b/2"
    ]
    assert answer["KeyCount"] == 3


@pytest.mark.parametrize("version", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_pages_of_any_size_show_everything_once(
    s3: Any, bucket: str, tree: list[str], version: str, delimiter: str
) -> None:
    whole = s3.list_objects_v2(Bucket=bucket, Delimiter=delimiter)
    for size in range(1, 9):
        pages = list(
            s3.get_paginator(version).paginate(
                Bucket=bucket, Delimiter=delimiter, PaginationConfig={"PageSize": size}
            )
        )
        assert [key for page in pages for key in keys(page)] == keys(whole)
        assert [prefix for page in pages for prefix in prefixes(page)] == prefixes(whole)
        assert all(len(keys(page)) + len(prefixes(page)) <= size for page in pages)


def test_prefixes_and_delimiters_are_taken_to_the_letter(s3: Any, bucket: str) -> None:
    names = ["a b c%20/1", "a b+c%20/1", "a b+c%20/2&3", "ab", "é=&;é"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    assert keys(s3.list_objects_v2(Bucket=bucket, Prefix="a b+c%20/")) == names[1:3]
    assert keys(s3.list_objects(Bucket=bucket, Marker="a b+c%20/1")) == names[2:]
    answer = s3.list_objects(Bucket=bucket, Delimiter="%20/")
    assert (keys(answer), prefixes(answer)) == (names[3:], ["a b c%20/", "a b+c%20/"])
    answer = s3.list_objects_v2(Bucket=bucket, Prefix="é=", Delimiter="&;")
    assert (answer["Prefix"], answer["Delimiter"], prefixes(answer)) == ("é=", "&;", ["é=&;"])


def test_an_entry_says_what_a_head_says(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x" * 100)
    entry = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]
    head = s3.head_object(Bucket=bucket, Key="a")
    assert (entry["Size"], entry["ETag"]) == (100, head["ETag"])
    assert entry["LastModified"].replace(microsecond=0) == head["LastModified"]
    assert entry["StorageClass"] == "STANDARD"
    assert "ID" in entry["Owner"]
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0


# Checksums


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_is_kept_and_given_back(s3: Any, bucket: str, algorithm: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"content", ChecksumAlgorithm=algorithm)
    value = put[f"Checksum{algorithm}"]
    answer = s3.get_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert (body(answer), answer[f"Checksum{algorithm}"]) == (b"content", value)
    head = s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (value, "FULL_OBJECT")


# Uploads in parts


def test_parts_are_listed_copied_and_make_an_object(s3: Any, bucket: str, large_file: Any) -> None:
    data = large_file.read_bytes()[: 12 << 20]
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    place = {"Bucket": bucket, "Key": "made"}
    upload = s3.create_multipart_upload(**place, ContentType="text/m", Metadata={"k": "v"})["UploadId"]
    first = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=data[: 6 << 20])["ETag"]
    second = s3.upload_part_copy(
        **place, UploadId=upload, PartNumber=2, CopySource={"Bucket": bucket, "Key": "source"},
        CopySourceRange=f"bytes={6 << 20}-{len(data) - 1}",
    )["CopyPartResult"]["ETag"]  # fmt: skip
    listed = s3.list_parts(**place, UploadId=upload)["Parts"]
    assert [(part["PartNumber"], part["ETag"], part["Size"]) for part in listed] == [
        (1, first, 6 << 20),
        (2, second, len(data) - (6 << 20)),
    ]
    parts = [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second}]
    done = s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    answer = s3.get_object(**place)
    assert (answer["ETag"], answer["ContentType"], answer["Metadata"]) == (done["ETag"], "text/m", {"k": "v"})
    assert body(answer) == data


def test_a_completion_that_is_repeated_says_the_same(s3: Any, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "a"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    part = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"x")
    wanted = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    first, second = (
        s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=wanted) for _ in range(2)
    )
    assert (first["ETag"], first["Location"]) == (second["ETag"], second["Location"])
    assert first["ETag"].endswith('-1"')


def test_uploads_that_make_no_sense(s3: Any, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "a"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    etags = [
        s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=b"x")["ETag"] for number in (1, 2)
    ]
    one, two = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]

    def complete(*parts: dict[str, Any]) -> str:
        return code_of(
            lambda: s3.complete_multipart_upload(
                **place, UploadId=upload, MultipartUpload={"Parts": list(parts)}
            )
        )

    assert complete() == "MalformedXML"
    assert complete(two, one) == "InvalidPartOrder"
    assert complete(one, two) == "EntityTooSmall"
    assert complete({"PartNumber": 3, "ETag": etags[0]}) == "InvalidPart"
    wrong = {**place, "UploadId": "0" * 32}
    assert code_of(lambda: s3.upload_part(**wrong, PartNumber=1, Body=b"x")) == "NoSuchUpload"
    assert code_of(lambda: s3.abort_multipart_upload(**wrong)) == "NoSuchUpload"
    for number in (0, 10_001):
        call = partial(s3.upload_part, **place, UploadId=upload, PartNumber=number, Body=b"x")
        assert code_of(call) == "InvalidArgument"


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("CRC32", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("SHA256", "COMPOSITE")]
)
def test_checksums_of_parts(s3: Any, bucket: str, algorithm: str, kind: str) -> None:
    place = {"Bucket": bucket, "Key": "a"}
    began = s3.create_multipart_upload(**place, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    upload, parts = began["UploadId"], []
    for number, size in ((1, 5 << 20), (2, 10)):
        part = s3.upload_part(
            **place, UploadId=upload, PartNumber=number, Body=bytes(size), ChecksumAlgorithm=algorithm
        )
        name = f"Checksum{algorithm}"
        parts.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
    done = s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    assert done["ChecksumType"] == kind
    assert done[f"Checksum{algorithm}"].endswith("-2") == (kind == "COMPOSITE")
    head = s3.head_object(**place, ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == done[f"Checksum{algorithm}"]


# Presigned URLs


def test_presigned_urls_put_and_get(s3: Any, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "a b+é"}
    put = urllib.request.Request(s3.generate_presigned_url("put_object", place), data=b"by url", method="PUT")
    assert urllib.request.urlopen(put).status == 200
    assert urllib.request.urlopen(s3.generate_presigned_url("get_object", place)).read() == b"by url"


# What else there is


def test_below_slash_s3_the_same_is_served(cluster: Cluster, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    below = s3_client(cluster, path="/s3")
    assert body(below.get_object(Bucket=bucket, Key="a")) == b"x"
    below.close()


def test_what_is_not_built_says_its_name(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    calls: dict[str, Callable[[], Any]] = {
        "GetBucketAcl": lambda: s3.get_bucket_acl(Bucket=bucket),
        "GetBucketPolicy": lambda: s3.get_bucket_policy(Bucket=bucket),
        "PutBucketVersioning": lambda: s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        ),
        "GetObjectTagging": lambda: s3.get_object_tagging(Bucket=bucket, Key="a"),
    }
    for name, call in calls.items():
        with pytest.raises(ClientError, match=name) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "NotImplemented"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
