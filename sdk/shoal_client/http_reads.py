"""One object over HTTP by several threads, each with a connection of its own, straight into the caller's memory.

For programs without an event loop, and where a gateway is nearer than the targets. Blocks.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import quote, urlsplit, urlunsplit

from shoal_client.parallel import RANGE_BYTES
from shoal_core.errors import (
    ChecksumMismatch,
    DataCorrupt,
    InvalidArgument,
    ObjectNotFound,
    PreconditionFailed,
    ShoalError,
    Unavailable,
)
from shoal_store.hashing import HASHES

IDLE_SECONDS_MAX = 60.0
VERIFIED_BYTES = 1 << 20
ERRORS: dict[int, type[ShoalError]] = {
    HTTPStatus.NOT_FOUND: ObjectNotFound,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
}


@dataclass(frozen=True, slots=True)
class HttpObject:
    """What a gateway says of an object; its etag pins every range to these bytes."""

    endpoint: str
    path: str
    size: int
    etag: str
    checksum_type: str
    checksum_value: str

    def read_into(self, memory: memoryview, *, workers: int = 4, range_bytes: int = RANGE_BYTES) -> None:
        """Fill `memory`, of at least `size` bytes, and verify it against the object's checksum, if it has one.

        Raises PreconditionFailed when the object is overwritten meanwhile, ChecksumMismatch, Unavailable.
        """
        starts = list(range(0, self.size, range_bytes))
        with ThreadPoolExecutor(workers) as threads:
            # Every worker takes each so-manieth range: all connections are then used alike.
            shares = [starts[number::workers] for number in range(workers)]
            for _ in threads.map(lambda share: self._read_share(share, range_bytes, memory), shares):
                """Raises what the worker raised."""
        self._verify(memory[: self.size])

    def _read_share(self, starts: Sequence[int], range_bytes: int, memory: memoryview) -> None:
        connections = Connections()
        try:
            for start in starts:
                end = min(start + range_bytes, self.size)
                self._read_range(connections, start, memory[start:end])
        except (OSError, HTTPException) as error:
            raise Unavailable(f"{self.endpoint} failed while {self.path} was read: {error}") from error
        finally:
            connections.close()

    def _read_range(self, connections: Connections, start: int, memory: memoryview) -> None:
        headers = {"Range": f"bytes={start}-{start + len(memory) - 1}", "If-Match": f'"{self.etag}"'}
        response = connections.get(self.endpoint, self.path, headers)
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            raise error_of(response.status, self.path)
        done = 0
        while done < len(memory) and (count := response.readinto(memory[done:])):
            done += count
        if done != len(memory) or response.read():
            raise DataCorrupt(f"{self.path} gave another number of bytes than the {len(memory)} of a range")

    def _verify(self, memory: memoryview) -> None:
        if self.checksum_type not in HASHES:
            return
        hash = HASHES[self.checksum_type]()
        for start in range(0, len(memory), VERIFIED_BYTES):
            hash.update(bytes(memory[start : start + VERIFIED_BYTES]))
        if hash.hexdigest() != self.checksum_value.lower():
            raise ChecksumMismatch(
                f"what was read of {self.path} fails its {self.checksum_type} checksum: read it again"
            )


class Connections:
    """Of one worker: to the gateway that it asks, and to the one beside the object if the first sends it there."""

    def __init__(self) -> None:
        self._kept: dict[str, HTTPConnection] = {}

    def get(self, endpoint: str, target: str, headers: Mapping[str, str]) -> HTTPResponse:
        """Every range is asked at `endpoint` first: the redirect of one soon ends."""
        response = self._ask(endpoint, target, headers)
        if response.status != HTTPStatus.TEMPORARY_REDIRECT:
            return response
        response.read()
        location = urlsplit(response.headers.get("Location", ""))
        beside = urlunsplit(("", "", location.path, location.query, ""))
        return self._ask(f"{location.scheme}://{location.netloc}", beside, headers)

    def close(self) -> None:
        for connection in self._kept.values():
            connection.close()

    def _ask(self, endpoint: str, target: str, headers: Mapping[str, str]) -> HTTPResponse:
        if endpoint not in self._kept:
            self._kept[endpoint] = connected(endpoint)
        connection = self._kept[endpoint]
        connection.request("GET", target, headers=dict(headers))
        return connection.getresponse()


def look_up(endpoint: str, bucket: str, name: str) -> HttpObject:
    """`endpoint` is a gateway's `http://host:port`. Raises ObjectNotFound, also for a bucket that is not there."""
    path = f"/v1/objects/{quote(bucket, safe='')}/{quote(name)}"
    connection = connected(endpoint)
    try:
        connection.request("HEAD", path)
        response = connection.getresponse()
        response.read()
        if response.status != HTTPStatus.OK:
            raise error_of(response.status, path)
        return HttpObject(
            endpoint,
            path,
            int(response.headers["Content-Length"]),
            response.headers["ETag"].strip('"'),
            response.headers.get("Ais-Checksum-Type", ""),
            response.headers.get("Ais-Checksum-Value", ""),
        )
    except (OSError, HTTPException) as error:
        raise Unavailable(f"{endpoint} does not answer: {error}") from error
    finally:
        connection.close()


def connected(endpoint: str) -> HTTPConnection:
    """Connects at its first request."""
    parts = urlsplit(endpoint)
    if parts.hostname is None or parts.scheme not in ("http", "https"):
        raise InvalidArgument(f"endpoint is {endpoint!r}; give http://host:port or https://host:port")
    if parts.scheme == "https":
        return HTTPSConnection(
            parts.hostname, parts.port, timeout=IDLE_SECONDS_MAX, context=ssl.create_default_context()
        )
    return HTTPConnection(parts.hostname, parts.port, timeout=IDLE_SECONDS_MAX)


def error_of(status: int, path: str) -> ShoalError:
    if status == HTTPStatus.PRECONDITION_FAILED:
        return PreconditionFailed(f"{path} was overwritten while it was read: read it again")
    return ERRORS.get(status, Unavailable)(f"{path} answered {status}")
