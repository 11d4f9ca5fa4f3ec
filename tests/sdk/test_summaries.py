"""`Bucket.summary` and `Bucket.info` of the official SDK, and summaries of many buckets at once."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import requests
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError, ErrBckNotFound

SIZES = {"a/1": 1, "a/2": 70_000, "b": 300_000}


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for name, size in SIZES.items():
        bucket.object(name).get_writer().put_content(b"x" * size)
    return bucket


def test_a_summary_counts_objects_and_bytes(filled: Bucket) -> None:
    summary = filled.summary()
    assert (summary["name"], summary["provider"], summary["is_present"]) == (filled.name, "ais", True)
    assert summary["ObjCount"] == {"obj_count_present": "3", "obj_count_remote": "0"}
    total = sum(SIZES.values())
    assert summary["ObjSize"] == {"obj_min_size": 1, "obj_avg_size": total // 3, "obj_max_size": 300_000}
    sizes = summary["TotalSize"]
    assert (sizes["size_all_present_objs"], sizes["size_all_remote_objs"]) == (str(total), "0")
    assert total < int(sizes["size_on_disk"]) < int(sizes["total_disks_size"])
    assert summary["used_pct"] == 0


def test_a_prefix_narrows_it(filled: Bucket) -> None:
    assert filled.summary(prefix="a/")["ObjCount"]["obj_count_present"] == "2"
    assert filled.summary(prefix="none")["ObjSize"] == {
        "obj_min_size": 0, "obj_avg_size": 0, "obj_max_size": 0,
    }  # fmt: skip


def test_info_gives_properties_and_summary(filled: Bucket) -> None:
    properties, summary = filled.info(prefix="a/")
    assert json.loads(properties)["provider"] == "ais"
    assert (summary["name"], summary["ObjCount"]["obj_count_present"]) == (filled.name, "2")


def test_a_bucket_that_is_gone_has_no_summary(filled: Bucket) -> None:
    filled.delete()
    with pytest.raises(ErrBckNotFound):
        filled.summary()
    with pytest.raises(AISError) as error:
        filled.info()
    assert error.value.status_code == 404


def test_an_unknown_summary_is_not_found(filled: Bucket) -> None:
    with pytest.raises(AISError) as error:
        filled.summary(uuid="j-000000000000")
    assert error.value.status_code == 404


def many(endpoint: str, **value: str) -> requests.Response:
    message: Any = {"action": "summary-bck", "value": value}
    return requests.get(f"{endpoint}/v1/buckets/", params={"provider": "ais"}, json=message, timeout=10)


def test_many_buckets_are_summarized_at_once(client: Client, endpoint: str, filled: Bucket) -> None:
    other = client.bucket(f"{filled.name}-other").create()
    begun = many(endpoint, uuid="", prefix="")
    assert begun.status_code == 202
    while (answer := many(endpoint, uuid=begun.text)).status_code == 202:
        time.sleep(0.05)
    counts = {each["name"]: each["ObjCount"]["obj_count_present"] for each in answer.json()}
    assert (answer.status_code, counts[filled.name], counts[other.name]) == (200, "3", "0")
    other.delete()
