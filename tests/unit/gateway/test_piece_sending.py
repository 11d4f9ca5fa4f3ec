"""Pieces go to a socket as chunks, in their order, however little of them it takes at a time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from shoal_gateway.exchange import ClientGone
from shoal_gateway.piece_sending import CHUNK_BYTES, RUN_PIECES_MAX, PieceSending

SMALL, LARGE = os.urandom(700), os.urandom(3 << 20)
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def nothing_before() -> None:
    """The transport has nothing to send."""


def sending(connection: socket.socket, pieces: list[bytes], *, is_clear: bool = True) -> PieceSending:
    return PieceSending(connection, pieces, is_clear=lambda: is_clear, clear=nothing_before)


async def received(connection: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        found += await asyncio.get_running_loop().sock_recv(connection, min(10_007, count - len(found)))
    return bytes(found)


def unframed(chunks: bytes) -> tuple[bytes, list[int]]:
    """The body, and the sizes of its chunks."""
    found, sizes = b"", list[int]()
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        sizes.append(int(size, 16))
        found, chunks = found + rest[: sizes[-1]], rest[sizes[-1] + 2 :]
    return found, sizes


async def test_pieces_come_in_order_in_chunks_of_some_size(ends: Ends) -> None:
    pieces = [SMALL, *[LARGE[:CHUNK_BYTES]] * 5, b"", *[SMALL[:7]] * (RUN_PIECES_MAX + 1)]
    whole = sending(ends[0], pieces)
    _, chunks = await asyncio.gather(whole.send(), received(ends[1], whole.left))
    found, sizes = unframed(chunks)
    assert found == b"".join(pieces)
    assert all(0 < size < 2 * CHUNK_BYTES for size in sizes)


async def test_nothing_is_no_chunk_which_would_end_the_body(ends: Ends) -> None:
    assert not sending(ends[0], []).left
    assert not sending(ends[0], [b"", b""]).left


async def test_a_wait_that_was_given_up_goes_on_where_it_was(ends: Ends) -> None:
    whole, chunks = sending(ends[0], [SMALL, LARGE, LARGE]), b""
    in_all = whole.left
    while whole.left:
        before = whole.left
        waiting = asyncio.create_task(whole.send())
        chunks += await received(ends[1], min(400_000, before))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert whole.left < before
    chunks += await received(ends[1], in_all - len(chunks))
    assert unframed(chunks)[0] == SMALL + LARGE + LARGE


async def test_a_connection_that_ends_is_said(ends: Ends) -> None:
    lost = sending(ends[0], [LARGE])
    waiting = asyncio.create_task(lost.send())
    await asyncio.sleep(0)
    lost.lose()
    with pytest.raises(ClientGone):
        await waiting
    ends[1].close()
    with pytest.raises(ClientGone):
        await sending(ends[0], [SMALL]).send()


async def test_what_fits_needs_no_wait_and_what_does_not_goes_on(ends: Ends) -> None:
    assert sending(ends[0], [SMALL]).sent_at_once()
    await received(ends[1], len(SMALL) + 7)
    whole = sending(ends[0], [LARGE])
    in_all = whole.left
    assert not whole.sent_at_once()
    chunks = (await asyncio.gather(whole.send(), received(ends[1], in_all)))[1]
    assert unframed(chunks)[0] == LARGE
    behind = sending(ends[0], [SMALL], is_clear=False)
    assert not behind.sent_at_once()
    assert behind.left
