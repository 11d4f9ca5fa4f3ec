"""A body replays its beginning, within a bound of memory, and never pretends after a failure."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shoal_client.replay import REPLAY_BYTES_MAX, ReplayableBody


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_body_taken_in_part_replays_from_its_first_byte() -> None:
    body = ReplayableBody(pieces(b"one", b"two", b"three"))
    assert await anext(body.chunks()) == b"one"
    assert body.replayable
    assert [piece async for piece in body.chunks()] == [b"one", b"two", b"three"]


async def test_long_body_is_handed_out_whole_but_does_not_replay() -> None:
    parts = [b"x" * REPLAY_BYTES_MAX, b"y"]
    body = ReplayableBody(pieces(*parts))
    assert [piece async for piece in body.chunks()] == parts
    assert not body.replayable


async def test_body_that_failed_does_not_replay() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("disk gone")

    body = ReplayableBody(failing())
    with pytest.raises(OSError, match="disk gone"):
        [piece async for piece in body.chunks()]
    assert not body.replayable
