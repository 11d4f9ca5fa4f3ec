"""A body that can be sent a second time as long as little of it was taken, for the retry with a new map."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shoal_core.objects import FRAME_BYTES

REPLAY_BYTES_MAX = FRAME_BYTES
"""What one upload may keep in memory for a replay."""


class ReplayableBody:
    """Hands out `source`, keeping what it handed out until that is more than REPLAY_BYTES_MAX."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0
        self._failed = False

    @property
    def replayable(self) -> bool:
        """Whether a new `chunks()` yields the body from its first byte on."""
        return self._kept is not None and not self._failed

    async def chunks(self) -> AsyncIterator[bytes]:
        """The whole body. Only one such iterator may be in use at a time."""
        for piece in self._kept or ():
            yield piece
        while (new_piece := await self._next()) is not None:
            yield new_piece

    async def _next(self) -> bytes | None:
        try:
            piece = await anext(self._source, None)
        except BaseException:
            # An iterator that raised, or was cancelled while it waited, cannot be asked again.
            self._failed = True
            raise
        if piece is not None:
            self._keep(piece)
        return piece

    def _keep(self, piece: bytes) -> None:
        if self._kept is None:
            return
        self._kept_bytes += len(piece)
        if self._kept_bytes > REPLAY_BYTES_MAX:
            self._kept = None
        else:
            self._kept.append(piece)
