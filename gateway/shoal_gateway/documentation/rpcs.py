"""The gRPC API as JSON, for OpenAPI: paths and comments come from the protos, which the descriptor set holds."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from shoal_gateway.transcode.rpcs import methods, pattern_of, rules_of

PLACEHOLDER = re.compile(r"\{([a-z_.]+)\}")
PATTERN = re.compile(r"=[^}]*\}")
SERVICE_FIELD = 6
METHOD_FIELD = 2
JSON_TYPES = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer"},
    # JSON has no 64-bit numbers, so protobuf writes them as strings.
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_ENUM: {"type": "string"},
    FieldDescriptor.CPPTYPE_MESSAGE: {"type": "object"},
}


@dataclass(frozen=True, slots=True)
class DocumentedRpc:
    """One rule of one RPC."""

    verb: str
    path: str
    name: str
    comment: str
    request: Descriptor
    body: str

    def shown(self) -> dict[str, Any]:
        first, _, rest = self.comment.partition(". ")
        found: dict[str, Any] = {
            "operationId": f"{self.name.replace('.', '_').replace('/', '_')}_{self.verb.lower()}",
            "tags": ["JSON of gRPC"],
            "summary": first.rstrip(".") + ".",
            "description": f"`{self.name}`. {rest}".strip(),
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in placeholders(self.path)
            ],
            "responses": {
                "200": {"description": "The response message."},
                "default": {"description": "`google.rpc.Status`."},
            },
        }
        if self.body:
            properties = {field.json_name: json_type(field) for field in self.request.fields}
            schema = {"type": "object", "properties": properties}
            found["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        return found


def documented_rpcs() -> Iterator[DocumentedRpc]:
    comments = comments_of_methods()
    for method in methods():
        for rule in rules_of(method):
            verb, path = pattern_of(rule)
            name = f"{method.containing_service.full_name}/{method.name}"
            # A path parameter has no dots for tools that fill it in as Python's `format` does.
            plain = PLACEHOLDER.sub(lambda found: found[0].replace(".", "_"), PATTERN.sub("}", path))
            yield DocumentedRpc(verb, plain, name, comments[method.full_name], method.input_type, rule.body)


def comments_of_methods() -> Mapping[str, str]:
    """By full name, in one line."""
    descriptors = importlib.resources.files("shoal").joinpath("descriptors.binpb").read_bytes()
    found: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(descriptors).file:
        found |= dict(comments_in(file))
    return found


def comments_in(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        path = location.path
        if len(path) == 4 and path[0] == SERVICE_FIELD and path[2] == METHOD_FIELD:
            service = file.service[path[1]]
            name = f"{file.package}.{service.name}.{service.method[path[3]].name}"
            yield name, " ".join(location.leading_comments.split())


def placeholders(path: str) -> list[str]:
    return PLACEHOLDER.findall(path)


def json_type(field: FieldDescriptor) -> dict[str, Any]:
    one: dict[str, Any] = dict(JSON_TYPES[field.cpp_type])
    return {"type": "array", "items": one} if field.is_repeated else one
