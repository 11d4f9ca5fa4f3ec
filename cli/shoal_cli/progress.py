"""Progress bars on stderr, for people only: nothing is shown when stderr is not a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class TransferProgress:
    """One bar over all bytes of a transfer, with the number of objects that are done."""

    def __init__(self, verb: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[objects]} objects"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._bar.add_task(verb, total=0, objects=0)
        self._total_bytes = 0
        self._objects = 0

    def __enter__(self) -> TransferProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def expect(self, size: int) -> None:
        """One more object of so many bytes will be moved."""
        self._total_bytes += size
        self._bar.update(self._task, total=self._total_bytes)

    def moved(self, count: int) -> None:
        """So many bytes more; negative when an attempt begins anew."""
        self._bar.advance(self._task, count)

    def finished(self) -> None:
        self._objects += 1
        self._bar.update(self._task, objects=self._objects)
