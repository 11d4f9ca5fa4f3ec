"""OpenAPI 3.1 of the HTTP port: AIStore's REST routes with their actions, S3's operations, and the gRPC API as JSON.

OpenAPI knows one body for a method and path, AIStore many actions: each has its own payload model under the vendor
extension `x-actions`, and the body's schema is one of all their messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, TypeAlias

import msgspec
from fastapi.routing import APIRoute

from shoal_gateway.documentation.examples import body_of
from shoal_gateway.documentation.fields import models_in, texts_of
from shoal_gateway.documentation.operations import Operation, operations
from shoal_gateway.documentation.rpcs import documented_rpcs
from shoal_gateway.permissions import BUCKET, Route, permission_of
from shoal_gateway.rest.documented import Documentation
from shoal_gateway.s3.documented import S3_DOCUMENTATION, XML, Document, S3Documentation
from shoal_gateway.s3.operations import OPERATIONS, Level

Json: TypeAlias = dict[str, Any]

S3_PATHS = {Level.SERVICE: "/s3", Level.BUCKET: "/s3/{bucket}", Level.OBJECT: "/s3/{bucket}/{key}"}
REFERENCE_PARAMETERS = ("provider", "namespace")
TEMPLATES = {BUCKET.replace(":path", ""): BUCKET}
"""Paths as OpenAPI writes them, and as the table of permissions does."""
_PLACEHOLDER = re.compile(r"\{([a-z_.]+)(?:=[^}]*)?\}")
DESCRIPTION = """One port, three faces: AIStore's REST API under `/v1`, S3 at the root and under `/s3`, and the gRPC API
as JSON under `/-/api`. Errors of `/v1` are AIStore's JSON; of S3 its XML; of `/-/api` `google.rpc.Status`."""


def openapi(routes: Iterable[APIRoute]) -> Json:
    """The document. Raises NotDocumented."""
    components: Json = {}
    paths: dict[str, Json] = {}
    for operation in operations(list(routes)):
        paths.setdefault(operation.path, {})[operation.method.lower()] = shown(operation, components)
    add_s3(paths)
    for rpc in documented_rpcs():
        paths.setdefault(rpc.path, {})[rpc.verb.lower()] = rpc.shown()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shoal", "version": version("shoal"), "description": DESCRIPTION},
        "tags": [
            {"name": "AIStore REST", "description": "What the official SDK and CLI use."},
            {"name": "S3", "description": "Answers of errors and lists are XML."},
            {"name": "JSON of gRPC", "description": "Every RPC that is not an upload."},
        ],
        "paths": paths,
        "components": {"schemas": components | {"Error": ERROR_SCHEMA}},
    }


ERROR_SCHEMA: Json = {
    "type": "object",
    "description": "AIStore's error.",
    "properties": {
        "status": {"type": "integer", "description": "HTTP status."},
        "message": {"type": "string", "description": "What failed, why, and what to do."},
        "method": {"type": "string"},
        "url_path": {"type": "string"},
        "remote_addr": {"type": "string"},
        "caller": {"type": "string"},
        "node": {"type": "string", "description": "The process that answered."},
        "tcode": {"type": "string", "description": "Class of the error."},
    },
    "required": ["status", "message"],
}


def shown(operation: Operation, components: Json) -> Json:
    said = list(operation.actions.values())
    plain = operation.actions.get("", said[0]) if len(said) == 1 else None
    found: Json = {
        "operationId": operation_id(operation.method, operation.path),
        "tags": ["AIStore REST"],
        "summary": plain.summary
        if plain
        else " ".join(f"{name}: {each.summary}" for name, each in operation.actions.items()),
        "parameters": parameters(operation),
        "responses": responses(said, components, body=operation.method != "HEAD"),
    }
    if plain and plain.text:
        found["description"] = plain.text
    if actions := {name: each for name, each in operation.actions.items() if name}:
        found["x-actions"] = {
            name: action_shown(operation, name, each, components) for name, each in actions.items()
        }
        if not operation.action_in_query:
            found["requestBody"] = {
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [message_schema(*pair, components) for pair in actions.items()]}
                    }
                }
            }
    elif plain and plain.value is not None:
        found["requestBody"] = {
            "content": {"application/json": {"schema": schema_of(plain.value, components)}}
        }
    return found


def action_shown(operation: Operation, action: str, said: Documentation, components: Json) -> Json:
    template = TEMPLATES.get(operation.path, operation.path)
    permission = permission_of(Route(operation.method, template, action))
    found: Json = {"summary": said.summary, "answer": said.answer, "permission": permission.name or "none"}
    if said.text:
        found["description"] = said.text
    if said.value is not None:
        found["value"] = schema_of(said.value, components)
    if said.example is not None or said.example_name:
        found["example"] = body_of(operation, action, said)
    return found


def message_schema(action: str, said: Documentation, components: Json) -> Json:
    properties: Json = {"action": {"const": action}, "name": {"type": "string"}}
    properties["value"] = schema_of(said.value, components) if said.value else {}
    return {"type": "object", "title": action, "properties": properties, "required": ["action"]}


