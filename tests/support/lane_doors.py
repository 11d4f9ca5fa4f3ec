"""A gateway on a real socket, with the fast lane or without, and a client that keeps all it hears."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shoal_core.access import LOCAL_ADMINISTRATOR
from shoal_core.cluster_map import ClusterMap, Member, MemberRole
from shoal_core.rpc import Channels
from shoal_core.s3_keys import AccessKey, AccessKeys
from shoal_gateway.app import GatewayApplication
from shoal_gateway.control import Proxies
from shoal_gateway.guard import LocalGuard
from shoal_gateway.http_server import HttpServer, listening_socket
from shoal_gateway.lane.lane import FastLane, Headers, LaneAnswer, LanePut
from shoal_gateway.lane.requests import LaneRequest
from shoal_gateway.parts import Parts
from shoal_store.local import LocalObjectStore
from support.lane_requests import Signed
from support.memory_buckets import MemoryBuckets
from support.s3_signing import ACCESS_KEY, REGION, SECRET

SECONDS_MAX = 10
OK = b"HTTP/1.1 200 OK"
TURNS_BETWEEN = 6
"""Of the event loop, between two packets: the first is answered before a second comes to a closed connection."""
VARYING = (
    (re.compile(rb'"remote_addr":"[^"]*"'), b'"remote_addr":""'),
    (re.compile(rb"<RequestId>[^<]*</RequestId>"), b"<RequestId/>"),
    # Errors name the age of a signature to no more than the second that they were looked at.
    (re.compile(rb"<ServerTime>[^<]*</ServerTime>"), b"<ServerTime/>"),
    (re.compile(rb"<LastModified>[^<]*</LastModified>"), b"<LastModified/>"),
)


class CountingLane(FastLane):
    """Knows how many requests took the lane."""

    taken = 0

    def answer(self, data: bytes, *, peer: str, common: Headers) -> LaneAnswer | None:
        answer = super().answer(data, peer=peer, common=common)
        self.taken += answer is not None
        return answer

    def put(self, request: LaneRequest) -> LanePut | None:
        begun = super().put(request)
        self.taken += begun is not None
        return begun


@dataclass(frozen=True)
class Outcome:
    """One answer, without what differs between any two answers."""

    status: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


@dataclass
class Door:
    """One server of the two, and a connection to it that is kept as long as it lasts."""

    port: int
    lane: CountingLane
    server: HttpServer
    application: GatewayApplication
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None)

    async def ask(self, requests: Sequence[Signed], cuts: Sequence[int]) -> list[Outcome]:
        """All requests at once, in packets cut at `cuts`; fewer outcomes when the connection ended early."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        data = b"".join(request.encoded() for request in requests)
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[start:end])
            for _ in range(TURNS_BETWEEN if cuts else 0):
                await asyncio.sleep(0)
        outcomes = []
        try:
            async with asyncio.timeout(SECONDS_MAX):
                for request in requests:
                    outcomes.append(await outcome(reader, is_head=request.method == "HEAD"))
                    if (b"connection", b"close") in outcomes[-1].headers:
                        await self.close()
                        return outcomes
        except (asyncio.IncompleteReadError, ConnectionError):
            outcomes.append(Outcome(b"HTTP/1.1 closed"))
            await self.close()
        except TimeoutError:
            outcomes.append(Outcome(b"HTTP/1.1 silence"))
            await self.close()
        return outcomes

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
            await asyncio.sleep(0)


def get_of(name: str) -> bytes:
    """A plain request, through AIStore's API."""
    return f"GET /v1/objects/lane/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def put_of(name: str, body: bytes) -> bytes:
    head = f"PUT /v1/objects/lane/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def connection(to: Door) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Cut off at the end, with whatever is under way on it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", to.port, limit=1 << 16)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def outcome(reader: asyncio.StreamReader, *, is_head: bool) -> Outcome:
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100 "):
        head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head[:-4].split(b"\r\n")
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    found = dict(headers)
    length = (
        0 if is_head or status.split()[1] in (b"304", b"204") else int(found.get(b"content-length", b"0"))
    )
    body = await reader.readexactly(length)
    for pattern, fixed in VARYING:
        body = pattern.sub(fixed, body)
    errors = b"content-type" in found and status.split()[1] >= b"400"
    varying = {b"date", b"x-request-id", b"x-amz-request-id", b"hdr-error"} | (
        {b"content-length"} if errors else set()
    )
    return Outcome(status, tuple((name, value) for name, value in headers if name not in varying), body)


@asynccontextmanager
async def door(
    parts: Parts, *, fast_lane: bool = True, requests_max: int = 8, idle_timeout_seconds: float = 5
) -> AsyncIterator[Door]:
    listener = listening_socket("127.0.0.1:0")
    port = listener.getsockname()[1]
    guard = LocalGuard(port=port)
    keys = AccessKeys([AccessKey(ACCESS_KEY, SECRET.encode(), LOCAL_ADMINISTRATOR)])
    application = GatewayApplication(
        parts,
        guard,
        requests_max=requests_max,
        idle_timeout_seconds=idle_timeout_seconds,
        keys=keys,
        region=REGION,
    )
    lane = CountingLane(parts, guard, keys=keys, region=REGION)
    application.lane = lane
    started = asyncio.Event()
    server = HttpServer(application, listener, on_started=started.set, fast_lane=fast_lane)
    running = asyncio.create_task(server.run_until_stopped())
    await started.wait()
    found = Door(port, lane, server, application)
    try:
        yield found
    finally:
        await found.close()
        server.stop()
        await running


def parts_of(store: LocalObjectStore, buckets: MemoryBuckets) -> Parts:
    members = (Member("t1", MemberRole.TARGET, alive=True, weight=1.0),)
    cluster = ClusterMap("test-cluster", 17, 1, members, 1_700_000_000_000_000_000)
    return Parts(
        store,
        buckets,
        buckets,
        lambda: cluster,
        node_id="g1",
        host_id="here",
        proxy=Proxies(Channels(None), lambda: cluster).choose,
        local_store=lambda _name: store,
    )
