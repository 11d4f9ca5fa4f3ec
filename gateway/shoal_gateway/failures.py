"""From any exception to the error that the client is told; logged here, once, if it deserves a look."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from shoal_core.errors import (
    DataCorrupt,
    InternalError,
    InvalidArgument,
    NotFound,
    NotImplementedYet,
    OutOfSpace,
    ShoalError,
    Unavailable,
)
from shoal_core.telemetry import get_logger
from shoal_gateway.call import Call
from shoal_gateway.permissions import NOT_BUILT_METHODS, NOT_BUILT_PATHS
from shoal_gateway.rest.errors import MethodNotAllowed

LOGGED = (Unavailable, DataCorrupt, OutOfSpace)
"""Refusals of what is too much are counted and told of by `shoal_core.load`."""


def failure_of(error: Exception, call: Call) -> ShoalError:
    """What `error` means to the client. Nothing of an unexpected one is shown."""
    if isinstance(error, HTTPException):
        return failure_of_route(error, call)
    if not isinstance(error, ShoalError):
        get_logger().error("internal-error", method=call.method, path=call.url_path, exc_info=error)
        return InternalError(f"internal error, request id {call.request_id}: please report it")
    if isinstance(error, InternalError):
        get_logger().error("internal-error", method=call.method, path=call.url_path, exc_info=error)
    elif isinstance(error, LOGGED):
        get_logger().warning(
            "request-failed", method=call.method, path=call.url_path, kind=type(error).__name__,
            message=error.message,
        )  # fmt: skip
    return error


def failure_of_route(error: HTTPException, call: Call) -> ShoalError:
    """FastAPI found no route, or none for the method."""
    path = call.url_path
    if error.status_code == 405 and (what := NOT_BUILT_METHODS.get((call.method, path))):
        return not_built(what, call)
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(f"{call.method} is not a method of {path}; use {allow}", allow=allow)
    if error.status_code != 404:
        return InvalidArgument(str(error.detail))
    for beginning, what in NOT_BUILT_PATHS.items():
        if path.startswith(beginning):
            return not_built(what, call)
    return NotFound(f"there is nothing at {path}: AIStore's API is under /v1/")


def not_built(what: str, call: Call) -> NotImplementedYet:
    return NotImplementedYet(
        f"{what} is not built yet in this version of Shoal ({call.method} {call.url_path})"
    )
