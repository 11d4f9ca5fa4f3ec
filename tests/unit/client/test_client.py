"""The SDK as programs use it, against real processes, routing by itself and through the proxy."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal_client.bucket import BucketClient
from shoal_client.client import ShoalClient, as_reference
from shoal_core.errors import (
    BucketAlreadyExists,
    BucketNotFound,
    ControlPlaneDown,
    ObjectNotFound,
    PreconditionFailed,
)
from shoal_core.objects import BucketProperties, BucketReference, ListQuery, Preconditions
from support.node import Nodes

LARGE = os.urandom(2_500_000)


async def test_bytes_files_and_iterators_are_written_alike(bucket: BucketClient, tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(LARGE), 70_000):
            yield LARGE[start : start + 70_000]

    (tmp_path / "file").write_bytes(LARGE)
    written = [
        await bucket.put("bytes", LARGE),
        await bucket.put("file", tmp_path / "file"),
        await bucket.put("iterator", pieces()),
        await bucket.put("view", memoryview(LARGE)),
    ]
    assert len({(info.size, info.checksum, info.etag) for info in written}) == 1
    assert [await bucket.get(info.name) == LARGE for info in written] == [True] * 4


async def test_text_is_refused_with_advice(bucket: BucketClient) -> None:
    with pytest.raises(TypeError, match=r"str\.encode"):
        await bucket.put("text", "text")  # type: ignore[arg-type]


async def test_parts_of_an_object_are_read(bucket: BucketClient) -> None:
    await bucket.put("name", LARGE)
    assert await bucket.get("name", offset=1_000_000, length=100_000) == LARGE[1_000_000:1_100_000]
    assert await bucket.get("name", offset=2_000_000) == LARGE[2_000_000:]
    assert await bucket.get("name", offset=-10) == LARGE[-10:]


async def test_download_replaces_a_file_as_a_whole(bucket: BucketClient, tmp_path: Path) -> None:
    await bucket.put("name", LARGE)
    told: list[int] = []
    info = await bucket.download("name", tmp_path / "file", progress=told.append)
    assert (tmp_path / "file").read_bytes() == LARGE
    assert sum(told) == info.size
    with pytest.raises(ObjectNotFound):
        await bucket.download("missing", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == LARGE


async def test_upload_whose_iterator_fails_leaves_the_old_object(bucket: BucketClient) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield LARGE
        raise RuntimeError("mine")

    await bucket.put("name", b"old")
    told: list[int] = []
    with pytest.raises(RuntimeError, match="mine"):
        await bucket.put("name", failing(), progress=told.append)
    assert await bucket.get("name") == b"old"
    assert sum(told) == 0


async def test_list_shows_all_names_under_a_prefix_over_all_targets(bucket: BucketClient) -> None:
    for name in [f"a/{number:02}" for number in range(20)] + ["b"]:
        await bucket.put(name, b"x")
    assert [entry.name async for entry in bucket.list("a/")] == [f"a/{number:02}" for number in range(20)]
    assert [entry.name async for entry in bucket.list(start_after="a/18")] == ["a/19", "b"]
    page = await bucket.list_page(ListQuery(delimiter="/"))
    assert ([entry.name for entry in page.entries], page.prefixes) == (["b"], ("a/",))


async def test_conditions_decide_writes(bucket: BucketClient) -> None:
    absent = Preconditions(if_none_match=("*",))
    info = await bucket.put("lock", b"mine", preconditions=absent)
    with pytest.raises(PreconditionFailed):
        await bucket.put("lock", b"yours", preconditions=absent)
    await bucket.delete("lock", preconditions=Preconditions(if_match=(info.etag,)))


async def test_buckets_are_made_listed_and_removed(client: ShoalClient) -> None:
    properties = BucketProperties(durability="os", verify="always", checksum_type="sha256")
    name = "removed-direct" if client.objects.__class__.__name__ == "RoutedObjectStore" else "removed-relayed"
    made = await client.create_bucket(name, properties=properties)
    assert made in await client.list_buckets()
    assert made.properties == properties
    with pytest.raises(BucketAlreadyExists):
        await client.create_bucket(f"ais://{name}")
    assert await client.delete_bucket(name)
    with pytest.raises(BucketNotFound):
        await client.bucket(name).get("x")


async def test_bucket_made_anew_by_another_client_is_met_as_it_is_now(
    bucket: BucketClient, client: ShoalClient, live_nodes: Nodes, proxy_address: str
) -> None:
    await bucket.put("old", b"x")
    async with ShoalClient.connect(proxy_address, ca=live_nodes.ca) as other:
        await other.delete_bucket(bucket.reference)
        await other.create_bucket(bucket.reference)
    with pytest.raises(ObjectNotFound):
        await bucket.get("old")
    await bucket.put("new", b"y")
    assert [entry.name async for entry in bucket.list()] == ["new"]


async def test_proxy_that_does_not_answer_is_named(live_nodes: Nodes) -> None:
    with pytest.raises(ControlPlaneDown, match=r"proxy 127\.0\.0\.1:1:"):
        async with ShoalClient.connect("127.0.0.1:1", ca=live_nodes.ca):
            pass


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("photos", BucketReference("photos")),
        ("ais://photos", BucketReference("photos")),
        ("ais://#research/photos", BucketReference("photos", "ais", "#research")),
    ],
)
def test_buckets_are_named_as_users_write_them(text: str, reference: BucketReference) -> None:
    assert as_reference(text) == reference
