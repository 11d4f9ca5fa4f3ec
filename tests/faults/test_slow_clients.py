"""Clients that are slow: next to nothing is given up with a word, slow and steady is served to the end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from shoal_bench.overload import BUCKET, place_of
from support.cluster import Cluster

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 4
LARGE_BYTES = 12 << 20
SLOW_SECONDS = 3 * PATIENCE_SECONDS


@pytest.fixture(scope="module")
def impatient() -> Iterator[Cluster]:
    cluster = Cluster.temporary(settings={"SHOAL_GATEWAY_IDLE_TIMEOUT_SECONDS": str(PATIENCE_SECONDS)})
    try:
        cluster.start()
        requests.post(f"{cluster.endpoint}/v1/buckets/{BUCKET}", json={"action": "create-bck"}, timeout=30)
        yield cluster
    finally:
        cluster.remove()


def connected(cluster: Cluster, *, receive_bytes: int = 0) -> socket.socket:
    place = place_of(cluster.data)
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(60)
    connection.connect((place.host, place.port))
    return connection


def head_of(cluster: Cluster, method: str, name: str, *, length: int = 0, more: str = "") -> bytes:
    port = place_of(cluster.data).port
    fields = f"Host: localhost:{port}\r\nContent-Length: {length}\r\n{more}"
    return f"{method} /v1/objects/{BUCKET}/{name} HTTP/1.1\r\n{fields}\r\n".encode()


def taken(connection: socket.socket, count: int) -> int:
    """Bytes received, at most so many; 0 when the connection has ended, one way or another."""
    with suppress(OSError):
        return len(connection.recv(count))
    return 0


def test_a_byte_now_and_then_is_408_and_a_slow_and_steady_upload_is_kept(impatient: Cluster) -> None:
    size, steps = 1 << 20, 16
    with connected(impatient) as dripping, connected(impatient) as steady:
        dripping.sendall(head_of(impatient, "PUT", "dripped", length=size))
        steady.sendall(head_of(impatient, "PUT", "steady", length=size))
        for _ in range(steps):
            steady.sendall(bytes(size // steps))
            with suppress(OSError):
                dripping.sendall(b"x")
            time.sleep(SLOW_SECONDS / steps)
        assert steady.recv(4096).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionResetError):
            assert dripping.recv(4096).startswith(b"HTTP/1.1 408")
    url = f"{impatient.endpoint}/v1/objects/{BUCKET}"
    assert requests.get(f"{url}/dripped", timeout=30).status_code == 404
    assert len(requests.get(f"{url}/steady", timeout=30).content) == size


# With a condition, a read takes the ordinary path.
@pytest.mark.parametrize("more", ["", "If-None-Match: other\r\n"], ids=["fast lane", "ordinary path"])
def test_who_takes_next_to_nothing_is_cut_off_and_a_slow_and_steady_reader_gets_all(
    impatient: Cluster, more: str
) -> None:
    url = f"{impatient.endpoint}/v1/objects/{BUCKET}/large"
    assert requests.put(url, data=bytes(LARGE_BYTES), timeout=60).status_code == 200
    request = head_of(impatient, "GET", "large", more=more)
    with (
        connected(impatient, receive_bytes=64 << 10) as asleep,
        connected(impatient, receive_bytes=64 << 10) as steady,
    ):
        asleep.sendall(request)
        steady.sendall(request)
        count, slow_until = 0, time.monotonic() + SLOW_SECONDS
        while count < LARGE_BYTES and (piece := taken(steady, 64 << 10)):
            count += piece
            if time.monotonic() < slow_until:
                time.sleep(0.25)
        assert count >= LARGE_BYTES
        got = 0
        while piece := taken(asleep, 1 << 20):
            got += piece
        assert got < LARGE_BYTES
