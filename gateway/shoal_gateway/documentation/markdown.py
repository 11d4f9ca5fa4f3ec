"""The API reference as Markdown: REST routes with an example for each action, RPCs with the protos' comments."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Iterator

import msgspec
from fastapi.routing import APIRoute
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from shoal_gateway.documentation.examples import example
from shoal_gateway.documentation.fields import models_in, texts_of
from shoal_gateway.documentation.operations import Operation, operations
from shoal_gateway.permissions import NOT_BUILT
from shoal_gateway.rest.documented import Documentation
from shoal_gateway.s3.documented import S3_DOCUMENTATION, S3Documentation
from shoal_gateway.s3.operations import OPERATIONS
from shoal_gateway.transcode.rpcs import OUR_PROTOS, methods, pattern_of, rules_of

WRITTEN = "<!-- Written by scripts/apidocs; what it says stands beside the handlers and in the protos. -->"
NONE = "-"
SERVICE, METHOD, MESSAGE, FIELD = 6, 2, 4, 2
INTERNAL = ("shoal.etcd", "shoal.chunk")
"""Packages that no user calls."""


def rest_reference(routes: Iterable[APIRoute]) -> str:
    """AIStore's routes, S3's operations, and what is not here yet."""
    lines = ["# REST reference", "", WRITTEN, ""]
    lines += [
        "The same, to try out: `/-/docs` of any gateway; as OpenAPI: `/-/openapi.json`, `/-/openapi.yaml`.",
        "",
    ]
    lines += ['`AIS_ENDPOINT` is set by `eval "$(shoal env)"`. Every example below is run by the tests.', ""]
    for operation in operations(list(routes)):
        lines += [f"## {operation.method} {operation.path}", ""]
        for action, said in operation.actions.items():
            lines += action_lines(operation, action, said)
    lines += [
        "## S3",
        "",
        "At the root of the port and under `/s3`; parameters, headers and bodies as AWS documents them.",
        "",
    ]
    lines += [
        "| operation | method | of | told by | what it does | body | answer |",
        "|---|---|---|---|---|---|---|",
    ]
    for (method, level, selector), name in OPERATIONS.items():
        lines.append(
            f"| {name} | {method} | {level.value} | {selector or NONE} | {S3_DOCUMENTATION[name].summary} | "
            f"{bodies(S3_DOCUMENTATION[name])} |"
        )
    lines += [
        "",
        "## Not here yet",
        "",
        "These answer 501 and say so.",
        "",
        "| route | actions |",
        "|---|---|",
    ]
    missing: dict[str, list[str]] = {}
    for route in NOT_BUILT:
        missing.setdefault(f"{route.method} `{route.template}`", []).append(route.action)
    lines += [
        f"| {route} | {', '.join(filter(None, actions)) or NONE} |" for route, actions in missing.items()
    ]
    return "\n".join(lines) + "\n"


def bodies(said: S3Documentation) -> str:
    """Of the request and of the answer, in two columns."""
    root = said.request.root if said.request else ""
    answer = f"`<{said.answer.root}>`" if said.answer else said.media_type or NONE
    return f"{f'`<{root}>`' if root else NONE} | {answer}"


def action_lines(operation: Operation, action: str, said: Documentation) -> Iterator[str]:
    if action:
        yield from (f"### `{action}`", "")
    yield " ".join(text for text in (said.summary, said.text) if text)
    yield ""
    for name, text in {**said.query, **said.headers}.items():
        yield f"* `{name}`: {text}"
    if said.query or said.headers:
        yield ""
    if said.value is not None:
        yield from value_lines(said.value)
    yield from (f"Answers {', '.join(map(str, said.statuses))}. {said.answer}", "")
    yield from ("```bash", example(operation, action, said), "```", "")


def value_lines(model: type) -> Iterator[str]:
    (schema,), definitions = msgspec.json.schema_components([model])
    if model.__name__ not in definitions:
        yield from (f"`value`: {type_of(schema)}.", "")
        return
    models = models_in(model)
    for each in (model.__name__, *(name for name in definitions if name != model.__name__)):
        if each != model.__name__:
            yield from (f"{each}:", "")
        texts = texts_of(models[each])
        yield from ("| field | type | default | |", "|---|---|---|---|")
        for name, field in definitions[each].get("properties", {}).items():
            default = msgspec.json.encode(field["default"]).decode() if "default" in field else NONE
            yield f"| `{name}` | {type_of(field)} | {default} | {texts.get(name, '')} |"
        yield ""


def type_of(field: dict[str, object]) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if isinstance(several := field.get("anyOf"), list):
        return " or ".join(type_of(each) for each in several)
    return str(field.get("type", "any"))


def grpc_reference() -> str:
    """Every service, RPC and message with its comment."""
    lines = [
        "# gRPC reference",
        "",
        WRITTEN,
        "",
        "From `protos/`, which is the contract; see [transcoding](../transcoding.md) for JSON.",
        "",
    ]
    descriptors = importlib.resources.files("shoal").joinpath("descriptors.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(descriptors).file:
        if file.name.startswith(OUR_PROTOS) and not file.package.startswith(INTERNAL):
            lines += file_lines(file)
    return "\n".join(lines) + "\n"


def file_lines(file: FileDescriptorProto) -> Iterator[str]:
    comments = {
        tuple(each.path): " ".join(each.leading_comments.split()) for each in file.source_code_info.location
    }
    rules = {method.full_name: [pattern_of(rule) for rule in rules_of(method)] for method in methods()}
    for number, service in enumerate(file.service):
        yield from (f"## {file.package}.{service.name}", "", comments.get((SERVICE, number), ""), "")
        for index, method in enumerate(service.method):
            arrow = f"{streamed(method.client_streaming, method.input_type)} → "
            arrow += streamed(method.server_streaming, method.output_type)
            yield from (
                f"### {method.name}",
                "",
                f"{arrow}. {comments.get((SERVICE, number, METHOD, index), '')}",
                "",
            )
            for verb, path in rules.get(f"{file.package}.{service.name}.{method.name}", []):
                yield from (f"JSON: `{verb} {path}`", "")
    for number, message in enumerate(file.message_type):
        yield from message_lines(file, message, number, comments)


def message_lines(
    file: FileDescriptorProto, message: DescriptorProto, number: int, comments: dict[tuple[int, ...], str]
) -> Iterator[str]:
    yield from (f"#### {file.package}.{message.name}", "", comments.get((MESSAGE, number), ""), "")
    if message.field:
        yield from ("| field | type | |", "|---|---|---|")
    for index, field in enumerate(message.field):
        yield f"| `{field.name}` | {field_type(field)} | {comments.get((MESSAGE, number, FIELD, index), '')} |"
    if message.field:
        yield ""


def field_type(field: FieldDescriptorProto) -> str:
    name = short(field.type_name) or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"repeated {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def short(name: str) -> str:
    return name.rpartition(".")[2]


def streamed(is_stream: bool, type_name: str) -> str:
    return f"stream {short(type_name)}" if is_stream else short(type_name)
