"""The matrix of routes and actions: what the router serves is listed, and what is listed is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from shoal_core.access import NO_PERMISSIONS, Permission, Principal
from shoal_core.errors import InvalidArgument, NotImplementedYet, PermissionDenied
from shoal_gateway.app import GatewayApplication, surface_of
from shoal_gateway.permissions import (
    BATCH,
    NOT_BUILT,
    OBJECT,
    OBJECTS,
    ROUTE_PERMISSIONS,
    Route,
    permission_of,
    require_built,
)
from shoal_gateway.rest.objects import ACTIONS, BUCKET_ACTIONS, METHODS
from support.asgi import Asking


def served(application: GatewayApplication) -> set[Route]:
    """Every route and action with a handler, as the router and the object path have them."""
    found = {Route(method, OBJECT) for method in ("GET", "HEAD", "PUT", "DELETE")}
    found |= {Route(method, OBJECT, action) for method, action in ACTIONS}
    found |= {Route(method, OBJECTS, action) for method, action in BUCKET_ACTIONS}
    found |= {Route("GET", BATCH)}
    for route in application.rest.routes:
        assert isinstance(route, APIRoute), f"{route} is not behind the permission table"
        actions = getattr(route.endpoint, "actions", None)
        assert actions is not None, f"{route.path} is not behind the permission table"
        found |= {Route(method, route.path, action) for method in route.methods or () for action in actions}
    return found


def test_every_route_and_action_is_listed_and_no_other(application: GatewayApplication) -> None:
    assert served(application) == set(ROUTE_PERMISSIONS)


def test_what_is_not_built_is_not_served_as_well(application: GatewayApplication) -> None:
    assert not set(NOT_BUILT) & set(ROUTE_PERMISSIONS)


def test_only_health_is_open_to_everybody() -> None:
    free = {route for route, permission in ROUTE_PERMISSIONS.items() if not permission}
    assert free == {Route("GET", "/v1/health")}


def test_every_method_of_the_object_path_is_listed() -> None:
    for method in METHODS:
        assert permission_of(Route(method, OBJECT))


def test_the_path_of_batches_is_served_by_its_own_handler() -> None:
    assert surface_of(BATCH.encode()) == surface_of(f"{BATCH}/bucket".encode()) == "batch"
    assert surface_of(f"{BATCH}es".encode()) == "rest"


def test_unlisted_routes_and_actions_are_refused() -> None:
    with pytest.raises(PermissionDenied):
        permission_of(Route("GET", "/v1/secret"))
    with pytest.raises(InvalidArgument):
        permission_of(Route("POST", "/v1/buckets/{bucket:path}", "nonsense"))


def test_what_is_not_built_says_so() -> None:
    with pytest.raises(NotImplementedYet, match="etl-bck"):
        require_built(Route("POST", "/v1/buckets/{bucket:path}", "etl-bck"))


READER = Principal("reader", "user", "guest", Permission.GET)
NOBODY = Principal("nobody", "user", "guest", NO_PERMISSIONS)


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("PUT", "/v1/objects/b/o", ""),
        ("DELETE", "/v1/objects/b/o", ""),
        ("HEAD", "/v1/objects/b/o", ""),
        ("GET", "/v1/buckets", "list"),
        ("GET", "/v1/buckets/b", "list"),
        ("POST", "/v1/buckets/c", "create-bck"),
        ("DELETE", "/v1/buckets/b", "destroy-bck"),
        ("POST", "/v1/buckets/b", "etl-bck"),
        ("GET", "/v1/daemon?what=smap", ""),
    ],
)
async def test_a_principal_without_the_permission_gets_403(
    ask_as: dict[str, Asking], method: str, path: str, action: str
) -> None:
    json_body = {"action": action} if action else None
    assert (await ask_as["reader"](method, path, json_body=json_body)).status == 403


async def test_a_principal_with_the_permission_is_let_through(ask_as: dict[str, Asking]) -> None:
    assert (await ask_as["reader"]("GET", "/v1/objects/b/o")).status == 404
    assert (await ask_as["nobody"]("GET", "/v1/objects/b/o")).status == 403


def test_what_is_not_built_is_on_the_page_of_what_is_missing() -> None:
    page = (Path(__file__).parents[3] / "docs" / "missing.md").read_text()
    for route in NOT_BUILT:
        assert not route.action or f"`{route.action}`" in page, route
