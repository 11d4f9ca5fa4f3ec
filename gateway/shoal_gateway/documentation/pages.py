"""`/-/openapi.json`, `/-/openapi.yaml` and `/-/docs`: Swagger UI from its PyPI package, nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import swagger_ui_bundle
import yaml
from fastapi import APIRouter, Response
from fastapi.routing import APIRoute

from shoal_core.errors import NotFound
from shoal_gateway.call import Call
from shoal_gateway.documentation.openapi import Json, openapi
from shoal_gateway.permissions import DOCS, DOCS_FILE, OPENAPI_JSON, OPENAPI_YAML
from shoal_gateway.rest.actions import ActionMessage
from shoal_gateway.rest.answers import Anything
from shoal_gateway.rest.dispatch import add_route
from shoal_gateway.rest.documented import Documentation, documented

ASSETS = Path(swagger_ui_bundle.swagger_ui_path)
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".png": "image/png"}
SERVED = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png", "start.js")
START = """window.onload = () => SwaggerUIBundle({
  url: "/-/openapi.json", dom_id: "#shown", deepLinking: true, docExpansion: "none", showExtensions: true,
});"""
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Shoal: API</title>
<link rel="stylesheet" href="/-/docs/swagger-ui.css"><link rel="icon" href="/-/docs/favicon-32x32.png"></head>
<body><div id="shown"></div>
<script src="/-/docs/swagger-ui-bundle.js"></script><script src="/-/docs/start.js"></script></body>
</html>"""
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


def add_documentation_routes(router: APIRouter) -> None:
    """After all others: it tells of the routes that are there."""
    pages = DocumentationRoutes(router)
    for template, handler in (
        (OPENAPI_JSON, pages.json),
        (OPENAPI_YAML, pages.yaml),
        (DOCS, pages.page),
        (DOCS_FILE, pages.file),
    ):
        add_route(router, "GET", template, handlers={"": handler})


class DocumentationRoutes:
    """Made at the first request for it, and kept."""

    def __init__(self, router: APIRouter) -> None:
        self._router = router

    @cache  # noqa: B019  # one object a process
    def document(self) -> Json:
        return openapi(route for route in self._router.routes if isinstance(route, APIRoute))

    @documented(Documentation("Return this API as OpenAPI 3.1.", answer="JSON.", body=Anything))
    async def json(self, _call: Call, _message: ActionMessage) -> Response:
        return Response(msgspec.json.encode(self.document()), media_type="application/json")

    @documented(Documentation("Return this API as OpenAPI 3.1.", answer="YAML.", body=bytes))
    async def yaml(self, _call: Call, _message: ActionMessage) -> Response:
        return Response(yaml.safe_dump(self.document(), sort_keys=False), media_type="application/yaml")

    @documented(
        Documentation(
            "Show this API in a browser.", answer="A page; it needs nothing from elsewhere.", body=bytes
        )
    )
    async def page(self, _call: Call, _message: ActionMessage) -> Response:
        return Response(PAGE, media_type="text/html", headers={"content-security-policy": POLICY})

    @documented(
        Documentation(
            "Return a file of that page.",
            answer="A script, a style or an image.",
            body=bytes,
            example_path="/-/docs/start.js",
        )
    )
    async def file(self, call: Call, _message: ActionMessage) -> Response:
        name = call.url_path.rpartition("/")[2]
        if name not in SERVED:
            raise NotFound(f"there is no file {name[:100]!r} here")
        content = START.encode() if name == "start.js" else (ASSETS / name).read_bytes()
        headers = {"cache-control": "max-age=86400"}
        return Response(content, media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)
