"""The ASGI application: limits, guard and errors around the object path and FastAPI's routes.

The console will be a further branch of `GatewayApplication`.
"""

from __future__ import annotations

import time
from urllib.parse import unquote

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from shoal_archive.archives import Archives
from shoal_core.access import Principal
from shoal_core.errors import ShoalError, TooBusy
from shoal_core.load import Places
from shoal_core.s3_keys import DEFAULT_REGION, AccessKeys
from shoal_core.telemetry import get_logger, request_id
from shoal_gateway.call import CALL_KEY, Call, call_of, parse_query
from shoal_gateway.documentation.pages import add_documentation_routes
from shoal_gateway.easy_urls import long_path
from shoal_gateway.exchange import ClientGone, Exchange, Headers
from shoal_gateway.failures import failure_of
from shoal_gateway.guard import LocalGuard
from shoal_gateway.lane.gathering import BodyMemory
from shoal_gateway.lane.lane import FastLane
from shoal_gateway.lane.requests import BODY_BYTES_MAX
from shoal_gateway.lane.turn import Turn
from shoal_gateway.metrics import IN_FLIGHT, LaneTally, count
from shoal_gateway.parts import Parts
from shoal_gateway.redirecting import Redirecting, take_query
from shoal_gateway.rest.administration import add_administration_routes
from shoal_gateway.rest.batch import PREFIX as BATCH_PREFIX, BatchRoutes
from shoal_gateway.rest.buckets import add_bucket_routes
from shoal_gateway.rest.cluster import add_cluster_routes
from shoal_gateway.rest.errors import answer_to
from shoal_gateway.rest.mountpaths import add_mountpath_routes
from shoal_gateway.rest.nodes import add_node_routes
from shoal_gateway.rest.objects import PREFIX as OBJECT_PREFIX, ObjectRoutes
from shoal_gateway.s3.face import S3Face, is_s3, s3_failure
from shoal_gateway.transcode.face import PREFIX as JSON_PREFIX, JsonFace, json_failure

ABORT_KEY = "shoal.abort"
TAKE_BODY_KEY = "shoal.take_body"
SEND_PIECES_KEY = "shoal.send_pieces"
UNSENT_KEY = "shoal.unsent"
REST_KEY = "shoal.rest"
CROWD_KEY = "shoal.crowd"
FAILED_KEY = "shoal.failed"
"""Where our HTTP protocol puts its functions, of which the first cuts the connection and the last lets it rest, the
limit on connections if this one is above it, and how the request failed on the fast lane if it must not be repeated."""


ALWAYS_ANSWERED = frozenset({b"/v1/health", b"/-/metrics"})
"""A worker that is busy must not be taken for a dead one."""
REQUEST_BYTES = 64 << 10
ANSWER_BYTES = 2 << 20
"""A piece that waits for the client, and the next one."""
BODY_BYTES = 4 << 20
BODY_COPIES = 3
"""Of a piece of a body, which is received, hashed and written beside each other."""
BATCH_BYTES = 10 << 20


