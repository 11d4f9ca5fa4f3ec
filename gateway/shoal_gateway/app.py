"""The ASGI application: limits, guard and errors around the object path and FastAPI's routes.

S3 under `/s3` and at the root, JSON transcoding and the console will be further branches of
`GatewayApplication`.
"""

from __future__ import annotations

import time

from fastapi import FastAPI, Request, Response
from prometheus_client import Counter, Gauge, Histogram
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from shoal_core.errors import ShoalError, TooBusy
from shoal_core.telemetry import get_logger, request_id
from shoal_gateway.call import CALL_KEY, Call, call_of, parse_query
from shoal_gateway.exchange import ClientGone, Exchange
from shoal_gateway.failures import failure_of
from shoal_gateway.guard import LocalGuard
from shoal_gateway.parts import Parts
from shoal_gateway.rest.buckets import add_bucket_routes
from shoal_gateway.rest.cluster import add_cluster_routes
from shoal_gateway.rest.errors import answer_to
from shoal_gateway.rest.objects import PREFIX as OBJECT_PREFIX, ObjectRoutes

ABORT_KEY = "shoal.abort"
"""Where our HTTP protocol puts a function that cuts the connection."""

REQUESTS = Counter("shoal_http_requests_total", "Requests answered", ["surface", "method", "status"])
SECONDS = Histogram("shoal_http_seconds", "Time from a request's headers to its end", ["surface", "method"])
IN_FLIGHT = Gauge("shoal_http_in_flight", "Requests being served", multiprocess_mode="livesum")
KNOWN_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"})


class GatewayApplication:
    """Everything that is answered on the HTTP port."""

    def __init__(
        self, parts: Parts, guard: LocalGuard, *, requests_max: int, idle_timeout_seconds: float
    ) -> None:
        self._parts = parts
        self._guard = guard
        self._objects = ObjectRoutes(parts)
        self.rest = rest_application(parts)
        self._requests_max = requests_max
        self._idle_timeout_seconds = idle_timeout_seconds
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "uvicorn is configured without lifespan and websockets"
        began = time.perf_counter()
        call = Call.of(scope, node=self._parts.node_id)
        request_id.set(call.request_id)
        exchange = Exchange(call, receive, send, idle_timeout_seconds=self._idle_timeout_seconds)
        is_object = call.raw_path.startswith(OBJECT_PREFIX)
        try:
            await self._serve(call, scope, exchange, is_object=is_object)
        except Exception as error:
            await self._fail(error, scope, exchange)
        finally:
            surface = "objects" if is_object else "rest"
            method = call.method if call.method in KNOWN_METHODS else "other"
            REQUESTS.labels(surface, method, exchange.status).inc()
            SECONDS.labels(surface, method).observe(time.perf_counter() - began)

    async def _serve(self, call: Call, scope: Scope, exchange: Exchange, *, is_object: bool) -> None:
        if self._running >= self._requests_max:
            raise TooBusy(f"this gateway worker serves {self._requests_max} requests already: repeat shortly")
        self._running += 1
        IN_FLIGHT.inc()
        try:
            call.principal = self._guard.authenticate(scope)
            call.query = parse_query(scope["query_string"])
            if is_object:
                await self._objects(call, exchange)
            else:
                scope[CALL_KEY] = call
                await self.rest(scope, exchange.receive, exchange.send)
        finally:
            self._running -= 1
            IN_FLIGHT.dec()

    async def _fail(self, error: Exception, scope: Scope, exchange: Exchange) -> None:
        call = exchange.call
        if isinstance(error, ClientGone):
            get_logger().info("client-gone", method=call.method, path=call.url_path)
        failure = failure_of(error, call)
        if not exchange.started:
            answer = answer_to(failure, call)
            await exchange.answer(answer.status, answer.headers, answer.body)
            return
        # Half an answer is out: only a cut connection tells the client that the rest is missing.
        get_logger().warning("answer-cut", path=call.url_path, kind=type(failure).__name__)
        abort = scope.get(ABORT_KEY)
        if abort is None:
            raise error
        abort()


def rest_application(parts: Parts) -> FastAPI:
    """FastAPI with our errors. Its documentation pages load scripts from elsewhere, so they are off."""
    application = FastAPI(
        title="Shoal gateway", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    add_bucket_routes(application.router, parts)
    add_cluster_routes(application.router, parts)
    for kind in (ShoalError, HTTPException, Exception):
        application.add_exception_handler(kind, error_response)
    return application


async def error_response(request: Request, error: Exception) -> Response:
    call = call_of(request.scope)
    answer = answer_to(failure_of(error, call), call)
    response = Response(answer.body, answer.status)
    for name, value in answer.headers:
        response.headers[name.decode()] = value.decode("latin-1")
    return response
