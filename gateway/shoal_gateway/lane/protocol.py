"""The lane at the socket: each packet is offered to it, and what it does not take goes to uvicorn as it came."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from shoal_core.errors import ShoalError
from shoal_core.objects import BodyBytes, ObjectInfo
from shoal_gateway.app import FAILED_KEY
from shoal_gateway.http_protocol import GuardedHttpProtocol
from shoal_gateway.lane.gathering import BodyMemory, Gathering
from shoal_gateway.lane.lane import FastLane, LaneAnswer, LanePut
from shoal_gateway.lane.requests import CONTINUE, LaneRequest, without_expectation
from shoal_gateway.lane.sending import TURN_BYTES, Body, FileSender
from shoal_gateway.lane.turn import Turn
from shoal_gateway.metrics import LaneTally, count, counters
from shoal_store.written_commit import nothing_changed

HELD_BYTES_MAX = 64 << 10
"""Of the next requests, while a body is leaving."""


class Service(Protocol):
    """What the lane needs of the application."""

    lane: FastLane
    lane_tally: LaneTally
    lane_turn: Turn
    body_memory: BodyMemory
    idle_timeout_seconds: float

    @property
    def has_room(self) -> bool:
        """Whether one more request may be served."""
        ...

    def has_room_for(self, bytes_held: int) -> bool: ...

    def enter(self, bytes_held: int = 0) -> None: ...

    def leave(self, bytes_held: int = 0) -> None: ...


class LaneProtocol(GuardedHttpProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, service: Service, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._service = service
        self._tally = service.lane_tally
        self._turn = service.lane_turn
        self._lane: FastLane | None = None
        self._peer = ""
        self._descriptor = -1
        self._waits = False
        """What may be a request of the lane's waits for the end of the turn."""
        self._sender: FileSender | None = None
        self._gathering: Gathering | None = None
        """The body of a write that is coming."""
        self._is_writing = False
        """A write waits to be safe."""
        self._failed: Exception | None = None
        """What the ordinary path answers to the request that it gets next."""
        self._held = bytearray()
        self._is_last = False
        """The server stops: the connection ends with the body that is leaving."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is None or self.client is None or transport.get_extra_info("sslcontext") is not None:
            return
        if not self.is_admitted:
            return
        self._lane, self._peer, self._descriptor = self._service.lane, self.client[0], connection.fileno()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lane = None
        if self._gathering is not None:
            self._end_gathering(self._gathering)
        if self._sender is not None:
            self._sender.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._waits:
            self._turn.add(self, data)
        elif self._gathering is not None:
            self._gather(self._gathering, data)
        elif self._sender is not None or self._is_writing or self._held:
            # Also behind what is held and about to be looked at.
            self._hold(data)
        elif data[:4] in METHODS and self._lane is not None and self._is_free():
            self._waits = True
            self._turn.add(self, data)
        else:
            super().data_received(data)

    def take(self, data: bytes) -> None:
        """At the end of the turn in which it came."""
        self._waits = False
        if (lane := self._lane) is None:
            return  # the connection is lost
        if not METHODS[data[:4]](self, lane, data):
            super().data_received(data)

    def abort(self) -> None:
        self.transport.abort()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            # The parser does not go on after such a request as after others.
            self._lane = None
        super().on_headers_complete()

    def shutdown(self) -> None:
        if self._waits:
            self._turn.run()
        if self._gathering is not None:
            self._leave_to_ordinary()
        if self._sender is None and not self._is_writing:
            super().shutdown()
        self._is_last = True

    def timeout_keep_alive_handler(self) -> None:
        idle_seconds = time.monotonic() - self._answered_at
        if self._is_busy or idle_seconds < self.timeout_keep_alive:
            self.timeout_keep_alive_task = None
            self._keep_alive(max(self.timeout_keep_alive - idle_seconds, 1.0))
        else:
            super().timeout_keep_alive_handler()

    def _is_free(self) -> bool:
        """Whether the next byte begins a request, and nothing waits to be sent before its answer."""
        cycle, transport = self.cycle, self.transport
        return (
            not self._in_headers
            and (cycle is None or (cycle.response_complete and not cycle.more_body))
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def idle_since(self) -> float | None:
        return None if self._is_busy else super().idle_since()

    @property
    def _is_busy(self) -> bool:
        return self._waits or self._sender is not None or self._is_writing or self._gathering is not None

    def _answered(self, lane: FastLane, data: bytes) -> bool:
        answer = lane.answer(data, peer=self._peer, common=self.server_state.default_headers)
        if answer is None:
            return False
        self._turn.answered(self, answer, data)
        return True

    def send(self, answer: LaneAnswer, data: bytes) -> None:
        if answer.found.files:
            if not self._send_files(answer):
                return super().data_received(data)
        else:
            self._send(answer.head, answer.found.payload)
            self._tally.add(self.loop, answer.labels)
            self._end()
        if self._header_timer is not None:
            self._disarm_header_timer()

    def _written(self, lane: FastLane, data: bytes) -> bool:
        request = lane.announced(data, peer=self._peer)
        if request is None or not self._service.has_room_for(request.size):
            return False
        if len(request.body) < request.size:
            self._begin_gathering(request, data)
        elif (put := lane.put(request)) is not None:
            self._service.enter(request.size)
            self._await_outcome(put, request.size, lambda: data)
        else:
            return False
        self._disarm_header_timer()
        return True

    def _begin_gathering(self, request: LaneRequest, data: bytes) -> None:
        self._service.enter(request.size)
        head = data[: len(data) - len(request.body)]
        if request.expects_continue:
            head = without_expectation(head)
            self._send(CONTINUE, b"")
        self._gathering = Gathering(
            request, head, self.beside(), self._service.body_memory, on_slow=self._leave_to_ordinary
        )
        self._gather(self._gathering, bytes(request.body))

    def _gather(self, gathering: Gathering, data: bytes) -> None:
        beyond = gathering.add(data)
        if not gathering.is_whole:
            return
        assert self._lane is not None
        if (put := self._lane.put(gathering.request)) is None:
            return self._leave_to_ordinary(beyond)
        self._gathering = None
        self._await_outcome(put, gathering.request.size, gathering.as_it_came, gathering.end)
        if beyond:
            self._hold(beyond)

    def _leave_to_ordinary(self, beyond: bytes = b"") -> None:
        if self._gathering is not None:
            data = self._gathering.as_it_came() + beyond
            self._end_gathering(self._gathering)
            super().data_received(data)

    def _end_gathering(self, gathering: Gathering) -> None:
        self._gathering = None
        self._service.leave(gathering.request.size)
        gathering.end()

    def _await_outcome(
        self,
        put: LanePut,
        size: int,
        as_it_came: Callable[[], bytes],
        end: Callable[[], None] | None = None,
    ) -> None:
        """The write holds a place and `size` bytes of memory; `end` gives the memory back."""
        self._is_writing, began = True, time.monotonic()

        def on_outcome(_: asyncio.Future[ObjectInfo]) -> None:
            self._is_writing = False
            self._service.leave(size)
            if self._answer_write(put, as_it_came):
                count(put.surface, "PUT", 200, seconds=time.monotonic() - began)
            if end is not None:
                end()
            self._go_on()

        put.outcome.add_done_callback(on_outcome)

    def _answer_write(self, put: LanePut, as_it_came: Callable[[], bytes]) -> bool:
        """Whether it is done. What failed and left nothing goes to the ordinary path, which repeats or explains it."""
        error = asyncio.CancelledError() if put.outcome.cancelled() else put.outcome.exception()
        if self.transport.is_closing():
            return error is None
        head = None if error else put.head(put.outcome.result(), self.server_state.default_headers)
        if head is not None:
            self._send(head, b"")
            self._end()
        elif isinstance(error, Exception):
            if not (isinstance(error, ShoalError) and nothing_changed(error)):
                # Whether it happened nobody knows. Done again, it would go over what others wrote since.
                self._failed = error
            super().data_received(as_it_came())
        else:
            self.transport.abort()
        return head is not None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._failed is not None:
            self.scope[FAILED_KEY] = self._failed  # type: ignore[literal-required]  # ours
            self._failed = None

    def _go_on(self) -> None:
        """With what came in meanwhile."""
        if self._is_last:
            self.transport.close()
        elif self._held:
            self.loop.call_soon(self._release)

    def _send(self, head: bytes, payload: BodyBytes) -> None:
        data = head + payload
        try:
            sent = os.write(self._descriptor, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.transport.abort()
            return
        if sent < len(data):
            self.transport.write(data[sent:])

    def _send_files(self, answer: LaneAnswer) -> bool:
        """False when there is no place for a body that takes longer; nothing of it has been sent then."""
        body = Body(answer.head, list(answer.found.files))
        if not self._service.has_room:
            body.close()
            return False
        try:
            body.send(self.beside(), TURN_BYTES)
        except BlockingIOError:
            """The rest waits for the client."""
        except OSError:
            body.close()
            self.transport.abort()
        if not body.files or self.transport.is_closing():
            self._tally.add(self.loop, answer.labels)
            self._end()
        else:
            self._service.enter()
            self._sender = self._sender_of(body, answer)
        return True

    def _sender_of(self, body: Body, answer: LaneAnswer) -> FileSender:
        began = time.monotonic()

        def on_end(whole: bool) -> None:
            self._sender = None
            self._service.leave()
            if not whole:
                self.transport.abort()
            counters(*answer.labels)[1].observe(time.monotonic() - began)
            self._tally.add(self.loop, answer.labels)
            self._end()
            self._go_on()

        return FileSender(
            self.loop,
            self.beside(),
            body,
            idle_timeout_seconds=self._service.idle_timeout_seconds,
            on_end=on_end,
        )

    def _end(self) -> None:
        self._answered_at = time.monotonic()
        if self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._keep_alive(self.timeout_keep_alive)

    def _keep_alive(self, seconds: float) -> None:
        """One timer goes on over many answers; it looks at the time of the last one."""
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > HELD_BYTES_MAX:
            self.flow.pause_reading()

    def _release(self) -> None:
        data, self._held = bytes(self._held), bytearray()
        self.flow.resume_reading()
        if data and not self.transport.is_closing():
            self.data_received(data)


METHODS = {b"GET ": LaneProtocol._answered, b"HEAD": LaneProtocol._answered, b"PUT ": LaneProtocol._written}
"""By a packet's first bytes, who is asked to take it."""