class GatewayApplication:
    """Everything that is answered on the HTTP port."""

    def __init__(
        self,
        parts: Parts,
        guard: LocalGuard,
        *,
        requests_max: int,
        request_bytes_max: int = 0,
        idle_timeout_seconds: float,
        keys: AccessKeys | None = None,
        region: str = DEFAULT_REGION,
        redirecting: Redirecting | None = None,
    ) -> None:
        self._parts = parts
        self._guard = guard
        self._redirecting = redirecting or Redirecting(parts.cluster_map, host_id=parts.host_id)
        archives = Archives(parts.objects)
        self._objects = ObjectRoutes(parts, self._redirecting, archives)
        self._batches = BatchRoutes(parts, archives)
        keys = keys or AccessKeys()
        self.lane = FastLane(parts, guard, keys=keys, region=region)
        self.lane_tally = LaneTally()
        self.lane_turn = Turn()
        self.body_memory = BodyMemory(BODY_BYTES_MAX)
        self.s3 = S3Face(parts, keys=keys, region=region)
        self.json = JsonFace(parts.proxy, load=parts.load)
        self.rest = rest_application(parts, archives)
        bytes_max = request_bytes_max or parts.load.share_bytes
        self.places = Places("http-requests", requests_max, load=parts.load, bytes_max=bytes_max)
        self.idle_timeout_seconds = idle_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "uvicorn is configured without lifespan and websockets"
        began = time.perf_counter()
        call = Call.of(scope, node=self._parts.node_id)
        request_id.set(call.request_id)
        exchange = Exchange(
            call,
            receive,
            send,
            idle_timeout_seconds=self.idle_timeout_seconds,
            take_body=scope.get(TAKE_BODY_KEY),
            send_pieces=scope.get(SEND_PIECES_KEY),
            unsent=scope.get(UNSENT_KEY),
        )
        surface = surface_of(call.raw_path)
        if surface == "s3":
            surface = self._surface_meant(call, scope)
        try:
            await self._serve(call, scope, exchange, surface)
        except Exception as error:
            await self._fail(error, scope, exchange, surface)
        finally:
            count(surface, call.method, exchange.status, seconds=time.perf_counter() - began)

    async def _serve(self, call: Call, scope: Scope, exchange: Exchange, surface: str) -> None:
        if (limit := scope.get(CROWD_KEY)) is not None:
            exchange.common_headers.append((b"connection", b"close"))
            raise limit.refusal(f"this gateway worker has {limit.most} connections, all busy: repeat shortly")
        if (failed := scope.get(FAILED_KEY)) is not None:
            raise failed
        if call.raw_path in ALWAYS_ANSWERED:
            return await self._answer(call, scope, exchange, surface)
        bytes_held = bytes_held_by(call, surface)
        self.places.take(bytes_held, what="requests of this gateway worker")
        IN_FLIGHT.inc()
        try:
            await self._answer(call, scope, exchange, surface)
        finally:
            self.places.give_back(bytes_held)
            IN_FLIGHT.dec()

    async def _answer(self, call: Call, scope: Scope, exchange: Exchange, surface: str) -> None:
        if surface == "json":
            call.principal = self._guard.authenticate(scope)
            await self.json(call, scope, exchange)
            return
        if surface == "s3":
            call.query = parse_query(call.raw_query)
            self._guard.admit(scope)
            await self.s3(call, scope, exchange)
            return
        call.principal = self._caller(call, scope)
        if surface == "objects":
            await self._objects(call, exchange)
        elif surface == "batch":
            await self._batches(call, exchange)
        else:
            scope[CALL_KEY] = call
            await self.rest(scope, exchange.receive, exchange.send)

    def _surface_meant(self, call: Call, scope: Scope) -> str:
        """A short path of AIStore's becomes the long one, for all who look at the request from now on."""
        signed = call.headers.get("authorization", "").startswith("AWS")
        meant = long_path(call.raw_path, call.raw_query, signed=signed, buckets=self._parts.buckets.list)
        if meant is None:
            return "s3"
        call.raw_path, call.raw_query = meant
        scope["raw_path"], scope["query_string"] = meant
        scope["path"] = unquote(call.url_path)
        return surface_of(call.raw_path)

    def _caller(self, call: Call, scope: Scope) -> Principal:
        """A redirect proves whom another gateway authenticated, not that this client may talk to us."""
        token = take_query(call)
        if token is None:
            return self._guard.authenticate(scope)
        self._guard.admit(scope)
        return self._redirecting.caller(call, token)

    @property
    def has_room(self) -> bool:
        """Whether one more small request may be served."""
        return self.places.has_room

    def has_room_for(self, bytes_held: int) -> bool:
        """Whether one that holds so much memory may."""
        return self.places.has_room_for(bytes_held)

    def enter(self, bytes_held: int = 0) -> None:
        self.places.taken += 1
        self.places.bytes_taken += bytes_held
        IN_FLIGHT.inc()

    def leave(self, bytes_held: int = 0) -> None:
        self.places.give_back(bytes_held)
        IN_FLIGHT.dec()

    async def _fail(self, error: Exception, scope: Scope, exchange: Exchange, surface: str) -> None:
        call = exchange.call
        if isinstance(error, ClientGone):
            get_logger().info("client-gone", method=call.method, path=call.url_path)
        if not exchange.started:
            await exchange.answer(*FAILURES.get(surface, rest_failure)(error, call))
            if isinstance(error, TooBusy) and (rest := scope.get(REST_KEY)) is not None:
                rest()
            return
        # Half an answer is out: only a cut connection tells the client that the rest is missing.
        get_logger().warning("answer-cut", path=call.url_path, kind=type(error).__name__)
        abort = scope.get(ABORT_KEY)
        if abort is None:
            raise error
        abort()


def bytes_held_by(call: Call, surface: str) -> int:
    """How much memory serving it takes at most, in the ordinary case, so that all together stay within a bound."""
    if surface == "batch":
        return BATCH_BYTES
    if call.method == "GET":
        return ANSWER_BYTES
    length = call.headers.get("content-length", "0")
    if "transfer-encoding" in call.headers or not length.isdigit():
        return BODY_BYTES
    return REQUEST_BYTES + min(BODY_BYTES, BODY_COPIES * int(length[:19]))


def surface_of(raw_path: bytes) -> str:
    """Which face of the port a path belongs to."""
    if raw_path.startswith(OBJECT_PREFIX):
        return "objects"
    if raw_path.startswith(JSON_PREFIX):
        return "json"
    if raw_path.startswith(BATCH_PREFIX) and raw_path[len(BATCH_PREFIX) :][:1] in (b"", b"/"):
        return "batch"
    return "s3" if is_s3(raw_path) else "rest"


def rest_failure(error: Exception, call: Call) -> tuple[int, Headers, bytes]:
    answer = answer_to(failure_of(error, call), call)
    return answer.status, answer.headers, answer.body


FAILURES = {"s3": s3_failure, "json": json_failure}
"""What each face makes of a failed call; all others as AIStore."""


def rest_application(parts: Parts, archives: Archives) -> FastAPI:
    """FastAPI with our errors. Its own documentation pages load scripts from elsewhere, so they are off."""
    application = FastAPI(
        title="Shoal gateway", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    add_routes(application.router, parts, archives)
    for kind in (ShoalError, HTTPException, Exception):
        application.add_exception_handler(kind, error_response)
    return application


def add_routes(router: APIRouter, parts: Parts, archives: Archives) -> None:
    add_bucket_routes(router, parts, archives)
    add_cluster_routes(router, parts)
    add_node_routes(router, parts)
    add_administration_routes(router, parts)
    add_mountpath_routes(router, parts)
    add_documentation_routes(router)


async def error_response(request: Request, error: Exception) -> Response:
    call = call_of(request.scope)
    answer = answer_to(failure_of(error, call), call)
    response = Response(answer.body, answer.status)
    for name, value in answer.headers:
        response.headers[name.decode()] = value.decode("latin-1")
    return response
