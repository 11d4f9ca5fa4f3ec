"""Every name of a bucket, page by page over one connection, through S3 and through AIStore's REST API."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec

from shoal_bench.load import ROUNDS, BenchFailed, Measured
from shoal_bench.presign import Signer

S3_PAGE_NAMES = 1000
REST_PAGE_NAMES = 10_000

Pages = Iterator[int]
"""The names of each page."""


def s3_list_all(signer: Signer, bucket: str, *, cpu: Callable[[], float]) -> Measured:
    return median(lambda: s3_pages(signer, bucket), cpu=cpu)


def rest_list_all(signer: Signer, bucket: str, *, cpu: Callable[[], float]) -> Measured:
    return median(lambda: rest_pages(signer, bucket), cpu=cpu)


def median(pages: Callable[[], Pages], *, cpu: Callable[[], float]) -> Measured:
    """Of ROUNDS lists of everything, that of the middle cost: the system counts CPU in steps of 10 ms. An operation
    is a name."""
    rounds = [one_list(pages(), cpu=cpu) for _ in range(ROUNDS)]
    rates = [each.per_second for each in rounds]
    rounds.sort(key=lambda each: each.cpu_us)
    return replace(rounds[ROUNDS // 2], least=min(rates), most=max(rates))


def one_list(pages: Pages, *, cpu: Callable[[], float]) -> Measured:
    names, times = 0, list[float]()
    before, began = cpu(), time.monotonic()
    page_began = began
    for count in pages:
        names += count
        times.append((time.monotonic() - page_began) * 1e3)
        page_began = time.monotonic()
    seconds, spent = time.monotonic() - began, cpu() - before
    times.sort()
    return Measured(names, seconds, times[len(times) // 2], times[int(len(times) * 0.99)], spent)


def s3_pages(signer: Signer, bucket: str) -> Pages:
    connection = http.client.HTTPConnection(urlsplit(signer.endpoint).netloc, timeout=60)
    token = ""
    while True:
        query = {"list-type": "2", "max-keys": str(S3_PAGE_NAMES)}
        query |= {"continuation-token": token} if token else {}
        body = asked(connection, signer.path("GET", f"/{bucket}", query=query), b"")
        yield body.count(b"<Key>")
        found = re.search(rb"<NextContinuationToken>([^<]+)<", body)
        if found is None:
            break
        token = found[1].decode()
    connection.close()


def rest_pages(signer: Signer, bucket: str) -> Pages:
    """In the form that the official SDK asks for."""
    connection = http.client.HTTPConnection(urlsplit(signer.endpoint).netloc, timeout=60)
    token = ""
    while True:
        value = {"pagesize": REST_PAGE_NAMES, "continuation_token": token, "props": "name,size"}
        message = json.dumps({"action": "list", "value": value}).encode()
        body = asked(connection, f"/v1/buckets/{bucket}", message, accept="application/msgpack")
        page = msgspec.msgpack.decode(body, type=RestPage)
        yield len(page.Entries)
        if not (token := page.ContinuationToken):
            break
    connection.close()


class RestPage(msgspec.Struct):
    Entries: list[msgspec.Raw]
    ContinuationToken: str = ""


def asked(connection: http.client.HTTPConnection, target: str, body: bytes, *, accept: str = "*/*") -> bytes:
    connection.request("GET", target, body or None, {"Accept": accept})
    answer = connection.getresponse()
    found = answer.read()
    if answer.status != 200:
        raise BenchFailed(f"a listing was answered {answer.status}: {found[:300]!r}")
    return found
