"""What a power loss may leave of a traced workload: everything that was synced, and of the rest any legal part.

Stricter than ext4, so that luck of one file system proves nothing:

* data survives when its file was synced (or written with O_DSYNC) after it was written; else each page of 4 KiB of
  each write may be there or not, on its own;
* a name (of a new file, a folder, a rename, a removal; of a symbolic link with what it says) survives when the folder
  that holds it was synced afterwards; else it may be there or not, on its own. Syncing a file does not sync its name; a
  rename is one step.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from support.power_trace import Event, exchanged

PAGE = 4096
Named = int | str | None
"""A file, what a symbolic link says, or a folder."""
Left = dict[str, bytes | str | None]
"""Path -> content, or as `Named`."""


class Mercy(Enum):
    """What of the unsynced survives."""

    NOTHING = (0.0, 0.0)
    EVERYTHING = (1.0, 1.0)
    NAMES_ONLY = (0.0, 1.0)
    DATA_ONLY = (1.0, 0.0)
    SOME = (0.5, 0.5)

    @property
    def data(self) -> float:
        return self.value[0]

    @property
    def names(self) -> float:
        return self.value[1]


@dataclass
class Write:
    position: int
    """Of its event."""
    offset: int
    data: bytes
    durable: bool
    truncates: bool = False


@dataclass
class Change:
    """One change of a name; `file` is 0 for a removal."""

    position: int
    path: str
    file: Named
    other: str = ""
    """The name that a rename takes away, or changes with `path`."""
    exchanges: bool = False


@dataclass
class Disk:
    """The state after a number of events, with what is durable told from what is not."""

    names: dict[str, Named] = field(default_factory=dict)
    """Durable ones."""
    pending: list[Change] = field(default_factory=list)
    writes: dict[int, list[Write]] = field(default_factory=dict)

    @staticmethod
    def after(events: Sequence[Event], count: int) -> Disk:
        disk = Disk()
        for position, event in enumerate(events[:count]):
            disk._apply(position, event)
        return disk

    def _apply(self, position: int, event: Event) -> None:
        match event.call:
            case "open":
                self.pending.append(Change(position, event.path, event.file))
            case "symlink":
                self.pending.append(Change(position, event.path, event.other))
            case "mkdir":
                self.pending.append(Change(position, event.path, None))
            case "rename":
                self.pending.append(Change(position, event.path, event.file, other=event.other))
            case "rename-folder":
                # What was made in it lies in it, wherever the folder itself turns out to be.
                for change in self.pending:
                    change.path = moved(change.path, event.other, event.path)
                self.pending.append(Change(position, event.path, None, other=event.other))
            case "exchange-folders":
                self.pending.append(Change(position, event.path, None, other=event.other, exchanges=True))
            case "unlink" | "rmdir":
                self.pending.append(Change(position, event.path, 0))
            case "write":
                write = Write(position, event.offset, event.data, event.at_once)
                self.writes.setdefault(event.file, []).append(write)
            case "truncate":
                write = Write(position, event.offset, b"", False, truncates=True)
                self.writes.setdefault(event.file, []).append(write)
            case "sync":
                for write in self.writes.get(event.file, []):
                    write.durable |= write.position < event.began
            case "sync-directory":
                self._sync_directory(event)

    def _sync_directory(self, event: Event) -> None:
        covered = [
            change
            for change in self.pending
            if change.position < event.began and parent(change.path) == event.path.rstrip("/")
        ]
        for change in covered:
            apply(self.names, change)
            if change.exchanges:
                # What was made in one of them before that, and is not durable, lies in it still.
                for earlier in self.pending:
                    if earlier.position < change.position:
                        earlier.path = exchanged(earlier.path, change.other, change.path)
        # What a durable rename took away cannot come back by the creation of its old name.
        gone = {change.other for change in covered if change.other and not change.exchanges}
        self.pending = [
            change for change in self.pending if change not in covered and change.path not in gone
        ]

    def left(self, root: str, mercy: Mercy, chance: random.Random) -> Left:
        """Below `root` (which was there before), as the next start finds it."""
        names = dict(self.names)
        for change in self.pending:
            if chance.random() < mercy.names:
                apply(names, change)
        there = {path: file for path, file in names.items() if all(up in names for up in parents(path, root))}
        return {
            path: self._content(file, mercy, chance) if isinstance(file, int) else file
            for path, file in there.items()
        }

    def _content(self, file: int, mercy: Mercy, chance: random.Random) -> bytes:
        content = bytearray()
        for write in self.writes.get(file, []):
            if write.truncates:
                if write.durable or chance.random() < mercy.data:
                    content = content[: write.offset].ljust(write.offset, b"\0")
                continue
            for start, piece in pages(write):
                if write.durable or chance.random() < mercy.data:
                    content.extend(bytes(max(0, start - len(content))))
                    content[start : start + len(piece)] = piece
        return bytes(content)


def moved(path: str, old: str, new: str) -> str:
    """Where something in the folder `old` lies when that is `new`."""
    return new + path.removeprefix(old) if path.startswith(f"{old}/") else path


def apply(names: dict[str, Named], change: Change) -> None:
    if change.exchanges:
        # A name that was never written stays away; the other one has what that name stood for.
        unwritten = [path for path in (change.path, change.other) if path not in names]
        names.update(dict.fromkeys(unwritten))
        moves = {path: exchanged(path, change.other, change.path) for path in names}
        now = {moves[path]: file for path, file in names.items()}
        names.clear()
        names.update((path, file) for path, file in now.items() if path not in unwritten)
        return
    if change.other:
        names.pop(change.other, None)
        for path in [path for path in names if path.startswith(f"{change.other}/")]:
            names[moved(path, change.other, change.path)] = names.pop(path)
    if change.file == 0:
        names.pop(change.path, None)
    else:
        names[change.path] = change.file


def pages(write: Write) -> list[tuple[int, bytes]]:
    """The write cut where pages of the disk begin; one without data, at the end of an allocation, only lengthens."""
    found, offset, data = [], write.offset, write.data
    if not data:
        return [(offset, b"")]
    while data:
        size = PAGE - offset % PAGE
        found.append((offset, data[:size]))
        offset, data = offset + size, data[size:]
    return found


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def parents(path: str, root: str) -> list[str]:
    """The folders above `path`, below `root`."""
    ups = []
    while len(path := parent(path)) > len(root):
        ups.append(path)
    return ups


def materialise(state: Left, root: str, folder: Path) -> None:
    """Write the state into an empty folder that stands for `root`."""
    for path, content in sorted(state.items()):
        place = folder / path.removeprefix(root).lstrip("/")
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
        elif isinstance(content, str):
            os.symlink(content, place)
        else:
            place.write_bytes(content)
