"""The table of JSON requests, made from the descriptors: every annotated RPC, right and wrong in every way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from shoal_gateway.transcode.rpcs import methods, pattern_of, rules_of

WRONG_TEXTS = ("x", "", "1.5", " 1", "-1", "99999999999999999999999", "true", "%ff", "NaN")
WRONG_JSON = (
    '"x"',
    '""',
    "5",
    "-1",
    "1.5",
    "2.0",
    "1e3",
    "true",
    "null",
    "{}",
    "[]",
    '["x"]',
    "[[5]]",
    '{"x":1}',
    "1e40",
    "123456789012345678901234567890",
    '"123456789012345678901234567890"',
    '"AQ=="',
    '"-_-_"',
)


@dataclass(frozen=True)
class JsonRequest:
    """One row of the table."""

    name: str
    method: str
    target: str
    body: str | bytes | None = None
    content_type: str = "application/json"


def annotated_methods() -> list[MethodDescriptor]:
    return [method for method in methods() if rules_of(method)]


def valid(method: MethodDescriptor) -> JsonRequest:
    """With nothing but what the path needs."""
    verb, template, takes_body = rule_of(method)
    fields = dict(leaves(method.input_type))

    def value(variable: re.Match[str]) -> str:
        name, _, pattern = variable[1].partition("=")
        if fields[name].type != FieldDescriptor.TYPE_STRING:
            return text_for(fields[name])
        return (pattern or "*").replace("**", "photos/a%20b").replace("*", "photos")

    return JsonRequest("valid", verb, re.sub(r"\{([^}]+)\}", value, template), "{}" if takes_body else None)


def variants(method: MethodDescriptor) -> Iterator[JsonRequest]:
    """Valid and invalid forms of one request."""
    plain = valid(method)
    yield plain
    yield JsonRequest("unknown query field", plain.method, f"{plain.target}?nosuch=1", plain.body)
    yield JsonRequest("unknown body field", plain.method, plain.target, '{"nosuch":{"deep":[1,2]}}')
    yield JsonRequest("empty body", plain.method, plain.target, "")
    yield JsonRequest("body that is a list", plain.method, plain.target, "[]")
    yield JsonRequest("body that is cut", plain.method, plain.target, '{"a":')
    in_path = re.findall(r"\{([^}=]+)", rule_of(method)[1])
    for path, field in leaves(method.input_type):
        query = f"{plain.target}?{urlencode({path: text_for(field)})}"
        yield JsonRequest(f"query {path}", plain.method, query, plain.body)
        yield JsonRequest(f"query {camel(path)} twice", plain.method, f"{query}&{camel(path)}=", plain.body)
        for text in WRONG_TEXTS:
            value = text if text.startswith("%") else quote(text)
            yield JsonRequest(
                f"query {path}={text}", plain.method, f"{plain.target}?{path}={value}", plain.body
            )
        if path in in_path:
            continue
        for text in (json.dumps(text_for(field)), *WRONG_JSON):
            yield JsonRequest(f"body {path}:{text}", plain.method, plain.target, nested(path, text))


def rule_of(method: MethodDescriptor) -> tuple[str, str, bool]:
    rule = rules_of(method)[0]
    return *pattern_of(rule), bool(rule.body)


def leaves(descriptor: Descriptor, prefix: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """Dotted paths to every field, messages themselves too."""
    for field in descriptor.fields:
        yield prefix + field.name, field
        if field.message_type is not None and not field.is_repeated:
            yield from leaves(field.message_type, f"{prefix}{field.name}.")


def text_for(field: FieldDescriptor) -> str:
    """A value that the field takes, as text."""
    if field.enum_type is not None:
        return field.enum_type.values[-1].name
    if field.message_type is not None:
        return "2026-01-02T03:04:05.678Z"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "AP8="
    return {FieldDescriptor.TYPE_STRING: "a+b é/%", FieldDescriptor.TYPE_BOOL: "true"}.get(field.type, "7")


def nested(path: str, value: str) -> str:
    names = path.split(".")
    return "".join(f'{{"{camel(name)}":' for name in names) + value + "}" * len(names)


def camel(path: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), path)
