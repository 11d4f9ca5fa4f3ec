"""What the official SDK changes of an object without sending its bytes: custom properties, copies, names."""

from __future__ import annotations

import hashlib
import os

import pytest
import requests
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError, ErrBckNotFound, ErrObjNotFound
from aistore.sdk.obj.object import Object

LARGE = os.urandom(3 << 20) + b"tail"


def digest(item: Object) -> str:
    return hashlib.sha256(item.get_reader().read_all()).hexdigest()


def rename(endpoint: str, item: Object, name: str) -> requests.Response:
    url = f"{endpoint}/v1/objects/{item.bucket_name}/{item.name}"
    return requests.post(url, json={"action": "rename-obj", "name": name, "value": None}, timeout=20)


def test_custom_properties_are_added_and_replaced(bucket: Bucket) -> None:
    item = bucket.object("folder/o")
    item.get_writer().put_content(b"x")
    item.get_writer().set_custom_props({"a": "1", "b": "2"})
    item.get_writer().set_custom_props({"b": "3"})
    assert item.props.custom_metadata == {"a": "1", "b": "3"}
    [entry] = bucket.list_all_objects(props="name,custom")
    assert "b=3" in entry.custom_md if hasattr(entry, "custom_md") else True
    item.get_writer().set_custom_props({"c": "4"}, replace_existing=True)
    assert item.props.custom_metadata == {"c": "4"}
    assert item.props.obj_version == "1"
    assert item.get_reader().attributes.custom_metadata == {"c": "4"}
    with pytest.raises(ErrObjNotFound):
        bucket.object("missing").get_writer().set_custom_props({"a": "1"})


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "inline", "large"])
def test_copies_within_and_between_buckets(client: Client, bucket: Bucket, body: bytes) -> None:
    source, other = bucket.object("source"), client.bucket(f"{bucket.name}-other").create()
    try:
        source.get_writer().put_content(body)
        source.get_writer().set_custom_props({"kept": "yes"})
        copies = [each.object(f"copy/{number}") for each in (bucket, other) for number in range(5)]
        for copy in copies:
            source.copy(copy)
        checksum = source.props.checksum_value
        source.delete()
        for copy in copies:
            assert digest(copy) == hashlib.sha256(body).hexdigest()
            assert copy.props.checksum_value == checksum
            assert copy.props.custom_metadata == {"kept": "yes"}
        assert digest(copies[0]) == hashlib.sha256(body).hexdigest()
    finally:
        other.delete()


def test_a_copy_replaces_and_may_come_from_itself(bucket: Bucket) -> None:
    old, new = bucket.object("old"), bucket.object("new")
    old.get_writer().put_content(LARGE)
    new.get_writer().put_content(b"before")
    old.copy(new)
    assert (new.props.obj_version, digest(new)) == ("2", digest(old))
    new.copy(new)
    assert (new.props.obj_version, digest(new)) == ("3", digest(old))


def test_what_cannot_be_copied_says_why(client: Client, bucket: Bucket) -> None:
    item = bucket.object("o")
    with pytest.raises(ErrObjNotFound):
        item.copy(bucket.object("p"))
    item.get_writer().put_content(b"x")
    with pytest.raises(ErrBckNotFound):
        item.copy(client.bucket("missing").object("p"))
    with pytest.raises(ErrBckNotFound):
        client.bucket("missing").object("p").copy(item)
    assert [entry.name for entry in bucket.list_all_objects()] == ["o"]


@pytest.mark.parametrize("to", ["p", "ais", "ais/@#", "ais/@#/only-a-bucket", "ais/none/b/o"])
def test_a_destination_that_is_none_is_400(endpoint: str, bucket: Bucket, to: str) -> None:
    bucket.object("o").get_writer().put_content(b"before")
    url = f"{endpoint}/v1/objects/{bucket.name}/o"
    assert requests.put(url, params={"object_to": to}, timeout=20).status_code == 400
    assert bucket.object("o").get_reader().read_all() == b"before"


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["inline", "large"])
def test_a_renamed_object_has_one_name(endpoint: str, bucket: Bucket, body: bytes) -> None:
    item = bucket.object("old")
    item.get_writer().put_content(body)
    for number in range(3):
        renamed = bucket.object(f"new/{number}")
        assert rename(endpoint, item, renamed.name).status_code == 200
        assert digest(renamed) == hashlib.sha256(body).hexdigest()
        assert [entry.name for entry in bucket.list_all_objects()] == [renamed.name]
        item = renamed
    assert rename(endpoint, item, item.name).status_code == 400
    assert rename(endpoint, item, "").status_code == 400
    assert rename(endpoint, bucket.object("missing"), "x").status_code == 404
    assert [entry.name for entry in bucket.list_all_objects()] == [item.name]


def test_what_is_not_built_is_501_and_changes_nothing(endpoint: str, bucket: Bucket) -> None:
    item = bucket.object("o")
    item.get_writer().put_content(b"before")
    url = f"{endpoint}/v1/objects/{bucket.name}/o"
    assert requests.put(url, params={"etl_name": "an-etl"}, data=b"x", timeout=20).status_code == 501
    with pytest.raises(AISError) as error:
        item.blob_download()
    assert error.value.status_code == 501
    assert item.get_reader().read_all() == b"before"
