"""`Bucket` of the official SDK: create, list, head, delete, and listing objects."""

from __future__ import annotations

import json

import pytest
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError, ErrBckAlreadyExists, ErrBckNotFound
from aistore.sdk.list_object_flag import ListObjectFlag

from support.sdk_versions import IS_OLDER

NAMES = sorted([f"folder/{i:03}" for i in range(40)] + ["a", "b/c/d", "b/c/e", "z"])


def fill(bucket: Bucket) -> None:
    for name in NAMES:
        bucket.object(name).get_writer().put_content(name.encode())


def test_a_bucket_is_listed_until_it_is_deleted(client: Client, bucket: Bucket) -> None:
    assert bucket.name in [each.name for each in client.cluster().list_buckets()]
    bucket.delete()
    every = "ais" if IS_OLDER else ""
    assert bucket.name not in [each.name for each in client.cluster().list_buckets(every)]


def test_a_bucket_exists_once(bucket: Bucket) -> None:
    with pytest.raises(ErrBckAlreadyExists):
        bucket.create()
    bucket.create(exist_ok=True)


def test_a_missing_bucket_is_its_own_error(client: Client) -> None:
    missing = client.bucket("missing")
    for call in (missing.list_objects, missing.delete):
        with pytest.raises(ErrBckNotFound):
            call()
    # An answer to HEAD has no body, from which the SDK would tell the kinds of 404 apart.
    with pytest.raises(AISError) as error:
        missing.head()
    assert error.value.status_code == 404
    missing.delete(missing_ok=True)


@pytest.mark.parametrize("name", ["*", ".", "", " ", "bucket/badname", "#x", "$x", "~x"])
def test_bad_names_are_refused(client: Client, name: str) -> None:
    with pytest.raises(AISError) as error:
        client.bucket(name).create()
    assert 400 <= error.value.status_code < 500


def test_head_gives_the_properties(bucket: Bucket) -> None:
    properties = json.loads(bucket.head()["Ais-Bucket-Props"])
    assert (properties["provider"], properties["checksum"]["type"]) == ("ais", "xxhash2")


def test_a_bucket_made_anew_is_empty(client: Client, bucket: Bucket) -> None:
    bucket.object("o").get_writer().put_content(b"x")
    bucket.delete()
    again = client.bucket(bucket.name).create()
    assert again.list_all_objects() == []


@pytest.mark.parametrize("page_size", [0, 1, 7, 44, 45])
def test_all_objects_are_listed_in_order_whatever_the_page(bucket: Bucket, page_size: int) -> None:
    fill(bucket)
    entries = bucket.list_all_objects(page_size=page_size)
    assert [(entry.name, entry.size) for entry in entries] == [(name, len(name)) for name in NAMES]
    assert all(entry.is_cached() and entry.is_ok() for entry in entries)
    assert [entry.name for entry in bucket.list_objects_iter(page_size=page_size)] == NAMES


def test_prefix_and_start_after_select(bucket: Bucket) -> None:
    fill(bucket)
    assert [e.name for e in bucket.list_all_objects(prefix="b/c/")] == ["b/c/d", "b/c/e"]
    assert [e.name for e in bucket.list_all_objects(start_after="folder/038")] == ["folder/039", "z"]


def test_without_recursion_one_level_is_listed(bucket: Bucket) -> None:
    fill(bucket)
    flags = [ListObjectFlag.NO_RECURSION]
    assert [e.name for e in bucket.list_all_objects(flags=flags, page_size=2)] == ["a", "b/", "folder/", "z"]
    assert [e.name for e in bucket.list_all_objects(flags=flags, prefix="b/")] == ["b/c/"]


def test_flags_and_props_choose_what_is_told(bucket: Bucket) -> None:
    fill(bucket)
    (only_name,) = bucket.list_all_objects(prefix="z", flags=[ListObjectFlag.NAME_ONLY])
    assert (only_name.size, only_name.checksum) == (0, "")
    (full,) = bucket.list_all_objects(prefix="z", props="name,size,version,checksum,atime,location")
    assert (full.size, full.version, len(full.checksum)) == (1, "1", 16)
    assert full.atime
    assert full.location.startswith("t[t")
    (cached,) = bucket.list_all_objects(prefix="z", flags=[ListObjectFlag.CACHED])
    assert (cached.size, cached.checksum, cached.version) == (1, full.checksum, "")


def test_a_listing_may_be_of_one_target(client: Client, bucket: Bucket) -> None:
    fill(bucket)
    found: list[str] = []
    for target in client.cluster().get_info().tmap:
        for page_size in (0, 2):
            names = [
                entry.name
                for entry in bucket.list_objects_iter(
                    target=target, props="name,location", page_size=page_size
                )
                if entry.location.startswith(f"t[{target}]:")
            ]
        assert names == [e.name for e in bucket.list_objects_iter(target=target)]
        found += names
    assert sorted(found) == NAMES
    with pytest.raises(AISError) as error:
        bucket.list_objects(target="t99")
    assert error.value.status_code == 404


def test_chunked_objects_and_deleted_ones_are_asked_for_by_prop_and_flag(bucket: Bucket) -> None:
    fill(bucket)
    upload = bucket.object("zz").multipart_upload().create()
    for number in (1, 2):
        upload.add_part(number).put_content(b"part")
    upload.complete()
    listed = bucket.list_all_objects(prefix="z", props="name,chunked", flags=[ListObjectFlag.DELETED])
    assert [(entry.name, entry.flags >> 13 & 1) for entry in listed] == [("z", 0), ("zz", 1)]
