"""One HTTP request as the handlers see it: parsed once, with who asks, and which object is meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Scope

from shoal_core.access import ANONYMOUS, Principal
from shoal_core.errors import InvalidArgument, InvalidName
from shoal_core.objects import BucketReference
from shoal_core.telemetry import accepted_request_id

CALL_KEY = "shoal.call"
"""Where the ASGI scope carries the Call to FastAPI's handlers."""

QUERY_FIELDS_MAX = 64
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})


@dataclass(slots=True)
class Call:
    """`bucket` and `object_name` are filled in as soon as they are known, so that errors can name them."""

    method: str
    raw_path: bytes
    """As sent, still escaped."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Lower-case names; the first value of each."""
    peer: str
    request_id: str
    node: str
    principal: Principal = ANONYMOUS
    bucket: BucketReference | None = None
    object_name: str = ""
    raw_query: bytes = b""
    """As sent, but without what a redirect added to it."""
    redirected: bool = False
    """Whether another gateway sent the client here, and it proved that."""

    @staticmethod
    def of(scope: Scope, *, node: str) -> Call:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        client = scope.get("client") or ("", 0)
        return Call(
            method=scope["method"],
            raw_path=scope["raw_path"],
            query={},
            headers=headers,
            peer=f"{client[0]}:{client[1]}",
            request_id=accepted_request_id(headers.get("x-request-id", "")),
            node=node,
            raw_query=scope["query_string"],
        )

    @property
    def url_path(self) -> str:
        return self.raw_path.decode("latin-1")

    def flag(self, name: str) -> bool:
        """A boolean of the query; AIStore's clients write it in many ways."""
        return self.query.get(name, "").strip().lower() in _TRUE


def call_of(scope: Scope) -> Call:
    call = scope[CALL_KEY]
    assert isinstance(call, Call)
    return call


def parse_query(query: bytes) -> Mapping[str, str]:
    """The first value of each field."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    except ValueError as error:
        raise InvalidArgument(f"the query string cannot be read: {error}") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def decode_once(raw: bytes) -> str:
    """Undo percent-encoding exactly once. What is not valid afterwards is refused, never repaired."""
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise InvalidName(
                "the path has a '%' that is not followed by two hexadecimal digits: write it as %25"
            )
        raw = unquote_to_bytes(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidName("the path is not valid UTF-8 after percent-decoding") from error
