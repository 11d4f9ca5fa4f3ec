"""AIStore's action `rechunk`, sent by the official SDK's own request client, since the SDK has no method for it."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any

import pytest
import requests
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError

from support.waiting import eventually

MIB = 1 << 20
DATA = os.urandom(2 * MIB + 7)


def rechunk(client: Client, bucket: Bucket, value: object) -> str:
    message = {"action": "rechunk", "value": value}
    answer = client._request_client.request("POST", f"buckets/{bucket.name}", json=message)
    return str(answer.text)


def message(limit: int, *, prefix: str = "") -> dict[str, object]:
    return {"objsize-limit": limit, "chunk-size": MIB, "prefix": prefix, "sync-remote": False}


def chunk_count(bucket: Bucket, name: str) -> int:
    chunks = bucket.object(name).head("chunked").chunks
    return chunks.chunk_count if chunks is not None else 0


def job(endpoint: str, job_id: str) -> dict[str, Any]:
    """As everybody sees it who asks for JSON."""
    shown = requests.get(f"{endpoint}/-/api/v1/jobs/{job_id}", timeout=10).json()["job"]
    assert isinstance(shown, dict)
    return shown


def is_finished(endpoint: str, job_id: str) -> bool:
    return bool(job(endpoint, job_id)["state"] == "JOB_STATE_FINISHED")


def test_objects_get_chunks_and_lose_them(client: Client, endpoint: str, bucket: Bucket) -> None:
    for name in ("a/1", "a/2", "b/1"):
        bucket.object(name).get_writer().put_content(DATA)
    before = bucket.object("a/1").head()
    for limit, count in ((1, 3), (0, 0)):
        job_id = rechunk(client, bucket, message(limit, prefix="a/"))
        shown = job(endpoint, job_id)
        assert (shown["kind"], shown["bucket"]["name"]) == ("rechunk", bucket.name)
        asyncio.run(eventually(partial(is_finished, endpoint, job_id)))
        assert [chunk_count(bucket, f"a/{number}") for number in (1, 2)] == [count] * 2
        assert bucket.object("a/1").get_reader().read_all() == DATA
        after = bucket.object("a/1").head()
        assert (after.checksum_value, after.obj_version) == (before.checksum_value, before.obj_version)
    assert chunk_count(bucket, "b/1") == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"objsize-limit": -1, "chunk-size": MIB},
        {"objsize-limit": 1, "chunk-size": -1},
        {"objsize-limit": 1, "chunk-size": 5},
        {"objsize-limit": 1 << 70, "chunk-size": MIB},
        {"objsize-limit": "much", "chunk-size": MIB},
        {"objsize-limit": True},
        {"objsize-limit": 1, "chunk-sise": MIB},
        {"objsize-limit": 1, "prefix": "x" * 2000},
        [],
    ],
)
def test_values_that_make_no_sense_are_400(client: Client, bucket: Bucket, value: object) -> None:
    with pytest.raises(AISError) as error:
        rechunk(client, bucket, value)
    assert error.value.status_code == 400


def test_what_is_not_there_is_404_and_not_built_501(client: Client, bucket: Bucket) -> None:
    with pytest.raises(AISError) as error:
        rechunk(client, client.bucket("missing"), message(1))
    assert error.value.status_code == 404
    with pytest.raises(AISError) as error:
        rechunk(client, bucket, message(1) | {"sync-remote": True})
    assert error.value.status_code == 501
