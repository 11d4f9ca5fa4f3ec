"""From an HTTP request to the request message of an RPC: the JSON body, then the fields of path and query.

As Envoy fills a message: unknown fields of a body are ignored, unknown fields of a query are refused; fields go
by either of their names; a path or query that contradicts the body is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from google.protobuf import json_format, wrappers_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from shoal_core.errors import InvalidArgument
from shoal_gateway.transcode.json_text import JsonObject, parse_json
from shoal_gateway.transcode.templates import Binding, FieldPath
from shoal_gateway.transcode.values import BadRequest, scalar_of

ALL_OF_BODY = "*"
WRAPPERS = frozenset(message.full_name for message in wrappers_pb2.DESCRIPTOR.message_types_by_name.values())
"""Messages around one scalar, written as that."""
TEXTS = frozenset({"google.protobuf.StringValue", "google.protobuf.FieldMask"})
"""Messages whose text goes out as it came."""
_WORD = re.compile("(?<=[^_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CAPITAL = re.compile("[A-Z]")


def fill_request(message: Message, *, body: bytes, body_field: str, bindings: Iterable[Binding]) -> None:
    """Raises BadRequest, or InvalidArgument for what would not be a message on the wire.

    A body is read whatever the rule says, as Envoy does, so that one that is garbage is not overlooked.
    """
    descriptor = descriptor_of(message)
    resolved = [(fields_of(descriptor, binding.field_path), binding.value) for binding in bindings]
    filled = Filling(message)
    if body:
        value = parse_json(body)
        if body_field not in ("", ALL_OF_BODY):
            value = JsonObject([(body_field, value)])
        if not isinstance(value, JsonObject):
            raise BadRequest("the body must be a JSON object")
        filled.fill(message, value, path=())
    elif body_field not in ("", ALL_OF_BODY):
        # The field is there, and empty.
        inner_message(message, descriptor.fields_by_name[body_field])
    for fields, text in resolved:
        filled.bind(fields, text)


class Filling:
    """One message while it is filled, and which of its fields the body has given."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._given: set[FieldPath] = set()

    def fill(self, message: Message, value: JsonObject, *, path: FieldPath) -> None:
        """Set the fields of `message`, which lies at `path`, from a JSON object."""
        known = fields_by_any_name(descriptor_of(message))
        for name, member in value:
            field = known.get(name)
            if not name:
                raise BadRequest("proto fields must have a name")
            if field is not None and member is not None:
                self._set(message, field, member, path=(*path, field.name))

    def bind(self, fields: list[FieldDescriptor], text: bytes) -> None:
        """Set one field from a path or query, unless the body has given it the same value."""
        *outer, field = fields
        if is_map(field):
            raise BadRequest(f'"{field.name}" is a map: only a body can give one', field=field.name)
        message = self._message
        for each in outer:
            message = getattr(message, each.name)
        value = readable(field, text)
        if tuple(each.name for each in fields) not in self._given or field.is_repeated:
            set_single(message, field, value)
            return
        probe = type(message)()
        set_single(probe, field, value)
        if getattr(probe, field.name) != getattr(message, field.name):
            raise BadRequest(
                f'the binding value "{value}" of the field {field.name} is conflicting with the body',
                field=field.name,
            )

    def _set(self, message: Message, field: FieldDescriptor, value: object, *, path: FieldPath) -> None:
        self._given.add(path)
        if is_map(field):
            self._set_map(message, field, value, path=path)
        elif isinstance(value, JsonObject):
            check_oneof(message, field)
            self.fill(inner_message(message, field), value, path=path)
        elif isinstance(value, list):
            if not field.is_repeated:
                raise BadRequest(
                    f"{field.name}: the field is not repeated and takes no list", field=field.name
                )
            for each in value:
                if each is not None:
                    self._set(message, field, each, path=path)
        else:
            set_single(message, field, value)

    def _set_map(self, message: Message, field: FieldDescriptor, value: object, *, path: FieldPath) -> None:
        if not isinstance(value, JsonObject):
            raise BadRequest(f"{field.name}: a map takes a JSON object", field=field.name)
        if len({name for name, _ in value}) < len(value):
            raise BadRequest(f"{field.name}: the map has one key twice", field=field.name)
        assert field.message_type is not None
        entry = field.message_type.fields_by_name
        held = getattr(message, field.name)
        for name, member in value:
            key = scalar_of(entry["key"], name)
            if entry["value"].message_type is None:
                held[key] = (
                    entry["value"].default_value if member is None else scalar_of(entry["value"], member)
                )
            elif isinstance(member, JsonObject | None):
                self.fill(held[key], member or JsonObject(), path=path)
            else:
                raise BadRequest(f"{field.name}: the values of this map are objects", field=field.name)


