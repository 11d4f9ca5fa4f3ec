"""`Batch` of the official SDK: whole objects, ranges and members of shards, in order, in every format."""

from __future__ import annotations

import email
import email.message
import email.policy
import http.client
import io
import json
import os
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing

import lz4.frame
import pytest
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError

from support.sdk_versions import IS_OLDER
from support.tars import tar_of

SIZES = (0, 1, 511, 512, 4096, 32768, 32769, 100_000, (1 << 20) + 7, 3 << 20)
BODIES = {f"folder/object-{size}": os.urandom(size) for size in SIZES}
MEMBERS = {f"sample/{number:03}.cls": os.urandom(100 * number) for number in range(40)}


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for name, body in BODIES.items():
        bucket.object(name).get_writer().put_content(body)
    bucket.object("shard.tar").get_writer().put_content(tar_of(MEMBERS))
    bucket.object("shard.tgz").get_writer().put_content(tar_of(MEMBERS, mode="w:gz"))
    return bucket


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "multipart"])
@pytest.mark.parametrize("format", [".tar", ".tgz", ".tar.gz", ".zip"])
def test_objects_come_in_the_order_they_were_asked_for(
    client: Client, filled: Bucket, format: str, streaming: bool
) -> None:
    names = [*reversed(BODIES), *BODIES]
    batch = client.batch(names, bucket=filled, output_format=format, streaming_get=streaming)
    found = list(batch.get())
    assert [out.obj_name for out, _ in found] == names
    assert [len(content) for _, content in found] == [len(BODIES[name]) for name in names]
    assert all(content == BODIES[name] for name, (_, content) in zip(names, found, strict=True))
    assert all(out.err_msg in (None, "") for out, _ in found)


def test_members_ranges_and_objects_of_several_buckets_mix(client: Client, filled: Bucket) -> None:
    other = client.bucket(f"{filled.name}-other").create()
    try:
        other.object("there").get_writer().put_content(b"elsewhere")
        big = BODIES[f"folder/object-{3 << 20}"]
        for _ in range(2):  # the second time, indexes of shards are known
            batch = client.batch(bucket=filled)
            batch.add("shard.tar", archpath="sample/007.cls", opaque=b"seven")
            batch.add(f"folder/object-{3 << 20}", start=1000, length=2 << 20)
            batch.add(other.object("there"))
            batch.add("shard.tgz", archpath="sample/039.cls")
            batch.add("shard.tar", archpath="sample/010.cls", start=10, length=-1)
            batch.add("shard.tar", archpath="sample/000.cls")
            batch.add("there", bck=other.name, provider="ais", start=4, length=3)
            found = list(batch.get())
            expected = [
                MEMBERS["sample/007.cls"], big[1000 : 1000 + (2 << 20)], b"elsewhere", MEMBERS["sample/039.cls"],
                MEMBERS["sample/010.cls"][10:], b"", b"whe",
            ]  # fmt: skip
            assert [len(content) for _, content in found] == [len(content) for content in expected]
            assert [content for _, content in found] == expected
            # The older SDK forgets it when it streams.
            assert IS_OLDER or found[0][0].opaque is not None
    finally:
        other.delete()


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "multipart"])
@pytest.mark.parametrize("only_name", [True, False])
def test_what_is_missing_is_marked(client: Client, filled: Bucket, streaming: bool, only_name: bool) -> None:
    batch = client.batch(
        ["folder/object-1", "nowhere"], bucket=filled, streaming_get=streaming, only_obj_name=only_name
    )
    batch.add("shard.tar", archpath="sample/none")
    batch.add("nowhere.tar", archpath="x")
    batch.add("folder/object-512", start=500, length=100)
    batch.add("folder/object-4096")
    found = list(batch.get())
    # The older SDK does not look at the names in a stream, which say so.
    missing = not (IS_OLDER and streaming)
    assert [bool(out.err_msg) for out, _ in found] == [False, *([missing] * 4), False]
    assert [len(content) for _, content in found] == [1, 0, 0, 0, 0, 4096]


def test_too_many_missing_end_the_batch(client: Client, filled: Bucket) -> None:
    batch = client.batch([f"nowhere-{number}" for number in range(9)], bucket=filled)
    with pytest.raises(AISError):
        list(batch.get())


def test_without_going_on_a_missing_object_fails_the_batch(client: Client, filled: Bucket) -> None:
    names = [*BODIES, "nowhere"]
    with pytest.raises(AISError) as raised:
        list(client.batch(names, bucket=filled, cont_on_err=False).get())
    assert raised.value.status_code == 404


