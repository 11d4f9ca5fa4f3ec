"""Envoy and our JSON face side by side, in front of the same service that tells what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor

from shoal_gateway.transcode.face import JsonFace
from support.asgi import Asking
from support.envoy import DESCRIPTORS, Envoy
from support.json_face import json_application, mirror_behind
from support.json_outcomes import Outcome, ask_server, outcome
from support.json_requests import JsonRequest
from support.mirror import Mirror


@asynccontextmanager
async def open_doors(
    folder: Path,
    served: list[MethodDescriptor] | None = None,
    *,
    descriptors: Path = DESCRIPTORS,
    service: str = "",
) -> AsyncIterator[Doors]:
    """To our services, or to those methods of one service that `descriptors` hold."""
    mirror = Mirror(served)
    async with mirror_behind(folder, mirror) as (channel, address, ca):
        face = JsonFace(lambda: (channel, "proxy p1"), served=served)
        with Envoy(ca=ca, grpc_address=address, descriptors=descriptors, service=service) as envoy:
            yield Doors(mirror, envoy.endpoint, Asking(json_application(face)))


@dataclass
class Doors:
    """Envoy and our face, in front of the same services."""

    mirror: Mirror
    envoy: str
    ask: Asking

    async def outcomes(self, request: JsonRequest) -> tuple[Outcome, Outcome]:
        """Envoy's and ours."""
        self.mirror.calls()
        theirs = await asyncio.to_thread(ask_server, self.envoy, request)
        theirs.calls = self.mirror.calls()
        body = request.body.encode() if isinstance(request.body, str) else request.body
        headers = {"content-type": request.content_type} if request.content_type else {}
        answer = await self.ask(request.method, request.target, body=body or b"", headers=headers)
        ours = outcome(answer.status, answer.headers.get("content-type"), answer.body)
        ours.calls = self.mirror.calls()
        return theirs, ours

    async def differences(self, requests: Iterable[JsonRequest]) -> list[str]:
        """Empty when both doors are alike."""
        found = []
        for request in requests:
            theirs, ours = await self.outcomes(request)
            if theirs != ours:
                found.append(f"{request}\n  envoy {theirs}\n  ours  {ours}")
        return found
