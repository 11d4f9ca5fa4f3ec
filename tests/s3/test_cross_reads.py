"""One store behind all doors: what S3, the AIStore SDK and gRPC wrote, each of the others reads and lists."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from aistore import Client

from shoal_client.client import ShoalClient
from support.cluster import Cluster

BODIES = {
    "empty": b"",
    "small": b"some bytes",
    "odd name/é+%20?#": os.urandom(40_000),
    "large": os.urandom(9 << 20),
}


class S3Door:
    def __init__(self, cluster: Cluster, s3: Any, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket

    def put(self, name: str, body: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=name, Body=body)

    def get(self, name: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self._bucket, Key=name)["Body"].read())

    def sizes(self) -> dict[str, int]:
        return {
            each["Key"]: each["Size"] for each in self._s3.list_objects_v2(Bucket=self._bucket)["Contents"]
        }

    def etag(self, name: str) -> str:
        return str(self._s3.head_object(Bucket=self._bucket, Key=name)["ETag"]).strip('"')


class PartsDoor(S3Door):
    """S3, written in parts."""

    def put(self, name: str, body: bytes) -> None:
        place = {"Bucket": self._bucket, "Key": name}
        upload = self._s3.create_multipart_upload(**place)["UploadId"]
        parts = []
        for number, piece in enumerate((body[: 5 << 20], body[5 << 20 :]), 1):
            answer = self._s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=piece)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            if len(body) <= 5 << 20:
                break
        self._s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})


class SdkDoor:
    def __init__(self, cluster: Cluster, s3: Any, bucket: str) -> None:
        self._bucket = Client(cluster.endpoint).bucket(bucket)

    def put(self, name: str, body: bytes) -> None:
        self._bucket.object(name).get_writer().put_content(body)

    def get(self, name: str) -> bytes:
        return bytes(self._bucket.object(name).get_reader().read_all())

    def sizes(self) -> dict[str, int]:
        return {entry.name: entry.size for entry in self._bucket.list_all_objects()}


class RpcDoor:
    def __init__(self, cluster: Cluster, s3: Any, bucket: str) -> None:
        self._cluster, self._bucket = cluster, bucket

    def put(self, name: str, body: bytes) -> None:
        self._run(lambda bucket: bucket.put(name, body))

    def get(self, name: str) -> bytes:
        return bytes(self._run(lambda bucket: bucket.get(name)))

    def sizes(self) -> dict[str, int]:
        async def listed(bucket: Any) -> dict[str, int]:
            return {entry.name: entry.size async for entry in bucket.list()}

        found: dict[str, int] = self._run(listed)
        return found

    def _run(self, call: Callable[[Any], Any]) -> Any:
        async def run() -> Any:
            async with ShoalClient.connect(self._cluster.grpc_address, ca=self._cluster.ca) as client:
                return await call(client.bucket(self._bucket))

        return asyncio.run(run())


DOORS: list[Any] = [S3Door, PartsDoor, SdkDoor, RpcDoor]


@pytest.mark.parametrize("writer", DOORS, ids=lambda door: door.__name__)
def test_what_one_door_took_every_other_gives(writer: Any, cluster: Cluster, s3: Any, bucket: str) -> None:
    by = writer(cluster, s3, bucket)
    for name, body in BODIES.items():
        by.put(name, body)
    for door in DOORS:
        reader = door(cluster, s3, bucket)
        assert reader.sizes() == {name: len(body) for name, body in BODIES.items()}
        assert {name: reader.get(name) for name in BODIES} == BODIES


def test_metadata_crosses_from_s3_to_the_sdk_and_grpc(cluster: Cluster, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", ContentType="text/x-test", Metadata={"color": "blue"})
    props = Client(cluster.endpoint).bucket(bucket).object("a").head(props="custom")
    assert props.custom_metadata == {"color": "blue"}

    async def head() -> Any:
        async with ShoalClient.connect(cluster.grpc_address, ca=cluster.ca) as client:
            return await client.bucket(bucket).head("a")

    info = asyncio.run(head())
    assert (info.content_type, dict(info.metadata)) == ("text/x-test", {"color": "blue"})
    assert info.etag == S3Door(cluster, s3, bucket).etag("a")


def test_metadata_crosses_from_grpc_to_s3(cluster: Cluster, s3: Any, bucket: str) -> None:
    async def put() -> Any:
        async with ShoalClient.connect(cluster.grpc_address, ca=cluster.ca) as client:
            metadata = {"color": "blue", "name": "é"}
            return await client.bucket(bucket).put("rpc", b"x", content_type="text/x-test", metadata=metadata)

    info = asyncio.run(put())
    head = s3.head_object(Bucket=bucket, Key="rpc")
    assert (head["ETag"], head["ContentType"]) == (f'"{info.etag}"', "text/x-test")
    assert head["Metadata"] == {"color": "blue", "name": "=?UTF-8?B?w6k=?="}


@pytest.mark.parametrize("writer", DOORS, ids=lambda door: door.__name__)
def test_an_etag_is_the_same_in_heads_listings_reads_and_conditions(
    writer: Any, cluster: Cluster, s3: Any, bucket: str
) -> None:
    writer(cluster, s3, bucket).put("a", b"content")
    head = s3.head_object(Bucket=bucket, Key="a")
    (entry,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    answer = s3.get_object(Bucket=bucket, Key="a", IfMatch=head["ETag"], Range="bytes=1-")
    assert (answer["ETag"], answer["Body"].read()) == (head["ETag"], b"ontent")
    assert (entry["ETag"], entry["Size"], head["ContentLength"]) == (head["ETag"], 7, 7)
    assert head["ETag"].strip('"')


def test_a_delete_at_one_door_is_one_at_all(cluster: Cluster, s3: Any, bucket: str) -> None:
    doors = [door(cluster, s3, bucket) for door in DOORS]
    doors[0].put("a", b"old")
    doors[2].put("a", b"new")
    assert {door.get("a") for door in doors} == {b"new"}
    s3.delete_object(Bucket=bucket, Key="a")
    for door in doors:
        with pytest.raises(Exception, match=r"(?i)not ?found|does not exist|NoSuchKey"):
            door.get("a")
