"""Frames: any pieces in, full frames out, and no damaged or misplaced byte accepted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import accumulate

import pytest
from hypothesis import given, settings, strategies as st

from shoal.object.v1.object_pb2 import Frame
from shoal_client.frames import checked_data, pieces_of_frame_size
from shoal_core.body_stream import fill_frame
from shoal_core.errors import DataCorrupt
from shoal_core.objects import FRAME_BYTES

SIZES = st.sampled_from([0, 1, 1000, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES + 5])


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def frame_of(data: bytes, *, offset: int = 0) -> Frame:
    frame = Frame()
    fill_frame(frame, data, offset=offset)
    return frame


@given(sizes=st.lists(SIZES, max_size=5))
@settings(max_examples=50, deadline=None)
async def test_pieces_of_any_size_become_full_frames(sizes: list[int]) -> None:
    parts = [bytes([number]) * size for number, size in enumerate(sizes)]
    found = [piece async for piece in pieces_of_frame_size(pieces(*parts))]
    offsets = accumulate((len(piece) for piece in found), initial=0)
    frames = [frame_of(piece, offset=offset) for piece, offset in zip(found, offsets, strict=False)]
    assert b"".join(frame.data for frame in frames) == b"".join(parts)
    assert all(len(frame.data) == FRAME_BYTES for frame in frames[:-1])
    assert all(frame.data for frame in frames)
    position = 0
    for frame in frames:
        position += len(checked_data(frame, expected_offset=position, source="test"))


async def test_damaged_frame_is_refused() -> None:
    damaged = frame_of(b"content")
    damaged.data = b"cOntent"
    with pytest.raises(DataCorrupt, match="damaged on the way"):
        checked_data(damaged, expected_offset=0, source="ais://b/n")


async def test_frame_out_of_order_is_refused() -> None:
    with pytest.raises(DataCorrupt, match="out of order"):
        checked_data(frame_of(b"content"), expected_offset=7, source="ais://b/n")
