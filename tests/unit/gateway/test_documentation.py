"""The documentation that writes itself: complete, valid, and served without anything from elsewhere."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute
from openapi_spec_validator import validate

from shoal_gateway.app import GatewayApplication
from shoal_gateway.documentation.openapi import openapi
from shoal_gateway.documentation.rpcs import documented_rpcs
from shoal_gateway.permissions import ROUTE_PERMISSIONS
from shoal_gateway.s3.documented import S3_DOCUMENTATION
from shoal_gateway.s3.operations import OPERATIONS
from support.asgi import Asking


@pytest.fixture
def document(application: GatewayApplication) -> dict[str, dict[str, dict[str, object]]]:
    return openapi(route for route in application.rest.routes if isinstance(route, APIRoute))


def test_it_is_openapi(document: dict[str, object]) -> None:
    validate(document)


def test_every_route_and_action_is_in_it(document: dict[str, dict[str, dict[str, object]]]) -> None:
    for route in ROUTE_PERMISSIONS:
        path = document["paths"][re.sub(r":[a-z]+\}", "}", route.template)]
        operation = path[route.method.lower()]
        assert isinstance(operation, dict)
        actions = operation.get("x-actions", {"": None})
        assert route.action in actions or "" in operation["summary"], route


def test_every_operation_of_s3_and_every_rpc_is_said_something_of() -> None:
    assert set(S3_DOCUMENTATION) == set(OPERATIONS.values())
    for rpc in documented_rpcs():
        assert len(rpc.comment) > 10, rpc.name


def test_summaries_are_sentences_that_begin_with_a_verb(
    document: dict[str, dict[str, dict[str, object]]],
) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert isinstance(operation, dict)
            summary = operation["summary"]
            assert summary[0].isupper() or ":" in summary, (method, path)


def test_every_field_of_a_message_is_said_something_of(document: dict[str, Any]) -> None:
    all_models = document["components"]["schemas"].items()
    messages = {name: each for name, each in all_models if name.endswith(("Message", "Setting", "Settings"))}
    assert len(messages) > 8
    for name, message in messages.items():
        for field, said in message["properties"].items():
            assert said.get("description"), f"{name}.{field}"


async def test_it_is_served_as_json_and_yaml(ask: Asking) -> None:
    as_json = await ask("GET", "/-/openapi.json")
    as_yaml = await ask("GET", "/-/openapi.yaml")
    assert (as_json.status, as_yaml.status) == (200, 200)
    assert as_yaml.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(as_yaml.body) == json.loads(as_json.body)


async def test_the_page_needs_nothing_from_elsewhere(ask: Asking) -> None:
    page = (await ask("GET", "/-/docs")).body.decode()
    assert "//" not in page.replace("<!doctype", "")
    for file in re.findall(r'(?:src|href)="([^"]+)"', page):
        answer = await ask("GET", file)
        assert answer.status == 200, file
        assert answer.body
    assert (await ask("GET", "/-/docs/../app.py")).status in (404, 501)
    assert (await ask("GET", "/-/docs/index.html")).status == 404
