"""Range, If-*, copy-source and metadata headers against what the RFC says of them."""

from __future__ import annotations

import random
from email.header import decode_header, make_header
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

import pytest
import requests

from shoal_core.errors import ShoalError
from shoal_gateway.call import Call
from shoal_gateway.guard import LocalGuard
from shoal_gateway.s3.copying import SOURCE, source_of
from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.object_headers import metadata_headers
from shoal_gateway.s3.requests import S3Request, metadata_of
from support.asgi import Asking
from support.cluster import Cluster
from support.fuzzing import cases, text
from support.memory_gateway import application_of, memory_parts
from support.memory_store import MemoryObjectStore
from support.rfc9110 import Stored, read, written

pytestmark = pytest.mark.timeout(900)

READS, WRITES, SOURCES, METADATA, LIVE = 30_000, 5_000, 10_000, 5_000, 600
BODY = bytes(range(256)) * 4
URL = "/v1/objects/b/o"
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
LETTERS = ("abc019-_.", VISIBLE, '"W/*, ', VISIBLE + " \t")


def tag(choices: random.Random, etag: str) -> str:
    right = choices.random() < 0.3
    opaque = etag if right else text(choices, ("abc0", etag or "x", VISIBLE.replace('"', "")), 40)
    return choices.choice((f'"{opaque}"', f'W/"{opaque}"', opaque, "*", '"*"', '""', "", f' "{opaque}" '))


def tag_list(choices: random.Random, etag: str) -> str:
    if choices.random() < 0.1:
        return text(choices, LETTERS, 200)
    count = choices.choice((1, 1, 1, 2, 3, 63, 64, 65))
    return choices.choice((",", ", ", " , ")).join(tag(choices, etag) for _ in range(count))


def date(choices: random.Random, modified: int) -> str:
    second = modified + choices.choice((-86400, -1, 0, 0, 1, 86400))
    return choices.choice((formatdate(second, usegmt=True), formatdate(second), "yesterday", "", str(second)))


def byte_range(choices: random.Random, size: int) -> str:
    ends = [0, 1, size - 1, size, size + 1, choices.randrange(size), 10**18, 10**19, 10**30]
    first, last = choices.choice([*ends, ""]), choices.choice([*ends, ""])
    unit = choices.choice(("bytes=", "bytes=", "bytes=", "BYTES=", "bytes= ", "lines=", "bytes", ""))
    several = choices.choice(("", "", "", "", ",0-1", ", "))
    return choices.choice(
        (f"{unit}{first}-{last}{several}",) * 9 + (unit + text(choices, ("0123456789-,x ",), 30),)
    )


def headers_of(choices: random.Random, stored: Stored) -> dict[str, str]:
    made = {
        "if-match": tag_list(choices, stored.etag),
        "if-none-match": tag_list(choices, stored.etag),
        "if-modified-since": date(choices, stored.modified),
        "if-unmodified-since": date(choices, stored.modified),
        "range": byte_range(choices, len(stored.body)),
        "if-range": choices.choice((tag(choices, stored.etag), date(choices, stored.modified))),
    }
    likely = {"range": 0.5, "if-range": 0.3}
    return {name: value for name, value in made.items() if choices.random() < likely.get(name, 0.2)}


async def stored_object(ask: Asking) -> Stored:
    assert (await ask("PUT", URL, body=BODY)).status == 200
    head = (await ask("HEAD", URL)).headers
    modified = int(parsedate_to_datetime(head["last-modified"]).timestamp())
    return Stored(BODY, head["etag"].strip('"'), modified)


async def test_conditional_and_range_reads_are_as_the_rfc_has_them() -> None:
    ask = Asking(application_of(await memory_parts(MemoryObjectStore()), LocalGuard(port=51080)))
    stored = await stored_object(ask)
    seen: dict[int, int] = {}
    for choices in cases("conditional reads", READS, seconds_max=90):
        headers = headers_of(choices, stored)
        expected = read(headers, stored)
        answer = await ask("GET", URL, headers=headers)
        assert answer.status == expected.status, (headers, answer.body)
        assert expected.status >= 300 or answer.body == expected.body, headers
        seen[answer.status] = seen.get(answer.status, 0) + 1
    print(seen)
    assert set(seen) == {200, 206, 304, 400, 412, 416}