def set_single(message: Message, field: FieldDescriptor, value: object) -> None:
    """Set a field, or add to a repeated one, from a JSON value that is neither object nor list."""
    check_oneof(message, field)
    if field.message_type is not None:
        set_well_known(inner_message(message, field), value, field=field.name)
        return
    scalar = scalar_of(field, value)
    if field.is_repeated:
        getattr(message, field.name).append(scalar)
    else:
        setattr(message, field.name, scalar)


def check_oneof(message: Message, field: FieldDescriptor) -> None:
    oneof = field.containing_oneof
    if oneof is not None and message.WhichOneof(oneof.name) is not None:
        raise BadRequest(f"{field.name}: a field of this oneof is already set", field=field.name)


def set_well_known(message: Message, value: object, *, field: str) -> None:
    """Timestamps, durations and their like are written as one JSON value."""
    descriptor = descriptor_of(message)
    if isinstance(message, FieldMask) and isinstance(value, str):
        message.paths.extend(snake_case(path) for path in value.split(",") if path)
    elif descriptor.full_name in WRAPPERS:
        inner = descriptor.fields_by_name["value"]
        setattr(message, inner.name, scalar_of(inner, value))
    else:
        parse_well_known(message, value, field=field)


def snake_case(path: str) -> str:
    """`someField` as a proto has it, `some_field`; a row of capitals is one word."""
    return _CAPITAL.sub(lambda match: match[0].lower(), _WORD.sub("_", path))


def parse_well_known(message: Message, value: object, *, field: str) -> None:
    name = descriptor_of(message).full_name
    try:
        if not name.startswith("google.protobuf."):
            raise ValueError("it takes a JSON object")
        json_format.ParseDict(value, message)  # type: ignore[arg-type]  # the stubs know objects only
    except (ValueError, TypeError, AttributeError, json_format.ParseError) as error:
        raise BadRequest(f"{field}: invalid value for type {name}: {error}", field=field) from error


def inner_message(message: Message, field: FieldDescriptor) -> Message:
    """The message in `field`, present from now on; a new one if the field is repeated."""
    if field.message_type is None:
        raise BadRequest(f"{field.name}: the field takes no object", field=field.name)
    inner: Message = getattr(message, field.name)
    if field.is_repeated:
        added: Message = getattr(message, field.name).add()
        return added
    inner.SetInParent()
    return inner


def readable(field: FieldDescriptor, text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        if field.type == FieldDescriptor.TYPE_STRING or message_name(field) in TEXTS:
            raise InvalidArgument("the request is not the protobuf message that this method takes") from error
        raise BadRequest(f"{field.name}: the value is not valid UTF-8", field=field.name) from error


def fields_of(descriptor: Descriptor, path: FieldPath) -> list[FieldDescriptor]:
    """The fields along a path such as `bucket.name`. Raises BadRequest."""
    fields: list[FieldDescriptor] = []
    inside: Descriptor | None = descriptor
    for name in path:
        if inside is None or (fields and fields[-1].is_repeated):
            raise BadRequest(f'"{fields[-1].name}" is not a message with fields of its own', field=name)
        field = fields_by_any_name(inside).get(name)
        if field is None:
            raise BadRequest(f'could not find field "{name}" in the type "{inside.full_name}"', field=name)
        fields.append(field)
        inside = field.message_type
    return fields


@cache
def fields_by_any_name(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """By the name in the proto and by the JSON name."""
    return {field.json_name: field for field in descriptor.fields} | {
        field.name: field for field in descriptor.fields
    }


def descriptor_of(message: Message) -> Descriptor:
    descriptor = message.DESCRIPTOR
    assert isinstance(descriptor, Descriptor)
    return descriptor


def message_name(field: FieldDescriptor) -> str:
    return "" if field.message_type is None else field.message_type.full_name


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