def schema_of(model: type, components: Json) -> Json:
    (schema,), definitions = msgspec.json.schema_components(
        [model], ref_template="#/components/schemas/{name}"
    )
    for name, kind in models_in(model).items():
        for field, text in texts_of(kind).items():
            definitions[name]["properties"][field]["description"] = text
    components.update(definitions)
    return schema


def parameters(operation: Operation) -> list[Json]:
    found = [in_path(name) for name in _PLACEHOLDER.findall(operation.path)]
    if "bucket" in operation.path or operation.path == "/v1/buckets":
        found += [in_query(name, REFERENCE_TEXTS[name]) for name in REFERENCE_PARAMETERS]
    if operation.action_in_query:
        what = {
            "name": "what",
            "in": "query",
            "required": True,
            "schema": {"enum": sorted(operation.actions)},
        }
        found.append(what | {"description": "What is asked."})
    queries: dict[str, str] = {}
    headers: dict[str, str] = {}
    for said in operation.actions.values():
        queries |= said.query
        headers |= said.headers
    found += [in_query(name, text) for name, text in queries.items()]
    return found + [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in headers.items()
    ]


MEDIA_TYPES: Mapping[type, str] = {str: "text/plain", bytes: "application/octet-stream"}
"""Of answers that are no JSON."""


def add_answer(content: Json, body: type, components: Json) -> None:
    """One more of what a status may come with."""
    media_type = MEDIA_TYPES.get(body, "application/json")
    schema = schema_of(body, components) if media_type == "application/json" else {"type": "string"}
    choices = content.setdefault(media_type, {"schema": {"anyOf": []}})["schema"]["anyOf"]
    if schema not in choices:
        choices.append(schema)


REFERENCE_TEXTS = {
    "provider": "Provider of the bucket: `ais` (default); others come with remote backends.",
    "namespace": "Namespace of the bucket, `@uuid#name` or `#name`; without it the global one.",
}


def in_path(name: str) -> Json:
    texts = {
        "bucket": "Name of the bucket.",
        "name": "Name of the object; may hold slashes.",
        "key": "Key of the object.",
    }
    schema = {"type": "string"}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": texts.get(name, name),
        "schema": schema,
    }


def in_query(name: str, text: str) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}


def responses(said: Iterable[Documentation], components: Json, *, body: bool) -> Json:
    found: Json = {}
    for each in said:
        for status in each.statuses:
            known = found.get(str(status), {}).get("description")
            found[str(status)] = {
                "description": f"{known} {each.answer}"
                if known and each.answer not in known
                else each.answer,
                "content": found.get(str(status), {}).get("content", {}),
            }
            if each.body is not None:
                add_answer(found[str(status)]["content"], each.body, components)
    error: Json = {"description": "What failed."}
    if body:
        error["content"] = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return found | {"default": error}


def add_s3(paths: dict[str, Json]) -> None:
    """One entry a method and path, with the operations that the query or a header tells apart."""
    for (method, level, selector), name in OPERATIONS.items():
        said = S3_DOCUMENTATION[name]
        path = S3_PATHS[level]
        entry = paths.setdefault(path, {}).setdefault(
            method.lower(),
            {
                "operationId": operation_id(method, path),
                "tags": ["S3"],
                "summary": name,
                "parameters": [in_path(each) for each in _PLACEHOLDER.findall(path)],
                "responses": {
                    "200": {"description": "As AWS documents it.", "content": {}},
                    "default": {"description": "S3's error.", "content": {XML: {"schema": S3_ERROR_SCHEMA}}},
                },
                "x-operations": {},
            },
        )
        entry["x-operations"][name] = shown_s3(said) | {"selector": selector or "none of the others"}
        entry["summary"] = ", ".join(entry["x-operations"])
        add_content(entry["responses"]["200"]["content"], said.media_type, said.answer)
        if said.request is not None:
            add_content(entry.setdefault("requestBody", {"content": {}})["content"], XML, said.request)


def add_content(content: Json, media_type: str, document: Document | None) -> None:
    """One more of the bodies that a method and path may have."""
    if media_type:
        schema = content.setdefault(media_type, {})
        if document is not None:
            schema.setdefault("schema", {"anyOf": []})["anyOf"].append(xml_schema(document))


def shown_s3(said: S3Documentation) -> Json:
    found: Json = {"summary": said.summary, "answer": said.media_type or "No body."}
    for name, document in (("requestDocument", said.request), ("answerDocument", said.answer)):
        if document is not None:
            found[name] = document.root
    return found


def xml_schema(document: Document) -> Json:
    properties: Json = {}
    for element in document.elements:
        several = {"type": "array", "items": {}, "description": "Not wrapped: one element each."}
        properties[element.rstrip("*")] = several if element.endswith("*") else {}
    return {
        "type": "object",
        "title": document.root,
        "xml": {"name": document.root},
        "properties": properties,
        "additionalProperties": False,
    }


S3_ERROR_SCHEMA = xml_schema(Document("Error", ("Code", "Message", "Resource", "RequestId")))


def operation_id(method: str, path: str) -> str:
    return f"{method.lower()}_{re.sub('[^a-z0-9]+', '_', path.lower()).strip('_')}"
