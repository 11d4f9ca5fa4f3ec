"""Everything that the HTTP port answers, with what is said of it beside its handler."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastapi.routing import APIRoute

from shoal_gateway.permissions import BATCH, OBJECT, OBJECTS, Route, permission_of
from shoal_gateway.rest.batch import BATCH_DOCUMENTATION
from shoal_gateway.rest.dispatch import ACTION_IN_QUERY, Handler
from shoal_gateway.rest.documented import Documentation, documentation_of
from shoal_gateway.rest.objects import OBJECT_DOCUMENTATION
from shoal_gateway.rest.promoting import PROMOTE, PROMOTE_DOCUMENTATION

PATH_CONVERTER = re.compile(r":[a-z]+\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; with actions, when messages or the query tell several operations apart."""

    method: str
    path: str
    actions: Mapping[str, Documentation]
    """By action; "" for a route that has none."""
    action_in_query: bool
    """The action is the query's `what`, and not the message's `action`."""

    def permission(self, action: str, template: str) -> str:
        return permission_of(Route(self.method, template, action)).name or "none"


class NotDocumented(Exception):
    """A handler of which nothing is said."""


def operations(routes: list[APIRoute]) -> Iterator[Operation]:
    """In the order of the router; then the paths that do not go through it. Raises NotDocumented."""
    for route in routes:
        handlers: Mapping[str, Handler] = getattr(route.endpoint, "handlers", {})
        said = {action: said_of(handler, route, action) for action, handler in handlers.items()}
        for method in sorted(route.methods or ()):
            if said:
                in_query = getattr(route.endpoint, "action_in", "") == ACTION_IN_QUERY
                yield Operation(method, plain_path(route.path), said, in_query)
    by_method: dict[str, dict[str, Documentation]] = {}
    for (method, action), documentation in OBJECT_DOCUMENTATION.items():
        by_method.setdefault(method, {})[action] = documentation
    for method, actions in by_method.items():
        yield Operation(method, OBJECT, actions, False)
    yield Operation("POST", OBJECTS, {PROMOTE: PROMOTE_DOCUMENTATION}, False)
    yield Operation("GET", BATCH, {"": BATCH_DOCUMENTATION}, False)


def said_of(handler: Handler, route: APIRoute, action: str) -> Documentation:
    documentation = documentation_of(handler)
    if documentation is None:
        raise NotDocumented(
            f"{sorted(route.methods or ())} {route.path} {action!r}: say something of its handler"
        )
    return documentation


def plain_path(template: str) -> str:
    """As OpenAPI writes it."""
    return PATH_CONVERTER.sub("}", template)
