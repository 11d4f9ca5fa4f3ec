"""Buckets and listings over REST."""

from __future__ import annotations

import json

import msgspec
import pytest

from shoal_gateway.rest.bucket_properties import shown_size
from support.asgi import Answer, Asking


async def listed(ask: Asking, **value: object) -> list[dict[str, object]]:
    answer = await ask("GET", "/v1/buckets/b?provider=ais", json_body={"action": "list", "value": value})
    assert answer.status == 200, answer.body
    return list(json.loads(answer.body)["entries"])


async def put_all(ask: Asking, *names: str) -> None:
    for name in names:
        await ask("PUT", f"/v1/objects/b/{name}", body=name.encode())


async def create(ask: Asking, name: str, value: object = None) -> Answer:
    return await ask("POST", f"/v1/buckets/{name}", json_body={"action": "create-bck", "value": value})


async def test_a_new_bucket_is_listed_and_a_destroyed_one_is_not(ask: Asking) -> None:
    assert (await create(ask, "new")).status == 200
    names = [each["name"] for each in json.loads((await ask("GET", "/v1/buckets")).body)]
    assert names == ["b", "new"]
    answer = await ask("DELETE", "/v1/buckets/new", json_body={"action": "destroy-bck"})
    assert answer.status == 200
    assert (await ask("HEAD", "/v1/buckets/new")).status == 404


async def test_a_bucket_that_exists_is_409(ask: Asking) -> None:
    answer = await create(ask, "b")
    assert (answer.status, answer.error["message"]) == (409, 'bucket "ais://b" already exists')
    assert answer.error["tcode"] == "ErrBucketAlreadyExists"


@pytest.mark.parametrize("name", ["", "*", ".", "%20", "bucket/badname", "%23x", "$x", "~x", "x" * 200, ".."])
async def test_bad_bucket_names_cannot_be_made_and_do_not_exist(ask: Asking, name: str) -> None:
    assert (await create(ask, name)).status == 400
    assert (await ask("HEAD", f"/v1/buckets/{name}")).status in (400, 404)
    assert (await ask("GET", f"/v1/buckets/{name}", json_body={"action": "list"})).status in (400, 404)


async def test_head_shows_real_properties(ask: Asking) -> None:
    await create(ask, "new", {"checksum": {"type": "md5"}, "versioning": {"enabled": True}})
    properties = json.loads((await ask("HEAD", "/v1/buckets/new")).headers["ais-bucket-props"])
    assert properties["checksum"]["type"] == "md5"
    assert properties["versioning"]["enabled"] is True
    assert properties["provider"] == "ais"
    assert int(properties["created"]) > 1_600_000_000_000_000_000
    assert int(properties["bid"]) > 0
    assert properties["access"] == "18446744073709551615"


async def test_properties_can_be_set_and_reset(ask: Asking) -> None:
    message = {"action": "set-bprops", "value": {"checksum": {"type": "sha256"}}}
    assert (await ask("PATCH", "/v1/buckets/b", json_body=message)).status == 200
    shown = json.loads((await ask("HEAD", "/v1/buckets/b")).headers["ais-bucket-props"])
    assert shown["checksum"]["type"] == "sha256"
    assert (await ask("PATCH", "/v1/buckets/b", json_body={"action": "reset-bprops"})).status == 200
    shown = json.loads((await ask("HEAD", "/v1/buckets/b")).headers["ais-bucket-props"])
    assert shown["checksum"]["type"] == "xxhash2"


@pytest.mark.parametrize(
    ("value", "limit", "size"),
    [
        ({"objsize_limit": 5, "chunk_size": "64MiB"}, 5, 64 << 20),
        ({"objsize_limit": "10 mib"}, 10 << 20, 1 << 30),
        ({"chunk_size": "2G"}, 0, 2 << 30),
        ({"chunk_size": 0}, 0, 1 << 30),
    ],
)
async def test_sizes_of_chunks_are_bytes_or_text(ask: Asking, value: object, limit: int, size: int) -> None:
    message = {"action": "set-bprops", "value": {"chunks": value}}
    assert (await ask("PATCH", "/v1/buckets/b", json_body=message)).status == 200
    shown = json.loads((await ask("HEAD", "/v1/buckets/b")).headers["ais-bucket-props"])["chunks"]
    assert (shown["objsize_limit"], shown["chunk_size"]) == (shown_size(limit), shown_size(size))


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (1 << 30, "1GiB"), (3 << 19, "1536KiB"), (1 << 42, "4TiB"), (1023, "1023B")]
)
def test_sizes_are_shown_as_text_that_keeps_every_byte(size: int, text: str) -> None:
    assert shown_size(size) == text


@pytest.mark.parametrize("size", ["much", "-1", "1.5GiB", "", [], {}, True, "9" * 30])
async def test_sizes_that_are_none_are_refused(ask: Asking, size: object) -> None:
    message = {"action": "set-bprops", "value": {"chunks": {"objsize_limit": size}}}
    assert (await ask("PATCH", "/v1/buckets/b", json_body=message)).status == 400


