"""JSON calls of a proxy that says nothing, or no more, and clients that send a body without an end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from starlette.types import ASGIApp, Message

from shoal_core.errors import DeadlineExceeded
from shoal_gateway.transcode.face import JsonFace
from shoal_gateway.transcode.limits import JsonLimits
from support.asgi import Asking, answer_of, scope_of
from support.json_face import json_application, mirror_behind
from support.mirror import Mirror

MakeFace: TypeAlias = Callable[[JsonLimits], ASGIApp]
BUCKETS = "/-/api/v1/buckets"
OBJECT = f"{BUCKETS}/b/objects/o"
WATCH = "/-/api/v1/cluster/map:watch"


@pytest.fixture
def mirror() -> Mirror:
    return Mirror()


@pytest.fixture
async def face(tmp_path: Path, mirror: Mirror) -> AsyncIterator[MakeFace]:
    async with mirror_behind(tmp_path, mirror) as (channel, _, _):
        yield lambda limits: json_application(JsonFace(lambda: (channel, "proxy p1"), limits))


@pytest.mark.parametrize("path", [BUCKETS, OBJECT, WATCH])
async def test_a_service_that_says_nothing_is_answered_504(mirror: Mirror, face: MakeFace, path: str) -> None:
    mirror.stands_still_after = 0
    answer = await Asking(face(JsonLimits(call_seconds=0.2)))("GET", path)
    assert (answer.status, json.loads(answer.body)["code"]) == (504, 4)


async def test_a_body_that_stands_still_is_cut_not_ended(mirror: Mirror, face: MakeFace) -> None:
    mirror.stands_still_after = 1
    with pytest.raises(DeadlineExceeded, match="sent nothing"):
        await Asking(face(JsonLimits(pause_seconds=0.1)))("GET", OBJECT)


async def test_a_list_that_has_grown_for_its_time_is_ended_in_order(mirror: Mirror, face: MakeFace) -> None:
    mirror.stands_still_after = 1
    answer = await Asking(face(JsonLimits(list_seconds=0.3)))("GET", WATCH)
    assert (answer.status, len(json.loads(answer.body))) == (200, 1)


async def test_one_list_too_many_is_told_to_come_back(face: MakeFace) -> None:
    answer = await Asking(face(JsonLimits(lists=0)))("GET", WATCH)
    assert answer.status == 429
    assert answer.headers["retry-after"] == "1"


async def test_a_request_body_that_never_ends_is_given_up(mirror: Mirror, face: MakeFace) -> None:
    arriving: asyncio.Queue[Message] = asyncio.Queue()
    arriving.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    application = face(JsonLimits(body_seconds=0.1))
    await application(scope_of("POST", BUCKETS, {}, [b"{", b"}"]), arriving.get, send)
    assert (answer_of(sent).status, mirror.received) == (504, [])


async def test_a_chunked_body_beyond_the_limit_reaches_no_service(mirror: Mirror, face: MakeFace) -> None:
    answer = await Asking(face(JsonLimits(body_bytes=10)))("POST", BUCKETS, body=[b" " * 6, b" " * 6])
    assert (answer.status, mirror.received) == (400, [])
