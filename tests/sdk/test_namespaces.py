"""Namespaces, with the official SDK: provider, namespace and name together say which bucket it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import requests
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import ErrBckNotFound
from aistore.sdk.namespace import Namespace

NUMBERS = itertools.count()
SPACES = (None, Namespace(name="one"), Namespace(name="two"), Namespace(uuid="far", name="one"))


@pytest.fixture
def namesakes(client: Client) -> Iterator[list[Bucket]]:
    """Buckets of one name in four namespaces, each with an object that says which it is."""
    name = f"namesake-{next(NUMBERS)}"
    buckets = [Bucket(name, client._request_client, namespace=space) for space in SPACES]
    for number, bucket in enumerate(buckets):
        bucket.create().object("o").get_writer().put_content(str(number).encode())
    yield buckets
    for bucket in buckets:
        bucket.delete(missing_ok=True)


def contents(buckets: list[Bucket]) -> list[bytes]:
    return [bucket.object("o").get_reader().read_all() for bucket in buckets]


def test_buckets_of_one_name_are_never_mixed(client: Client, namesakes: list[Bucket]) -> None:
    assert contents(namesakes) == [b"0", b"1", b"2", b"3"]
    namesakes[1].object("only").get_writer().put_content(b"here")
    assert [len(bucket.list_all_objects()) for bucket in namesakes] == [1, 2, 1, 1]
    assert [bucket.summary()["ObjCount"]["obj_count_present"] for bucket in namesakes[:2]] == ["1", "2"]
    namesakes[2].delete()
    with pytest.raises(ErrBckNotFound):
        namesakes[2].list_objects()
    left = [namesakes[number] for number in (0, 1, 3)]
    assert contents(left) == [b"0", b"1", b"3"]


def test_a_listing_tells_the_namespace_of_each(
    client: Client, endpoint: str, namesakes: list[Bucket]
) -> None:
    name = namesakes[0].name
    listed = [each for each in client.cluster().list_buckets() if each.name == name]
    spaces = sorted((each.namespace.uuid, each.namespace.name) for each in listed if each.namespace)
    assert spaces == [("", ""), ("", "one"), ("", "two"), ("far", "one")]
    query = {"provider": "ais", "namespace": "@#one"}
    of_one = requests.get(f"{endpoint}/v1/buckets", params=query, json={"action": "list"}, timeout=10).json()
    found = [each["namespace"] for each in of_one if each["name"] == name]
    assert found == [{"uuid": "", "name": "one"}]


def test_errors_name_the_namespace(client: Client) -> None:
    missing = Bucket("nowhere", client._request_client, namespace=Namespace(name="one"))
    with pytest.raises(ErrBckNotFound, match="namespace") as error:
        missing.list_objects()
    assert "ais://nowhere" in error.value.message
    missing.delete(missing_ok=True)
