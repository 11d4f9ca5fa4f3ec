"""The object path over a real store in a folder."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import quote

import pytest
import xxhash
from crc32c import crc32c

from support.asgi import Asking

URL = "/v1/objects/b"

NAMES = [
    "plain",
    "..",
    "../../etc/passwd",
    "a/../b",
    "/leading",
    "trailing/",
    "a//b",
    "%",
    "%25",
    "%2F",
    "a b+c",
    "track?name=x",
    "x#y",
    "\u4f60\u597d",
    "\u00e9" * 512,
    "line\nbreak",
    "'\"<>\\",
    "\U0001f600",
]


def target(name: str, query: str = "") -> str:
    return f"{URL}/{quote(name, safe='')}{query}"


@pytest.mark.parametrize("name", NAMES)
async def test_names_come_back_byte_for_byte(ask: Asking, name: str) -> None:
    assert (await ask("PUT", target(name), body=name.encode())).status == 200
    assert (await ask("GET", target(name))).body == name.encode()
    listed = (await ask("GET", "/v1/buckets/b", json_body={"action": "list"})).error["entries"]
    assert [entry["name"] for entry in listed] == [name]


@pytest.mark.parametrize(
    "path", ["/a%00b", "/%FF", "/%", "/%zz", "/" + "x" * 1025, "/" + quote("\u00e9" * 513), "/", ""]
)
async def test_names_that_cannot_be_kept_are_refused(ask: Asking, path: str) -> None:
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        assert (await ask(method, URL + path, body=b"x" if method == "PUT" else b"")).status == 400


async def test_unescaped_dots_are_names_and_not_folders(ask: Asking) -> None:
    await ask("PUT", f"{URL}/a/../b", body=b"dots")
    assert (await ask("GET", f"{URL}/b")).status == 404
    assert (await ask("GET", f"{URL}/a/../b")).body == b"dots"


async def test_a_get_says_everything_that_aistore_says(ask: Asking) -> None:
    await ask("PUT", f"{URL}/o", body=b"hello")
    headers = (await ask("GET", f"{URL}/o")).headers
    assert headers["content-length"] == "5"
    assert headers["ais-checksum-type"] == "xxhash2"
    assert headers["ais-checksum-value"] == xxhash.xxh64_hexdigest(b"hello")
    assert headers["ais-version"] == "1"
    assert headers["ais-present"] == "true"
    assert headers["accept-ranges"] == "bytes"
    assert headers["etag"].startswith('"')
    assert headers["last-modified"].endswith(" GMT")
    assert int(headers["ais-atime"]) > 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    ("asked", "body", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-100", b"56789", "bytes 5-9/10"),
    ],
)
async def test_ranges_are_exact(ask: Asking, asked: str, body: bytes, content_range: str) -> None:
    await ask("PUT", f"{URL}/o", body=b"0123456789")
    answer = await ask("GET", f"{URL}/o", headers={"range": asked})
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, body, content_range)
    assert answer.headers["content-length"] == str(len(body))


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=0-1,4-5", "bytes=x-y", "bytes=-0"])
async def test_ranges_outside_the_object_are_416(ask: Asking, asked: str) -> None:
    await ask("PUT", f"{URL}/o", body=b"0123456789")
    assert (await ask("GET", f"{URL}/o", headers={"range": asked})).status == 416


async def test_a_large_object_streams_and_ranges(ask: Asking) -> None:
    body = bytes(range(256)) * (5 << 12)
    await ask("PUT", f"{URL}/large", body=[body[:70_000], body[70_000:]])
    assert (await ask("GET", f"{URL}/large")).body == body
    middle = await ask("GET", f"{URL}/large", headers={"range": "bytes=1048570-1048600"})
    assert middle.body == body[1048570:1048601]


async def test_an_empty_object_is_an_object(ask: Asking) -> None:
    assert (await ask("PUT", f"{URL}/empty", headers={"content-length": "0"})).status == 200
    answer = await ask("GET", f"{URL}/empty")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert (await ask("GET", f"{URL}/empty", headers={"range": "bytes=0-"})).status == 416


async def test_conditions_decide_reads_and_writes(ask: Asking) -> None:
    etag = (await ask("PUT", f"{URL}/o", body=b"one")).headers["etag"]
    for method in ("GET", "HEAD"):
        unchanged = await ask(method, f"{URL}/o", headers={"if-none-match": etag})
        assert (unchanged.status, unchanged.headers["etag"], unchanged.body) == (304, etag, b"")
    assert (await ask("GET", f"{URL}/o", headers={"if-match": '"other"'})).status == 412
    assert (await ask("PUT", f"{URL}/o", body=b"two", headers={"if-none-match": "*"})).status == 412
    assert (await ask("PUT", f"{URL}/o", body=b"two", headers={"if-match": etag})).status == 200
    assert (await ask("GET", f"{URL}/o")).body == b"two"


async def test_if_modified_since_the_last_modification_is_304(ask: Asking) -> None:
    await ask("PUT", f"{URL}/o", body=b"one")
    date = (await ask("GET", f"{URL}/o")).headers["last-modified"]
    assert (await ask("GET", f"{URL}/o", headers={"if-modified-since": date})).status == 304


async def test_if_range_with_an_old_tag_sends_everything(ask: Asking) -> None:
    etag = (await ask("PUT", f"{URL}/o", body=b"0123456789")).headers["etag"]
    part = {"range": "bytes=0-1"}
    assert (await ask("GET", f"{URL}/o", headers={**part, "if-range": etag})).status == 206
    assert (await ask("GET", f"{URL}/o", headers={**part, "if-range": '"old"'})).status == 200


async def test_if_range_leaves_the_other_conditions_alone(ask: Asking) -> None:
    etag = (await ask("PUT", f"{URL}/o", body=b"0123456789")).headers["etag"]
    part = {"range": "bytes=0-1", "if-range": etag}
    assert (await ask("GET", f"{URL}/o", headers={**part, "if-none-match": etag})).status == 304
    assert (await ask("GET", f"{URL}/o", headers={**part, "if-match": '"old"'})).status == 412
    changed = {"range": "bytes=9-1", "if-range": '"old"'}
    assert (await ask("GET", f"{URL}/o", headers=changed)).status == 200


async def test_a_range_that_cannot_be_served_matters_only_for_the_object_that_is_meant(ask: Asking) -> None:
    several = {"range": "bytes=0-1,3-4"}
    assert (await ask("GET", f"{URL}/none", headers=several)).status == 404
    etag = (await ask("PUT", f"{URL}/o", body=b"0123456789")).headers["etag"]
    assert (await ask("GET", f"{URL}/o", headers={**several, "if-match": '"old"'})).status == 412
    assert (await ask("GET", f"{URL}/o", headers={**several, "if-none-match": etag})).status == 304
    assert (await ask("GET", f"{URL}/o", headers=several)).status == 416


async def test_head_without_props_says_all_and_sends_no_body(ask: Asking) -> None:
    await ask("PUT", f"{URL}/o", body=b"hello")
    answer = await ask("HEAD", f"{URL}/o")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "5")
    assert answer.headers["ais-name"] == "o"
    assert answer.headers["ais-bucket-name"] == "b"
    assert answer.headers["ais-bucket-provider"] == "ais"


async def test_head_with_props_says_what_was_asked(ask: Asking) -> None:
    await ask("PUT", f"{URL}/o", body=b"hello")
    headers = (await ask("HEAD", f"{URL}/o?props=checksum,version")).headers
    assert (headers["content-length"], headers["ais-present"], headers["ais-version"]) == ("5", "true", "1")
    assert "ais-atime" not in headers
    unknown = await ask("HEAD", f"{URL}/o?props=colour")
    assert (unknown.status, "colour" in unknown.error["message"]) == (400, True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_missing_objects_and_buckets_are_404_with_the_texts_of_aistore(
    ask: Asking, method: str
) -> None:
    missing = await ask(method, f"{URL}/none")
    assert (missing.status, missing.error["message"].partition("/none")[0]) == (404, "ais://b")
    no_bucket = await ask(method, "/v1/objects/other/none")
    assert (no_bucket.status, no_bucket.error["message"]) == (404, 'bucket "ais://other" does not exist')


async def test_delete_removes(ask: Asking) -> None:
    await ask("PUT", f"{URL}/o", body=b"x")
    assert (await ask("DELETE", f"{URL}/o")).status == 200
    assert (await ask("GET", f"{URL}/o")).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "3"},
        {"content-length": "9"},
        {"ais-checksum-type": "xxhash2", "ais-checksum-value": "0" * 16},
        {"ais-checksum-type": "md5", "ais-checksum-value": "0" * 32},
        {"ais-checksum-type": "crc16", "ais-checksum-value": "00"},
        {"ais-checksum-type": "crc32c", "ais-checksum-value": "0" * 8},
        {"ais-checksum-type": "sha256", "ais-checksum-value": "0" * 64},
        {"ais-checksum-type": "sha512", "ais-checksum-value": "0" * 128},
        {"content-md5": base64.b64encode(hashlib.md5(b"before").digest()).decode()},
        {"content-md5": "AAAA"},
        {"content-md5": "x"},
    ],
)
async def test_a_broken_upload_leaves_the_old_object(ask: Asking, headers: Mapping[str, str]) -> None:
    await ask("PUT", f"{URL}/o", body=b"before")
    answer = await ask("PUT", f"{URL}/o", body=b"after", headers=headers)
    assert answer.status == 400
    assert (await ask("GET", f"{URL}/o")).body == b"before"


@pytest.mark.parametrize(
    "headers",
    [
        {"ais-checksum-type": "xxhash2", "ais-checksum-value": xxhash.xxh64_hexdigest(b"body").upper()},
        {"ais-checksum-type": "crc32c", "ais-checksum-value": f"{crc32c(b'body'):08x}"},
        {"ais-checksum-type": "md5", "ais-checksum-value": hashlib.md5(b"body").hexdigest()},
        {"ais-checksum-type": "sha256", "ais-checksum-value": hashlib.sha256(b"body").hexdigest()},
        {"ais-checksum-type": "sha512", "ais-checksum-value": hashlib.sha512(b"body").hexdigest()},
        {"content-md5": base64.b64encode(hashlib.md5(b"body").digest()).decode()},
        {
            "content-md5": base64.b64encode(hashlib.md5(b"body").digest()).decode(),
            "ais-checksum-type": "md5",
            "ais-checksum-value": hashlib.md5(b"body").hexdigest(),
        },
    ],
)
async def test_a_right_checksum_is_accepted(ask: Asking, headers: Mapping[str, str]) -> None:
    assert (await ask("PUT", f"{URL}/o", body=b"body", headers=headers)).status == 200


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_client_that_vanishes_leaves_the_old_object(ask: Asking, size: int) -> None:
    await ask("PUT", f"{URL}/o", body=b"before")
    await ask("PUT", f"{URL}/o", body=b"x" * size, headers={"content-length": "400000"}, vanish=True)
    await ask("PUT", f"{URL}/o", body=[b"x" * size, b"y"], vanish=True)
    assert (await ask("GET", f"{URL}/o")).body == b"before"


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("PUT", "?partNumber=1"),
        ("DELETE", "?uploadId=1"),
        ("GET", "?uploadId=1"),
        ("GET", "?etl_name=e"),
    ],
)
async def test_what_is_not_built_is_501_and_touches_nothing(ask: Asking, method: str, query: str) -> None:
    await ask("PUT", f"{URL}/o", body=b"before")
    answer = await ask(method, f"{URL}/o{query}", body=b"x" if method == "PUT" else b"")
    assert (answer.status, "not built" in answer.error["message"]) == (501, True)
    assert (await ask("GET", f"{URL}/o")).body == b"before"


@pytest.mark.parametrize("query", ["?archpath=&archregx=", "?latest-ver=true", "?unknown=1"])
async def test_parameters_that_mean_nothing_here_are_ignored(ask: Asking, query: str) -> None:
    await ask("PUT", f"{URL}/o", body=b"x")
    assert (await ask("GET", f"{URL}/o{query}")).status == 200


async def test_actions_that_are_not_built_are_501(ask: Asking) -> None:
    assert (await ask("POST", f"{URL}/o", json_body={"action": "check-lock"})).status == 501


async def test_a_delete_whose_body_says_nothing_is_refused_and_touches_nothing(ask: Asking) -> None:
    await ask("PUT", f"{URL}/o", body=b"x")
    for message in ({}, {"value": None}, {"other": 1}):
        assert (await ask("DELETE", f"{URL}/o", json_body=message)).status == 400
    assert (await ask("GET", f"{URL}/o")).status == 200


async def test_an_abort_of_a_multipart_upload_does_not_delete_the_object(ask: Asking) -> None:
    await ask("PUT", f"{URL}/o", body=b"x")
    answer = await ask("DELETE", f"{URL}/o", json_body={"action": "mpt-abort"})
    assert answer.status == 400
    answer = await ask("DELETE", f"{URL}/o?uploadId=none", json_body={"action": "mpt-abort"})
    assert answer.status == 404
    answer = await ask("DELETE", f"{URL}/o", json_body={"action": "other"})
    assert answer.status == 400
    assert (await ask("GET", f"{URL}/o")).status == 200


async def test_other_methods_are_405(ask: Asking) -> None:
    answer = await ask("OPTIONS", f"{URL}/o")
    assert (answer.status, "GET" in answer.headers["allow"]) == (405, True)


async def test_the_type_that_the_sdk_sends_with_everything_is_not_kept(ask: Asking) -> None:
    json_type = {"content-type": "application/json"}
    await ask("PUT", f"{URL}/sdk", body=b"x", headers={**json_type, "user-agent": "ais/python/2.0.0"})
    await ask("PUT", f"{URL}/curl", body=b"{}", headers=json_type)
    assert (await ask("GET", f"{URL}/sdk")).headers["content-type"] == "application/octet-stream"
    curl = (await ask("GET", f"{URL}/curl")).headers
    assert (curl["content-type"], curl["content-security-policy"]) == ("application/json", "sandbox")


async def test_every_answer_carries_the_request_id(ask: Asking) -> None:
    assert (await ask("GET", f"{URL}/none", headers={"x-request-id": "mine-1"})).headers[
        "x-request-id"
    ] == "mine-1"
    assert (await ask("GET", "/v1/health", headers={"x-request-id": "mine-2"})).headers[
        "x-request-id"
    ] == "mine-2"
    assert len((await ask("GET", "/nothing")).headers["x-request-id"]) == 16


async def test_a_refused_upload_that_waits_for_100_closes_the_connection(ask: Asking) -> None:
    headers = {"expect": "100-continue", "content-length": "5"}
    answer = await ask("PUT", "/v1/objects/other/o", body=b"hello", headers=headers)
    assert (answer.status, answer.headers["connection"]) == (404, "close")
