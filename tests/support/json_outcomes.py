"""What became of a JSON request, so that two servers can be compared."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from support.json_requests import JsonRequest

ANSWERED_BY = ("request_id", "node")
"""What differs from call to call."""


@dataclass
class Outcome:
    """The answer, and what a `Mirror` behind the server was asked."""

    status: int
    content_type: str | None
    answer: Any
    calls: list[tuple[str, str]] = field(default_factory=list)


def ask_server(endpoint: str, request: JsonRequest) -> Outcome:
    """With exactly the target that the request has: most clients would tidy it up."""
    body = request.body.encode() if isinstance(request.body, str) else request.body
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=20)
    try:
        connection.putrequest(request.method, request.target, skip_accept_encoding=True)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        if body is not None and request.content_type:
            connection.putheader("content-type", request.content_type)
        connection.endheaders(body)
        answer = connection.getresponse()
        return outcome(answer.status, answer.getheader("content-type"), answer.read())
    finally:
        connection.close()


def outcome(status: int, content_type: str | None, body: bytes) -> Outcome:
    """JSON is compared parsed, the words of a refusal not at all, everything else byte by byte."""
    if content_type == "application/json" and body:
        return Outcome(status, content_type, without_origin(json.loads(body)))
    return Outcome(status, content_type, None if content_type == "text/plain" else body)


def without_origin(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_origin(each) for key, each in value.items() if key not in ANSWERED_BY}
    return [without_origin(each) for each in value] if isinstance(value, list) else value
