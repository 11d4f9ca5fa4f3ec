"""What a collection of orphans and the committers of the same process agree on, file by file.

A collection looks for the suspected files in the indexes, a few rows at a time, while commits go on. A commit that
names one takes it off the list, before it is done; one that comes when the file has been condemned is refused: whoever
sent it is gone, or does not know what became of it, or its file would still be in the table of writes in flight.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from shoal_core.errors import Unavailable
from shoal_store.record import ChunkPlace

CONDEMNED_MAX = 1_000_000
"""Remembered, the latest; a commit that is so late that they are forgotten has been on its way for days."""


class Suspects:
    """Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._suspected: set[bytes] = set()
        self._condemned: dict[bytes, None] = {}

    def suspect(self, file_ids: Iterable[bytes]) -> None:
        """In place of those of before."""
        with self._guard:
            self._suspected = set(file_ids)

    def clear(self, chunks: Iterable[ChunkPlace]) -> None:
        """A row names them."""
        with self._guard:
            self._suspected.difference_update(chunk.file_id for chunk in chunks)

    def is_suspected(self, file_id: bytes) -> bool:
        return file_id in self._suspected

    def claim(self, chunks: Iterable[ChunkPlace]) -> None:
        """A commit is about to name them. Raises Unavailable when one has been condemned."""
        if not self._suspected and not self._condemned:
            return
        with self._guard:
            for chunk in chunks:
                if chunk.file_id in self._condemned:
                    raise Unavailable(
                        "a file of this write was collected as left over, since its writer had gone: write it again"
                    )
                self._suspected.discard(chunk.file_id)

    def condemn(self, file_ids: Iterable[bytes]) -> set[bytes]:
        """Those of them that are still suspected; from now on nobody may name them."""
        with self._guard:
            condemned = self._suspected.intersection(file_ids)
            self._suspected -= condemned
            self._condemned.update(dict.fromkeys(condemned))
            while len(self._condemned) > CONDEMNED_MAX:
                del self._condemned[next(iter(self._condemned))]
            return condemned

    def forget(self) -> None:
        """Nothing is suspected any more."""
        self.suspect(())
