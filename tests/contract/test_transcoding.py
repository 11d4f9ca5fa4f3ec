"""Envoy as the oracle: it and the gateway make the same gRPC request and the same answer of every JSON request.

docs/transcoding.md lists where we differ on purpose; those requests are not in the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from structlog.testing import capture_logs

from shoal_core.error_table import ERROR_TABLE
from shoal_core.errors import ShoalError
from shoal_gateway.transcode.face import JsonFace
from support.asgi import Asking
from support.envoy import Envoy
from support.json_edges import EDGES
from support.json_face import json_application, mirror_behind
from support.json_outcomes import Outcome, ask_server, outcome
from support.json_requests import JsonRequest, annotated_methods, valid, variants
from support.mirror import Mirror

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Doors:
    """Envoy and our face, in front of the same services."""

    mirror: Mirror
    envoy: str
    ask: Asking

    async def outcomes(self, request: JsonRequest) -> tuple[Outcome, Outcome]:
        """Envoy's and ours."""
        self.mirror.received.clear()
        theirs = await asyncio.to_thread(ask_server, self.envoy, request)
        theirs.calls, self.mirror.received = self.mirror.received, []
        body = request.body.encode() if isinstance(request.body, str) else request.body
        headers = {"content-type": request.content_type} if request.content_type else {}
        answer = await self.ask(request.method, request.target, body=body or b"", headers=headers)
        ours = outcome(answer.status, answer.headers.get("content-type"), answer.body)
        ours.calls, self.mirror.received = self.mirror.received, []
        return theirs, ours

    async def differences(self, requests: Iterable[JsonRequest]) -> list[str]:
        """Empty when both doors are alike."""
        found = []
        for request in requests:
            theirs, ours = await self.outcomes(request)
            if theirs != ours:
                found.append(f"{request}\n  envoy {theirs}\n  ours  {ours}")
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    mirror = Mirror()
    async with mirror_behind(tmp_path_factory.mktemp("transcoding"), mirror) as (channel, address, ca):
        face = JsonFace(lambda: (channel, "proxy p1"))
        with Envoy(ca=ca, grpc_address=address) as envoy:
            yield Doors(mirror, envoy.endpoint, Asking(json_application(face)))


@pytest.fixture(params=annotated_methods(), ids=lambda method: method.name)
def method(request: pytest.FixtureRequest) -> MethodDescriptor:
    param = request.param
    assert isinstance(param, MethodDescriptor)
    return param


async def test_every_form_of_a_request_becomes_the_same_call_and_the_same_answer(
    doors: Doors, method: MethodDescriptor
) -> None:
    assert await doors.differences(variants(method)) == []


async def test_requests_at_the_edges_of_the_grammars_are_taken_alike(doors: Doors) -> None:
    assert await doors.differences(EDGES) == []


async def test_an_answer_without_a_field_is_written_alike(doors: Doors, method: MethodDescriptor) -> None:
    doors.mirror.empty = True
    try:
        assert await doors.differences([valid(method)]) == []
    finally:
        doors.mirror.empty = False


@pytest.mark.parametrize("kind", ERROR_TABLE, ids=lambda kind: kind.__name__)
async def test_every_error_is_told_alike(doors: Doors, kind: type[ShoalError]) -> None:
    doors.mirror.error = kind('it went "wrong": é', size="5")
    try:
        # Unconfigured, structlog would draw every traceback with its variables: most of this suite's time.
        with capture_logs():
            assert await doors.differences(map(valid, annotated_methods())) == []
    finally:
        doors.mirror.error = None


async def test_a_valid_request_reaches_the_service(doors: Doors, method: MethodDescriptor) -> None:
    _, ours = await doors.outcomes(valid(method))
    assert ours.status == 200
    assert [name for name, _ in ours.calls] == [method.name]
