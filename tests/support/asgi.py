"""Asks an ASGI application in process, with exactly the bytes that a test gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

HOST = "127.0.0.1:51080"


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """AIStore's error JSON, from the body or, for HEAD, from its header."""
        decoded = json.loads(self.body or self.headers["hdr-error"])
        assert isinstance(decoded, dict)
        return decoded


class Asking:
    """A client of one application."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Sequence[bytes] = b"",
        vanish: bool = False,
        json_body: object = None,
    ) -> Answer:
        """`vanish` ends the connection after `body` instead of completing the request."""
        if json_body is not None:
            body = json.dumps(json_body).encode()
        pieces = [body] if isinstance(body, bytes) else list(body)
        sent: list[Message] = []
        arriving: asyncio.Queue[Message] = asyncio.Queue()
        for index, piece in enumerate(pieces):
            more = vanish or index + 1 < len(pieces)
            arriving.put_nowait({"type": "http.request", "body": piece, "more_body": more})
        if vanish:
            arriving.put_nowait({"type": "http.disconnect"})

        async def send(message: Message) -> None:
            sent.append(message)

        await self._application(scope_of(method, target, headers or {}, pieces), arriving.get, send)
        return answer_of(sent)


def scope_of(method: str, target: str, headers: Mapping[str, str], pieces: list[bytes]) -> dict[str, Any]:
    raw_path, _, query = target.encode("latin-1").partition(b"?")
    given = {"host": HOST, **headers}
    if len(pieces) == 1 and pieces[0]:
        given.setdefault("content-length", str(len(pieces[0])))
    elif len(pieces) > 1 and "content-length" not in given:
        given["transfer-encoding"] = "chunked"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path.decode("latin-1")),
        "raw_path": raw_path,
        "root_path": "",
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 51080),
        "state": {},
    }


def answer_of(sent: list[Message]) -> Answer:
    start, *parts = sent
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(part.get("body", b"") for part in parts))
