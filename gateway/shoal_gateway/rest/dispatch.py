"""FastAPI's side of the permission table: no handler runs before its action has been looked up there."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from fastapi import APIRouter, Request, Response

from shoal_core.access import authorize
from shoal_core.errors import InvalidArgument
from shoal_gateway.call import Call, call_of
from shoal_gateway.permissions import Route, permission_of, require_built
from shoal_gateway.rest.actions import ActionMessage, decode_action

ACTION_BYTES_MAX = 1 << 20

ACTION_IN_QUERY = "query"

Handler = Callable[[Call, ActionMessage], Awaitable[Response]]


def add_route(
    router: APIRouter,
    method: str,
    template: str,
    *,
    handlers: Mapping[str, Handler],
    action_of: Callable[[Request, ActionMessage], str] | None = None,
    bucket_of: Callable[[Call, Request, str], None] | None = None,
) -> None:
    """Serve `method template`; `handlers` is keyed by action ("" where the route has none).

    `action_of` says where the action stands; `bucket_of` fills in the bucket that the path names.
    """

    async def endpoint(request: Request) -> Response:
        call = call_of(request.scope)
        message = decode_action(await limited_body(request)) if action_of else ActionMessage()
        action = action_of(request, message) if action_of else ""
        if bucket_of is not None:
            bucket_of(call, request, action)
        route = Route(method, template, action)
        authorize(call.principal, permission_of(route), call.bucket)
        require_built(route)
        return await handlers[action](call, message)

    router.add_api_route(template, endpoint, methods=[method], response_class=Response)
    endpoint.__setattr__("actions", tuple(handlers))
    endpoint.__setattr__("handlers", handlers)
    endpoint.__setattr__("action_in", ACTION_IN_QUERY if action_of is action_of_query else "message")


def action_of_body(request: Request, message: ActionMessage) -> str:
    """A GET without a message lists, so that curl can."""
    if not message.action and request.method == "GET":
        return "list"
    if not message.action:
        raise InvalidArgument('the request has no action: send JSON such as {"action":"create-bck"}')
    return message.action


def action_of_query(request: Request, _message: ActionMessage) -> str:
    what = request.query_params.get("what", "")
    if not what:
        raise InvalidArgument("the query has no field `what`: say what you want, such as what=smap")
    return what


async def limited_body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > ACTION_BYTES_MAX:
            raise InvalidArgument(f"the action message is longer than {ACTION_BYTES_MAX} bytes")
    return bytes(body)


def json_answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode(value)
    return Response(body, status, headers=dict(headers or {}), media_type="application/json")


def json_header(value: object) -> str:
    """Headers are ASCII: everything else is escaped."""
    return json.dumps(value, separators=(",", ":"))