async def test_our_own_properties_are_set_and_shown(ask: Asking) -> None:
    ours = {"durability": "os", "verify": "always", "s3_etag": "fast"}
    message = {"action": "set-bprops", "value": {"shoal": ours}}
    assert (await ask("PATCH", "/v1/buckets/b", json_body=message)).status == 200
    shown = json.loads((await ask("HEAD", "/v1/buckets/b")).headers["ais-bucket-props"])
    assert shown["shoal"] == ours
    message = {"action": "set-bprops", "value": {"shoal": {"s3_etag": "sha1"}}}
    assert (await ask("PATCH", "/v1/buckets/b", json_body=message)).status == 400


@pytest.mark.parametrize("value", [{"mirror": {"enabled": True}}, {"ec": {"enabled": True}}, {"nonsense": 1}])
async def test_properties_that_are_not_built_are_501(ask: Asking, value: object) -> None:
    assert (await create(ask, "new", value)).status == 501
    assert (await ask("HEAD", "/v1/buckets/new")).status == 404


async def test_pages_follow_each_other(ask: Asking) -> None:
    await put_all(ask, "a", "b", "c")
    message = {"action": "list", "value": {"pagesize": 2}}
    first = json.loads((await ask("GET", "/v1/buckets/b", json_body=message)).body)
    assert ([e["name"] for e in first["entries"]], first["continuation_token"]) == (["a", "b"], "b")
    message["value"] = {"pagesize": 2, "continuation_token": "b", "uuid": first["uuid"]}
    last = json.loads((await ask("GET", "/v1/buckets/b", json_body=message)).body)
    assert ([e["name"] for e in last["entries"]], last["continuation_token"]) == (["c"], "")
    assert last["uuid"] == first["uuid"] != ""


async def test_prefix_and_start_after_select(ask: Asking) -> None:
    await put_all(ask, "a/1", "a/2", "b/1")
    assert [e["name"] for e in await listed(ask, prefix="a/")] == ["a/1", "a/2"]
    assert [e["name"] for e in await listed(ask, start_after="a/1")] == ["a/2", "b/1"]


async def test_without_recursion_folders_are_entries(ask: Asking) -> None:
    await put_all(ask, "a", "d/1", "d/2", "e")
    entries = await listed(ask, flags=str(1 << 11))
    assert [(e["name"], e["flags"]) for e in entries] == [("a", 64), ("d/", 256), ("e", 64)]
    without_folders = await listed(ask, flags=str(1 << 11 | 1 << 13))
    assert [e["name"] for e in without_folders] == ["a", "e"]


async def test_folders_alone_do_not_end_a_listing_without_folders(ask: Asking) -> None:
    await put_all(ask, "a/1", "b/1", "c/1", "z")
    entries = await listed(ask, flags=str(1 << 11 | 1 << 13), pagesize=1)
    assert [e["name"] for e in entries] == ["z"]


async def test_entries_have_what_was_asked_for(ask: Asking) -> None:
    await put_all(ask, "name")
    assert await listed(ask) == [{"name": "name", "size": "4", "flags": 64}]
    assert await listed(ask, flags=str(1 << 4)) == [{"name": "name", "flags": 64}]
    (full,) = await listed(ask, props="name,size,version,checksum,atime,location,copies,custom")
    assert {"checksum", "atime", "version", "location", "custom-md", "copies"} <= set(full)


async def test_messagepack_has_the_keys_and_type_that_the_sdk_demands(ask: Asking) -> None:
    await put_all(ask, "a")
    headers = {"accept": "application/msgpack"}
    answer = await ask("GET", "/v1/buckets/b", headers=headers, json_body={"action": "list", "value": {}})
    assert answer.headers["content-type"] == "application/msgpack"
    page = msgspec.msgpack.decode(answer.body)
    assert (page["Entries"], page["ContinuationToken"], page["Flags"]) == (
        [{"n": "a", "s": 1, "f": 64}],
        "",
        0,
    )
    assert page["UUID"]


@pytest.mark.parametrize(
    "value", [{"pagesize": -1}, {"flags": "x"}, {"prefix": 5}, {"flags": str(1 << 9)}, {"pagesize": "many"}]
)
async def test_list_messages_that_mean_nothing_are_400(ask: Asking, value: object) -> None:
    answer = await ask("GET", "/v1/buckets/b", json_body={"action": "list", "value": value})
    assert answer.status == 400


@pytest.mark.parametrize(
    ("method", "action", "status"),
    [
        ("GET", "summary-shard", 501),
        ("DELETE", "evict-remote-bck", 501),
        ("POST", "no-such-action", 400),
        ("POST", "", 400),
        ("DELETE", "create-bck", 400),
    ],
)
async def test_other_actions_are_501_or_400(ask: Asking, method: str, action: str, status: int) -> None:
    assert (await ask(method, "/v1/buckets/b", json_body={"action": action})).status == status


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"action":5}', b"\xff", b"x" * (1 << 20) + b"yy"])
async def test_unreadable_actions_are_400(ask: Asking, body: bytes) -> None:
    assert (await ask("POST", "/v1/buckets/b", body=body)).status == 400


async def test_buckets_of_other_providers_are_missing_or_501(ask: Asking) -> None:
    answer = await ask("GET", "/v1/buckets/x?provider=s3", json_body={"action": "list"})
    assert (answer.status, answer.error["message"]) == (404, 'remote bucket "aws://x" does not exist')
    assert (await ask("HEAD", "/v1/buckets/x?provider=nonsense")).status == 400
    assert json.loads((await ask("GET", "/v1/buckets?provider=aws")).body) == []
