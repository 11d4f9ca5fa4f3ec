"""Names of objects and buckets: each comes back byte by byte, or is refused with a sentence."""

from __future__ import annotations

import http.client
import random
from urllib.parse import urlsplit

import msgspec
import pytest
import requests

from shoal_gateway.guard import LocalGuard
from support.asgi import Asking
from support.cluster import Cluster
from support.fuzzing import cases, text
from support.memory_gateway import application_of, memory_parts
from support.memory_store import MemoryObjectStore

pytestmark = pytest.mark.timeout(900)

OBJECTS, BUCKETS, LIVE = 40_000, 10_000, 400
NAME_BYTES_MAX, BUCKET_LENGTH_MAX = 1024, 63
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
ALPHABETS = (
    LETTERS,
    "./%\\?#&=+ ",
    "".join(map(chr, range(1, 128))),
    "\0a",
    "\u00e9\u4f60\u597d\U0001f600\u202e\ufeff\u0301",
    "{}[]<>|^`\"'",
    "../",
)
PLAIN = frozenset((LETTERS + "-._~!$'()*+,;=:@/").encode())
"""What a path may hold as it is (RFC 3986)."""


def spelled(choices: random.Random, name: bytes) -> str:
    """The name as a client may write it in a path: what must be escaped is, of the rest some."""
    eager = choices.choice((0.0, 0.1, 1.0))
    return "".join(
        chr(byte)
        if byte in PLAIN and choices.random() >= eager
        else choices.choice(("%%%02X", "%%%02x")) % byte
        for byte in name
    )


def is_object_name(name: bytes) -> bool:
    try:
        return 1 <= len(name) <= NAME_BYTES_MAX and "\0" not in name.decode()
    except UnicodeDecodeError:
        return False


def is_bucket_name(name: bytes) -> bool:
    plain = set((LETTERS + "._-").encode())
    return (
        1 <= len(name) <= BUCKET_LENGTH_MAX
        and set(name) <= plain
        and name[:1].isalnum()
        and b".." not in name
    )


def object_name(choices: random.Random) -> bytes:
    name = text(choices, ALPHABETS, 1100).encode()
    if choices.random() < 0.05:
        return name + bytes(choices.choices(range(128, 256), k=3))
    return name


async def test_object_names_come_back_or_are_refused() -> None:
    ask = Asking(application_of(await memory_parts(MemoryObjectStore()), LocalGuard(port=51080)))
    written: set[bytes] = set()
    kept = refused = 0
    for choices in cases("object names", OBJECTS, seconds_max=150):
        name = object_name(choices)
        path = spelled(choices, name)
        put = await ask("PUT", f"/v1/objects/b/{path}", body=name)
        if not is_object_name(name):
            assert (put.status, put.error["status"]) == (400, 400), name
            refused += 1
            continue
        assert put.status == 200, (name, put.body)
        read = await ask("GET", f"/v1/objects/b/{spelled(choices, name)}")
        assert (read.status, read.body) == (200, name)
        written.add(name)
        kept += 1
        if len(written) == 500:
            assert await listed(ask) == sorted(written)
            for each in written:
                assert (await ask("DELETE", f"/v1/objects/b/{spelled(choices, each)}")).status == 200
            written.clear()
    assert await listed(ask) == sorted(written)
    print(f"{kept} came back, {refused} refused")
    assert min(kept, refused) > OBJECTS // 100


async def listed(ask: Asking) -> list[bytes]:
    page = await ask(
        "GET", "/v1/buckets/b", headers={"accept": "application/msgpack"}, json_body={"action": "list"}
    )
    return [entry["n"].encode() for entry in msgspec.msgpack.decode(page.body)["Entries"]]


async def test_bucket_names_come_back_or_are_refused() -> None:
    ask = Asking(application_of(await memory_parts(MemoryObjectStore()), LocalGuard(port=51080)))
    made, refused = {"b"}, 0
    for choices in cases("bucket names", BUCKETS, seconds_max=90):
        name = text(choices, (LETTERS, LETTERS + ".-_", *ALPHABETS), 80).encode()
        answer = await ask(
            "POST", f"/v1/buckets/{spelled(choices, name)}", json_body={"action": "create-bck"}
        )
        if not is_bucket_name(name):
            # A route's path has no line break in it, so such a one is nowhere, or at least no name.
            allowed = (400, 404) if b"\n" in name else (400,)
            assert answer.status in allowed, name
            assert answer.error["status"] == answer.status
            refused += 1
            continue
        assert answer.status == (409 if name.decode() in made else 200), name
        made.add(name.decode())
        assert (await ask("HEAD", f"/v1/buckets/{spelled(choices, name)}")).status == 200
    found = (await ask("GET", "/v1/buckets", json_body={"action": "list"})).body
    assert {each["name"] for each in msgspec.json.decode(found)} == made
    assert min(len(made), refused) > BUCKETS // 100


def test_a_cluster_keeps_and_refuses_the_same_names(cluster: Cluster) -> None:
    """Through the real parser, the fast lane and the engine; what HTTP itself cannot carry is escaped."""
    bucket = f"{cluster.endpoint}/v1/buckets/fuzzed-names"
    requests.post(bucket, json={"action": "create-bck"}, timeout=20).raise_for_status()
    connection = http.client.HTTPConnection(urlsplit(cluster.endpoint).netloc, timeout=20)
    written: set[bytes] = set()
    for choices in cases("live names", LIVE, seconds_max=60):
        name = object_name(choices)
        path = f"/v1/objects/fuzzed-names/{spelled(choices, name)}"
        status, _ = asked(connection, "PUT", path, name)
        assert status == (200 if is_object_name(name) else 400), name
        if status == 200:
            written.add(name)
            assert asked(connection, "GET", path) == (200, name)
    connection.close()
    page = requests.get(bucket, json={"action": "list"}, timeout=20).json()
    assert [entry["name"].encode() for entry in page["entries"]] == sorted(written)
    requests.delete(bucket, json={"action": "destroy-bck"}, timeout=20).raise_for_status()


def asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b""
) -> tuple[int, bytes]:
    connection.request(method, path, body=body)
    answer = connection.getresponse()
    return answer.status, answer.read()
