"""What a program written for version 1.26.0 of the official SDK does; run with that version first on the path."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import aistore
import pytest
from aistore.sdk import Client
from aistore.sdk.archive_config import ArchiveConfig
from aistore.sdk.enums import Colocation
from aistore.sdk.errors import AISError

from support.tars import tar_of

VERSION = "1.26.0"
FORMATS = (".tar", ".tgz", ".tar.gz", ".zip")


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
    hints = (Colocation.NONE, Colocation.TARGET_AWARE)
    for streaming, only_name, hint, extension in product((True, False), (True, False), hints, FORMATS):
        batch = client.batch(
            ["a/b"],
            bucket=bucket,
            streaming_get=streaming,
            only_obj_name=only_name,
            output_format=extension,
            colocation=hint,
        )
        batch.add("s.tar", archpath="x/1", opaque=b"mine")
        batch.add("none")
        batch.add("copied", start=1, length=3)
        batch.add("s.tar", archpath="x/2", start=1, length=-1)
        batch.add("parts", bck=bucket.name, provider="ais")
        found = [content for _, content in batch.get()]
        assert found == [b"hello", b"one", b"", b"ell", b"wo", b"x" * 100], found
    with pytest.raises(AISError) as raised:
        list(client.batch(["a/b", "none"], bucket=bucket, cont_on_err=False).get())
    assert raised.value.status_code == 404


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