def test_a_bucket_that_does_not_exist_is_said(client: Client, filled: Bucket) -> None:
    with pytest.raises(AISError) as raised:
        list(client.batch(["a"], bucket=client.bucket("no-such-bucket")).get())
    assert raised.value.status_code == 404
    assert "does not exist" in raised.value.message


def test_ten_thousand_small_objects(client: Client, filled: Bucket) -> None:
    names = [f"folder/object-{size}" for size in SIZES[:6]] * 1700
    found = list(client.batch(names, bucket=filled).get())
    assert [len(content) for _, content in found] == [len(BODIES[name]) for name in names]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda message: message.update({"in": []}), 400),
        (lambda message: message.update(mime=".rar"), 400),
        (lambda message: message.update(coloc=3), 400),
        (lambda message: message["in"][0].update(start=5), 400),
        (lambda message: message["in"][0].update(start=-5, length=5), 400),
        (lambda message: message["in"][0].update(length=-2), 400),
        (lambda message: message["in"][0].update(objname=""), 400),
        (lambda message: message["in"][0].update(bucket="", provider="nobody"), 400),
        (lambda message: message["in"][0].update(bucket="no-such-bucket"), 404),
        (lambda message: message.update(**{"in": "all"}), 400),
    ],
)
def test_what_makes_no_sense_is_refused(
    endpoint: str, filled: Bucket, change: Callable[[dict[str, object]], None], status: int
) -> None:
    message: dict[str, object] = {"in": [{"objname": "folder/object-1", "bucket": filled.name}], "strm": True}
    change(message)
    with pytest.raises(urllib.error.HTTPError) as raised:
        raw_batch(endpoint, message)
    assert raised.value.code == status
    raised.value.close()


def test_multipart_has_the_metadata_and_then_the_archive(endpoint: str, filled: Bucket) -> None:
    wanted: list[dict[str, object]] = [
        {"objname": "folder/object-511", "bucket": filled.name, "opaque": "c2V2ZW4="},
        {"objname": "shard.tar", "bucket": filled.name, "provider": "ais", "archpath": "sample/007.cls"},
        {"objname": "nowhere", "bucket": filled.name},
    ]
    request = urllib.request.Request(
        f"{endpoint}/v1/ml/moss", data=json.dumps({"in": wanted, "coer": True}).encode(), method="GET"
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.headers.get_content_type() == "multipart/mixed"
        message = email.message_from_bytes(
            b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.read(),
            policy=email.policy.HTTP,
        )
    metadata, archive = message.iter_parts()
    assert metadata.get_param("name", header="content-disposition") == "metadata"
    assert archive.get_param("name", header="content-disposition") == "archive"
    told = json.loads(content_of(metadata))
    shared = {"bucket": filled.name, "provider": "ais"}
    assert told["uuid"]
    assert told["out"][:2] == [
        {"objname": "folder/object-511", **shared, "opaque": "c2V2ZW4=", "size": 511},
        {"objname": "shard.tar", "archpath": "sample/007.cls", **shared, "size": 700},
    ]
    assert told["out"][2].pop("err_msg")
    assert told["out"][2] == {"objname": "nowhere", **shared, "size": 0}
    assert archive.get_content_type() == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(content_of(archive))) as tar:
        assert tar.getnames() == [
            f"{filled.name}/folder/object-511",
            f"{filled.name}/shard.tar/sample/007.cls",
            f"__404__/{filled.name}/nowhere",
        ]


def content_of(part: email.message.Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


@pytest.mark.parametrize("hint", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 100, 1000])
def test_hints_change_nothing_of_what_comes(endpoint: str, filled: Bucket, hint: int, count: int) -> None:
    names = [f"folder/object-{SIZES[number % 6]}" for number in range(count)]
    message: dict[str, object] = {"in": [{"objname": name} for name in names], "strm": True, "coloc": hint}
    with tarfile.open(fileobj=io.BytesIO(raw_batch(endpoint, message, bucket=filled.name))) as archive:
        found = [(member.name, member.size) for member in archive]
    assert found == [(f"{filled.name}/{name}", len(BODIES[name])) for name in names]


def test_lz4_and_long_names(endpoint: str, filled: Bucket) -> None:
    names = ["a" * 300, "ü" * 60, "n/" * 70 + "n"]
    for name in names:
        filled.object(name).get_writer().put_content(name.encode())
    wanted = [{"objname": name, "uname": f"ais/@#/{filled.name}/{name}"} for name in names]
    packed = raw_batch(endpoint, {"in": wanted, "mime": "tar.lz4", "strm": True})
    with tarfile.open(fileobj=io.BytesIO(lz4.frame.decompress(packed))) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [f"{filled.name}/{name}" for name in names]
        contents = [file.read() for member in members if (file := archive.extractfile(member))]
    assert contents == [name.encode() for name in names]


