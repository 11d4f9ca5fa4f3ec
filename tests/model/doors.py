"""The ways into a cluster as one small client each, for histories.

Every HTTP request has a connection of its own, so that the kernel hands it to any gateway; nothing is repeated here.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree

from model.bodies import in_pieces
from shoal_client.client import ShoalClient
from shoal_core.errors import ObjectNotFound, PreconditionFailed, ShoalError
from shoal_core.objects import Bucket, BucketReference, ListQuery, Preconditions, PutRequest
from support.cluster import Cluster
from support.raw_s3 import RawS3

SECONDS_MAX = 20
S3_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
Result = TypeVar("Result")


class NotSent(Exception):
    """The request reached nobody."""


class Unanswered(Exception):
    """Whether the request had an effect is not known."""


class Refused(Exception):
    """The condition did not hold."""


class Missing(Exception):
    """There is no such object."""


@dataclass(frozen=True)
class Found:
    body: bytes
    etag: str


class Door(Protocol):
    """Every method raises NotSent and Unanswered."""

    tells_missing: bool
    """Whether a delete says when there was nothing to delete."""

    def put(self, name: str, body: bytes, *, if_match: str = "", if_none_match: str = "") -> None:
        """Raises Refused."""

    def get(self, name: str) -> Found:
        """Raises Missing."""

    def delete(self, name: str) -> None:
        """Raises Missing where `tells_missing`."""

    def sizes(self) -> dict[str, int]:
        """The bucket's listing."""

    def close(self) -> None: ...


@dataclass
class RestDoor:
    cluster: Cluster
    bucket: str
    tells_missing = True

    def put(self, name: str, body: bytes, *, if_match: str = "", if_none_match: str = "") -> None:
        headers = conditional(if_match, if_none_match)
        answered(*self._ask("PUT", f"/v1/objects/{self.bucket}/{name}", body, headers)[:2])

    def get(self, name: str) -> Found:
        status, body, headers = self._ask("GET", f"/v1/objects/{self.bucket}/{name}")
        return Found(answered(status, body), (headers["ETag"] or "").strip('"'))

    def delete(self, name: str) -> None:
        answered(*self._ask("DELETE", f"/v1/objects/{self.bucket}/{name}")[:2])

    def sizes(self) -> dict[str, int]:
        message = json.dumps({"action": "list", "value": {"props": "name,size"}}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        body = answered(*self._ask("GET", f"/v1/buckets/{self.bucket}", message, headers)[:2])
        entries = json.loads(body).get("entries") or []
        return {entry["name"]: int(entry.get("size", 0)) for entry in entries}

    def close(self) -> None: ...

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        place = urlsplit(self.cluster.endpoint)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=SECONDS_MAX)
        try:
            connect(connection)
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(repr(error)) from error
        finally:
            connection.close()


class S3Door:
    tells_missing = False

    def __init__(self, cluster: Cluster, bucket: str) -> None:
        self._raw = RawS3(cluster, bucket)

    def put(self, name: str, body: bytes, *, if_match: str = "", if_none_match: str = "") -> None:
        self._ask("PUT", f"/{name}", body, conditional(if_match, if_none_match))

    def get(self, name: str) -> Found:
        body, headers = self._ask("GET", f"/{name}")
        return Found(body, (headers["ETag"] or "").strip('"'))

    def delete(self, name: str) -> None:
        self._ask("DELETE", f"/{name}")

    def sizes(self) -> dict[str, int]:
        entries = ElementTree.fromstring(self._ask("GET", "?list-type=2")[0]).iter(f"{S3_NAMESPACE}Contents")
        return {
            entry.findtext(f"{S3_NAMESPACE}Key", ""): int(entry.findtext(f"{S3_NAMESPACE}Size", ""))
            for entry in entries
        }

    def close(self) -> None: ...

    def _ask(
        self, method: str, key: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[bytes, http.client.HTTPMessage]:
        try:
            answer = self._raw.send(self._raw.signed(method, key, body=body, headers=headers))
        except ConnectionRefusedError as error:
            raise NotSent from error
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(repr(error)) from error
        return answered(answer.status, answer.body), answer.headers


class GrpcDoor:
    """Straight to the targets."""

    tells_missing = True

    def __init__(self, cluster: Cluster, bucket: str) -> None:
        self._runner = asyncio.Runner()
        self._client, self._bucket = self._runner.run(self._connected(cluster, bucket))

    def put(self, name: str, body: bytes, *, if_match: str = "", if_none_match: str = "") -> None:
        conditions = Preconditions((if_match,) if if_match else (), (if_none_match,) if if_none_match else ())
        request = PutRequest(name, len(body), preconditions=conditions)
        self._run(self._client.objects.put(self._bucket, request, in_pieces(body)))

    def get(self, name: str) -> Found:
        return self._run(self._read(name))

    def delete(self, name: str) -> None:
        self._run(self._client.objects.delete(self._bucket, name))

    def sizes(self) -> dict[str, int]:
        page = self._run(self._client.objects.list(self._bucket, ListQuery()))
        return {info.name: info.size for info in page.entries}

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    async def _connected(self, cluster: Cluster, bucket: str) -> tuple[ShoalClient, Bucket]:
        client = await ShoalClient.connect(cluster.grpc_address, ca=cluster.ca).__aenter__()
        return client, await client.resolve(BucketReference(bucket))

    async def _read(self, name: str) -> Found:
        body = await self._client.objects.open(self._bucket, name)
        try:
            return Found(b"".join([piece async for piece in body.chunks()]), body.info.etag)
        finally:
            await body.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        try:
            return self._runner.run(asyncio.wait_for(work, SECONDS_MAX))
        except ObjectNotFound as error:
            raise Missing from error
        except PreconditionFailed as error:
            raise Refused from error
        except (ShoalError, TimeoutError) as error:
            raise Unanswered(repr(error)) from error


def conditional(if_match: str, if_none_match: str) -> dict[str, str]:
    headers = {"If-Match": if_match, "If-None-Match": if_none_match}
    return {name: value if value == "*" else f'"{value}"' for name, value in headers.items() if value}


def connect(connection: http.client.HTTPConnection) -> None:
    try:
        connection.connect()
    except ConnectionRefusedError as error:
        raise NotSent from error


def answered(status: int, body: bytes) -> bytes:
    """The body of a success."""
    if status == 404:
        raise Missing
    if status == 412:
        raise Refused
    if status in (409, 429, 500, 502, 503, 504):
        raise Unanswered(f"{status} {body[:200]!r}")
    assert status in (200, 204), f"{status} {body[:500]!r}"
    return body
