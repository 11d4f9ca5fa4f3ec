"""Which RPCs are served as JSON: all of our descriptor set that have a `google.api.http` rule."""

from __future__ import annotations

import importlib
import importlib.resources
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from shoal_gateway.transcode.templates import PathTemplate, Routes

OUR_PROTOS = "shoal/"


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC under one rule."""

    method: str
    """As gRPC names it, such as `/shoal.bucket.v1.BucketService/GetBucket`."""
    request: type[Message]
    response: type[Message]
    body_field: str
    """`*`, the name of a field, or empty."""
    streaming: bool
    is_read: bool
    """The rule is a GET: the call may be repeated while the connection fails."""

    @property
    def answers_body(self) -> bool:
        """The answer is no JSON but bytes with a media type of their own."""
        return self.response is HttpBody


def annotated_rpcs(served: Iterable[MethodDescriptor]) -> Routes[Rpc]:
    """The routes to those that have a rule. Raises ValueError for a rule that we cannot serve."""
    routes: Routes[Rpc] = Routes()
    for method in served:
        for rule in rules_of(method):
            verb, path = pattern_of(rule)
            routes.add(verb, PathTemplate.parse(path), rpc_of(method, rule))
    return routes


def methods() -> Iterator[MethodDescriptor]:
    """Every RPC of our services. Uploads and two-way streams have no rule: HTTP cannot carry them."""
    descriptors = importlib.resources.files("shoal").joinpath("descriptors.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(descriptors).file:
        if not file.name.startswith(OUR_PROTOS) or not file.service:
            continue
        module = importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


def rules_of(method: MethodDescriptor) -> list[http_pb2.HttpRule]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return []
    if method.client_streaming:
        raise ValueError(f"{method.full_name} takes a stream, which no HTTP rule can carry")
    rule = options.Extensions[annotations_pb2.http]
    return [rule, *rule.additional_bindings]


def pattern_of(rule: http_pb2.HttpRule) -> tuple[str, str]:
    """HTTP method and path template."""
    kind = rule.WhichOneof("pattern")
    if kind == "custom":
        return rule.custom.kind, rule.custom.path
    return kind.upper(), getattr(rule, kind)


def rpc_of(method: MethodDescriptor, rule: http_pb2.HttpRule) -> Rpc:
    if rule.response_body:
        raise ValueError(f"{method.full_name} has a response_body, which Envoy does not serve either")
    return Rpc(
        method=f"/{method.containing_service.full_name}/{method.name}",
        request=message_class(method.input_type),
        response=message_class(method.output_type),
        body_field=rule.body,
        streaming=method.server_streaming,
        is_read=rule.WhichOneof("pattern") == "get",
    )


def message_class(descriptor: Descriptor) -> type[Message]:
    made: type[Message] = GetMessageClass(descriptor)
    return made
