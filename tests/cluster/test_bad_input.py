"""Names and bodies that go wrong, on a live cluster: a byte-exact round trip or a clear refusal, and no trace."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from aistore import Client

from support.cluster import Cluster
from support.workload import wait_until

ROUND_TRIP = [
    "..",
    "../../etc/passwd",
    "a/../b",
    "./a",
    "/leading",
    "//two",
    "trailing/",
    "a//b",
    "per%2Fcent",
    "%25",
    "%",
    "question?mark=1&x",
    "hash#tag",
    "two  spaces ",
    "plus+and&",
    "line\nbreak",
    "back\\slash",
    "你好世界",
    "é" * 512,
    "x" * 1024,
    "x" * 440 + "/y",
    "😀" * 256,
]
REFUSED = {
    "NUL": "a%00b",
    "not UTF-8": "a%FFb",
    "1,025 bytes": "x" * 1025,
    "1,026 bytes of UTF-8": quote("é" * 513),
}


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: http.client.HTTPMessage


@dataclass(frozen=True)
class RawBucket:
    """A bucket spoken to with paths exactly as given; ordinary HTTP clients tidy them up."""

    cluster: Cluster
    name: str

    def call(self, method: str, raw_name: str, body: bytes | None = None, **headers: str) -> Answer:
        place = urlsplit(self.cluster.endpoint)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        try:
            path = f"/v1/objects/{self.name}/{raw_name}"
            connection.request(
                method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.headers)
        finally:
            connection.close()

    def send(self, raw: bytes) -> socket.socket:
        place = urlsplit(self.cluster.endpoint)
        connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=30)
        connection.sendall(raw)
        return connection


@pytest.fixture(scope="module")
def raw(cluster: Cluster) -> Iterator[RawBucket]:
    bucket = Client(cluster.endpoint).bucket("bad-input").create()
    yield RawBucket(cluster, "bad-input")
    bucket.delete()


@pytest.mark.parametrize("name", ROUND_TRIP, ids=lambda name: ascii(name)[:20])
def test_an_odd_name_makes_a_byte_exact_round_trip(raw: RawBucket, name: str) -> None:
    body = name.encode() * 3
    assert raw.call("PUT", quote(name, safe=""), body).status == 200
    assert raw.call("GET", quote(name, safe="")).body == body
    listed = Client(raw.cluster.endpoint).bucket(raw.name).list_all_objects(prefix=name)
    assert name in [entry.name for entry in listed]
    assert raw.call("DELETE", quote(name, safe="")).status in (200, 204)
    assert raw.call("GET", quote(name, safe="")).status == 404


@pytest.mark.parametrize("raw_name", REFUSED.values(), ids=REFUSED.keys())
def test_a_name_that_cannot_be_kept_is_refused_with_a_sentence(raw: RawBucket, raw_name: str) -> None:
    answer = raw.call("PUT", raw_name, b"body")
    assert answer.status == 400
    assert len(json.loads(answer.body)["message"]) > 20


def test_no_name_ever_leaves_the_data_folder(raw: RawBucket, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    for name in (
        str(victim),
        "../" * 12 + str(victim).lstrip("/"),
        "..%2f" * 12 + quote(str(victim)[1:], safe=""),
    ):
        raw.call("PUT", name, b"escaped" * 9000)
    assert not victim.exists()


def test_a_wrong_checksum_is_refused_and_the_old_object_stays(raw: RawBucket) -> None:
    assert raw.call("PUT", "sum", b"old").status == 200
    wrong = {"ais_checksum_type": "xxhash2", "ais_checksum_value": "0123456789abcdef"}
    for body in (b"new", b"new" * 10_000):
        answer = raw.call("PUT", "sum", body, **wrong)
        assert answer.status == 400
        assert "checksum" in json.loads(answer.body)["message"].lower()
    assert raw.call("GET", "sum").body == b"old"
    assert raw.cluster.leftovers() == []


def test_a_client_that_vanishes_in_the_middle_leaves_the_old_object_and_no_trace(raw: RawBucket) -> None:
    assert raw.call("PUT", "vanish", b"old").status == 200
    before = raw.cluster.chunk_files()
    head = f"PUT /v1/objects/{raw.name}/vanish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n".encode()
    raw.send(head + b"x" * 3_000_000).close()
    wait_until(lambda: raw.cluster.leftovers() == [], 20, "unfinished files are gone")
    assert raw.call("GET", "vanish").body == b"old"
    assert raw.cluster.chunk_files() == before


def test_a_body_that_ends_early_in_chunked_encoding_leaves_the_old_object(raw: RawBucket) -> None:
    assert raw.call("PUT", "chunked", b"old").status == 200
    head = f"PUT /v1/objects/{raw.name}/chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw.send(head.encode() + b"186a0\r\n" + b"y" * 50_000).close()
    wait_until(lambda: raw.cluster.leftovers() == [], 20, "unfinished files are gone")
    assert raw.call("GET", "chunked").body == b"old"


@pytest.mark.parametrize(
    "header", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}], ids=["Host", "Origin"]
)
def test_a_foreign_host_or_origin_is_refused(raw: RawBucket, header: dict[str, str]) -> None:
    answer = raw.call("GET", "anything", None, **header)
    assert answer.status in (400, 403)
    assert "Traceback" not in answer.body.decode()


@pytest.mark.parametrize("path", ["/v1/etl", "/v1/download", "/v1/sort"])
def test_what_is_not_built_answers_501_and_says_so(cluster: Cluster, path: str) -> None:
    place = urlsplit(cluster.endpoint)
    with closing(http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 501
        assert "not" in json.loads(answer.read())["message"]
