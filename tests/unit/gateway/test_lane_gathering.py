"""The body of a write while it comes: what the kernel is asked to wait for."""

from __future__ import annotations

import socket

from shoal_gateway.lane.gathering import AWAITED_BYTES_MIN, BodyMemory, Gathering
from shoal_gateway.lane.requests import LaneRequest

SIZE = 300_000


def awaited(connection: socket.socket) -> int:
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


async def test_the_kernel_never_waits_for_more_than_is_still_to_come() -> None:
    """It tells of less when its buffer is full. Waiting for the same number then would be waiting for ever."""
    body = bytes(range(250)) * (SIZE // 250)
    request = LaneRequest("PUT", b"/", b"lane", b"a", b"", {}, size=SIZE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        connection, _ = server.accept()
    with client, connection:
        connection.setblocking(False)
        gathering = Gathering(request, b"", connection, BodyMemory(1 << 20), on_slow=lambda: None)
        for end in (1_000, 200_000, SIZE - AWAITED_BYTES_MIN, SIZE - 10, SIZE):
            came = SIZE - gathering.left
            assert gathering.add(body[came:end]) == b""
            assert awaited(connection) == (SIZE - end if SIZE - end >= AWAITED_BYTES_MIN else 1)
        assert gathering.is_whole
        assert request.body == body
        gathering.end()