def test_one_connection_serves_batches_and_objects_in_turn(endpoint: str, filled: Bucket) -> None:
    """From files and from memory, and with a client that is slow to begin."""
    names = [*BODIES, *reversed(BODIES)] * 5
    message = json.dumps({"in": [{"objname": name, "bucket": filled.name} for name in names], "strm": True})
    with closing(
        http.client.HTTPConnection(urllib.parse.urlsplit(endpoint).netloc, timeout=60)
    ) as connection:
        for _ in range(3):
            connection.request("GET", "/v1/ml/moss", message)
            with tarfile.open(fileobj=connection.getresponse(), mode="r|") as archive:
                found = [file.read() for each in archive if (file := archive.extractfile(each))]
            assert [len(data) for data in found] == [len(BODIES[name]) for name in names]
            assert all(data == BODIES[name] for name, data in zip(names, found, strict=True))
            for name, body in BODIES.items():
                connection.request("GET", f"/v1/objects/{filled.name}/{name}")
                answer = connection.getresponse()
                assert answer.read() == body or answer.status == 307


def test_each_namespace_has_its_own_bucket_of_a_name(endpoint: str, bucket: Bucket) -> None:
    bucket.object("o").get_writer().put_content(b"global")
    query = "?namespace=" + urllib.parse.quote("@#space")
    ask(endpoint, "POST", f"/v1/buckets/{bucket.name}{query}", b'{"action":"create-bck"}')
    try:
        ask(endpoint, "PUT", f"/v1/objects/{bucket.name}/o{query}", b"of the space")
        wanted: list[dict[str, object]] = [
            {"objname": "o"},
            {"objname": "o", "bucket": bucket.name},
            {"uname": f"ais/@#space/{bucket.name}/o"},
            {"uname": f"ais/@#/{bucket.name}/o"},
        ]
        expected = [b"of the space", b"global", b"of the space", b"global"]
        for coer in (True, False):
            message: dict[str, object] = {"in": wanted, "strm": True, "coer": coer}
            answer = raw_batch(endpoint, message, bucket=bucket.name + query)
            with tarfile.open(fileobj=io.BytesIO(answer)) as archive:
                assert [file.read() for each in archive if (file := archive.extractfile(each))] == expected
    finally:
        ask(endpoint, "DELETE", f"/v1/buckets/{bucket.name}{query}", b'{"action":"destroy-bck"}')


@pytest.mark.parametrize(
    ("provider", "status", "reason"),
    [
        ("aws", 404, "does not exist"),
        ("gs", 404, "does not exist"),
        ("azure", 404, "does not exist"),
        ("oci", 404, "does not exist"),
        ("hdfs", 400, "provider 'hdfs' is not known"),
    ],
)
@pytest.mark.parametrize("way", ["entry", "query", "uname"])
def test_other_providers_have_no_buckets_here(
    endpoint: str, filled: Bucket, provider: str, status: int, reason: str, way: str
) -> None:
    """Also with `coer`: what is missing is the bucket, not an entry."""
    wanted: dict[str, object] = {"objname": "folder/object-1"}
    if way == "entry":
        wanted |= {"bucket": filled.name, "provider": provider}
    elif way == "uname":
        wanted["uname"] = f"{provider}/@#/{filled.name}/folder/object-1"
    query = f"?provider={provider}" if way == "query" else ""
    with pytest.raises(urllib.error.HTTPError) as raised:
        raw_batch(endpoint, {"in": [wanted], "strm": True, "coer": True}, bucket=filled.name + query)
    assert raised.value.code == status
    assert reason in raised.value.read().decode()
    raised.value.close()


def ask(endpoint: str, method: str, path: str, body: bytes) -> None:
    urllib.request.urlopen(urllib.request.Request(endpoint + path, data=body, method=method)).close()


def raw_batch(endpoint: str, message: dict[str, object], *, bucket: str = "") -> bytes:
    url = f"{endpoint}/v1/ml/moss{f'/{bucket}' if bucket else ''}"
    request = urllib.request.Request(url, data=json.dumps(message).encode(), method="GET")
    with urllib.request.urlopen(request) as answer:
        body = answer.read()
        assert isinstance(body, bytes)
        return body
