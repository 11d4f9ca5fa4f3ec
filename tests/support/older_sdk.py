"""What a program written for version 1.26.0 of the official SDK does; run with that version first on the path."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import aistore
from aistore.sdk import Client
from aistore.sdk.archive_config import ArchiveConfig

from support.tars import tar_of

VERSION = "1.26.0"


def main(endpoint: str) -> None:
    assert aistore.__version__ == VERSION, aistore.__file__
    client: Any = Client(endpoint)
    bucket = client.bucket("older-sdk").create()
    try:
        objects(bucket)
        batches(client, bucket)
        jobs(client, bucket)
    finally:
        bucket.delete(missing_ok=True)


def objects(bucket: Any) -> None:
    bucket.object("a/b").get_writer().put_content(b"hello")
    bucket.object("s.tar").get_writer().put_content(tar_of({"x/1": b"one", "x/2": b"two"}))
    assert bucket.object("a/b").get_reader().read_all() == b"hello"
    assert bucket.object("a/b").head()["ais-checksum-type"] == "xxhash2"
    assert bucket.object("a/b").props.size == 5
    assert bucket.object("a/b").head_v2("checksum,version").checksum_value
    assert [entry.name for entry in bucket.list_all_objects()] == ["a/b", "s.tar"]
    member = ArchiveConfig(archpath="x/2")
    assert bucket.object("s.tar").get_reader(archive_config=member).read_all() == b"two"
    assert [entry.name for entry in bucket.list_archive("s.tar")] == ["s.tar/x/1", "s.tar/x/2"]
    bucket.object("a/b").copy(bucket.object("copied"))
    assert bucket.object("copied").get_reader().read_all() == b"hello"
    upload = bucket.object("parts").multipart_upload().create()
    upload.add_part(1).put_content(b"x" * 100)
    upload.complete()
    assert bucket.object("parts").get_reader().read_all() == b"x" * 100


def batches(client: Any, bucket: Any) -> None:
    for streaming, only_name, extension in product((True, False), (True, False), (".tar", ".tgz", ".zip")):
        batch = client.batch(
            ["a/b"], bucket=bucket, streaming_get=streaming, only_obj_name=only_name, output_format=extension
        )
        batch.add("s.tar", archpath="x/1")
        batch.add("none")
        assert [content for _, content in batch.get()] == [b"hello", b"one", b""]


def jobs(client: Any, bucket: Any) -> None:
    other = client.bucket("older-sdk-copies")
    try:
        for job_id in bucket.objects(obj_names=["a/b"]).copy(other):
            assert client.job(job_id).wait(timeout=20).success
        assert [entry.name for entry in other.list_all_objects()] == ["a/b"]
        assert bucket.summary()["ObjCount"]["obj_count_present"] == "4"
        assert client.cluster().is_ready()
        assert client.cluster().list_jobs_status()
    finally:
        other.delete(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1])