async def test_conditional_writes_are_as_the_rfc_has_them() -> None:
    ask = Asking(application_of(await memory_parts(MemoryObjectStore()), LocalGuard(port=51080)))
    stored = await stored_object(ask)
    for choices in cases("conditional writes", WRITES, seconds_max=30):
        headers = headers_of(choices, stored)
        answer = await ask("PUT", URL, headers=headers, body=BODY)
        assert answer.status == written(headers, stored), (headers, answer.body)
        if answer.status == 200:
            stored = await stored_object(ask)


def test_a_cluster_reads_as_the_rfc_has_it(cluster: Cluster) -> None:
    """Through the real parser, the fast lane and the engine."""
    bucket = f"{cluster.endpoint}/v1/buckets/fuzzed-headers"
    requests.post(bucket, json={"action": "create-bck"}, timeout=20).raise_for_status()
    url = f"{cluster.endpoint}/v1/objects/fuzzed-headers/o"
    with requests.Session() as session:
        session.put(url, data=BODY, timeout=20).raise_for_status()
        head = session.head(url, timeout=20).headers
        modified = int(parsedate_to_datetime(head["last-modified"]).timestamp())
        stored = Stored(BODY, head["etag"].strip('"'), modified)
        for choices in cases("live reads", LIVE, seconds_max=60):
            # What is around a value is not part of it: the parser takes it off.
            headers = {name: value.strip() for name, value in headers_of(choices, stored).items()}
            expected = read(headers, stored)
            answer = session.get(url, headers={**headers, "accept-encoding": "identity"}, timeout=20)
            assert answer.status_code == expected.status, (headers, answer.text)
            assert expected.status >= 300 or answer.content == expected.body, headers
    requests.delete(bucket, json={"action": "destroy-bck"}, timeout=20).raise_for_status()


def copy_source(header: str) -> tuple[str, str] | None:
    call = Call("PUT", b"/b/k", {}, {SOURCE: header}, "", "", "")
    request = S3Request(call, None, "b", "k", None, "", {})  # type: ignore[arg-type]  # only headers are looked at
    try:
        return source_of(request)
    except (S3Error, ShoalError):
        return None


def test_a_copy_source_is_the_name_that_was_written() -> None:
    for choices in cases("copy sources", SOURCES, seconds_max=30):
        bucket = text(choices, ("abc.-0",), 63).strip("/") or "b"
        key = text(choices, ("a/", VISIBLE, "\u00e9\u4f60\U0001f600", " %?#+"), 1024)
        safe = choices.choice(("/", "", "/~:@!$&'()*,;="))
        written_as = choices.choice(("", "/")) + bucket + "/" + quote(key, safe=safe)
        assert copy_source(written_as) == ((bucket, key) if key else None), written_as
        # Bytes that nobody escaped, as the parser hands them on.
        plain = key.replace("%", "").replace("?", "")
        raw = f"{bucket}/{plain}".encode().decode("latin-1")
        assert copy_source(raw) == ((bucket, plain) if plain else None), raw
        copy_source(text(choices, (VISIBLE, "%/?ab", "\u00ff\u0080%"), 200))


def test_metadata_comes_back_as_it_was_sent() -> None:
    token = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
    for choices in cases("metadata", METADATA, seconds_max=30):
        sent: dict[str, str] = {}
        for _ in range(choices.randint(0, 5)):
            name = text(choices, (token,), 40) or "n"
            sent[name] = text(choices, ("ab c", VISIBLE, "\u00e9\u4f60\U0001f600"), 200).strip()
        raw = [(f"x-amz-meta-{name}".encode(), value.encode()) for name, value in sent.items()]
        kept = metadata_of([*raw, (b"x-amz-date", b"x"), (b"content-type", b"y")])
        assert kept == sent
        shown = [(name, read_back(value.decode())) for name, value in metadata_headers(kept)]
        assert shown == [(name, value.decode()) for name, value in raw]


def read_back(value: str) -> str:
    """What is not ASCII is shown as RFC 2047 has it, as AWS does."""
    return str(make_header(decode_header(value))) if value.startswith("=?UTF-8?") else value
