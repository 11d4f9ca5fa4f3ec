"""Frames over a Unix socket: however the bytes are cut, the same frames arrive; nonsense ends the connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from shoal_core.frames import FRAME_BYTES_MAX, LENGTH, Frames
from support.waiting import eventually

FRAMES = [b"", b"a", b"b" * 70_000, b"c" * 300]


async def opened(frames: list[bytes]) -> tuple[Frames, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _, found = await asyncio.get_running_loop().create_unix_connection(
        lambda: Frames(frames.append), sock=ours
    )
    return found, theirs


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_frames_arrive_as_they_were_sent_however_they_are_cut(
    run: Callable[[Coroutine[None, None, None]], None],
) -> None:
    run(send_in_pieces())


async def send_in_pieces() -> None:
    data = b"".join(LENGTH.pack(len(frame)) + frame for frame in FRAMES)
    for step in (7_001, len(data)):
        await send_and_compare(data, step)


async def send_and_compare(data: bytes, step: int) -> None:
    came, loop = list[bytes](), asyncio.get_running_loop()
    frames, theirs = await opened(came)
    for start in range(0, len(data), step):
        await loop.sock_sendall(theirs, data[start : start + step])
    await eventually(lambda: len(came) == len(FRAMES))
    assert came == FRAMES
    frames.send(b"enough")
    assert await loop.sock_recv(theirs, 100) == LENGTH.pack(6) + b"enough"
    theirs.close()
    await frames.ended


async def test_a_frame_that_is_too_long_ends_the_connection() -> None:
    came = list[bytes]()
    frames, theirs = await opened(came)
    with theirs:
        theirs.send(LENGTH.pack(FRAME_BYTES_MAX + 1))
        async with asyncio.timeout(10):
            await frames.ended
    assert came == []
