"""Hot copies of indexes: `copies/<mountpath>-<time>/` on another mountpath, from which a lost index is rebuilt.

A copy is written in `tmp/`, synced, found complete, described and sealed, and renamed; then the one before it goes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import xxhash

from shoal_core.child_process import exit_of, piped
from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import DataCorrupt, Unavailable
from shoal_store.durability import storage_error, sync_data, sync_directory
from shoal_store.index_copying import CopiedFile, require_space
from shoal_store.mountpaths import MountpathFolder, Mountpaths, TemporaryFolder, available_bytes
from shoal_store.sealed import seal, unseal
from shoal_store.threads import in_thread

FOLDER = "copies"
DATA = "data.mdb"
DESCRIPTION = "description"
FORMAT = 1
SPACE_KEPT_BYTES = 1 << 30
"""Of either disk, at least: a copy must never take the space that a delete needs."""
PATIENCE_SECONDS = 600.0
PATIENCE_FACTOR = 10.0
"""A copy that takes so much longer than its pace asks for has got stuck."""
READ_BYTES = 1 << 20
COPYING = "shoal_store.index_copying"
"""The module that the process runs."""


class Description(msgspec.Struct, array_like=True, frozen=True):
    """Sealed under the id of the mountpath that the index is of. Fields are only ever added at the end."""

    mountpath: str
    target: str
    made_ns: int
    """When its snapshot was about to be taken: it has all that was acknowledged before."""
    transaction: int
    """The last one of the index that it has."""
    rows: int
    bytes: int
    checksum: int
    """XXH3-64 of `data.mdb`."""


@dataclass(frozen=True, slots=True)
class IndexCopy:
    description: Description
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / DATA

    def is_whole(self) -> bool:
        """Reads all of it. Blocks."""
        hashed, size = xxhash.xxh3_64(), 0
        with suppress(OSError), self.data.open("rb") as file:
            while piece := file.read(READ_BYTES):
                hashed.update(piece)
                size += len(piece)
        return (size, hashed.intdigest()) == (self.description.bytes, self.description.checksum)


def copies_of(mountpath_id: str, paths: Iterable[Path]) -> list[IndexCopy]:
    """Newest first; those whose description can be read. Blocks. Raises OSError."""
    found = []
    for folder in copy_folders(mountpath_id, paths):
        with suppress(DataCorrupt, OSError):
            found.append(IndexCopy(read_description(mountpath_id, folder), folder))
    return sorted(found, key=lambda copy: copy.description.made_ns, reverse=True)


def copy_folders(mountpath_id: str, paths: Iterable[Path]) -> list[Path]:
    """Whatever their state."""
    found = []
    for path in paths:
        for folder in (path / FOLDER).glob("*-*"):
            owner, _, made = folder.name.rpartition("-")
            if owner == mountpath_id and made.isdecimal():
                found.append(folder)
    return found


def read_description(mountpath_id: str, folder: Path) -> Description:
    """Raises OSError, DataCorrupt."""
    key = mountpath_id.encode()
    body = unseal(key, (folder / DESCRIPTION).read_bytes(), format=FORMAT, what="the description of a copy")
    try:
        return msgspec.msgpack.decode(body, type=Description)
    except UNDECODABLE as error:
        raise DataCorrupt("the description of a copy cannot be decoded") from error


def place_for(mountpath_id: str, available: Sequence[MountpathFolder]) -> MountpathFolder:
    """On another disk, else on another mountpath, else beside the index itself: there it helps against a damaged file,
    if not against a lost disk. Raises OSError."""
    own = next(folder for folder in available if folder.id == mountpath_id)
    device = own.path.stat().st_dev
    others = [folder for folder in available if folder.id != mountpath_id]
    elsewhere = [folder for folder in others if folder.path.stat().st_dev != device]
    return max(elsewhere or others or [own], key=lambda folder: available_bytes(folder.path)[1])


class IndexCopier:
    """Makes the copies of a target's indexes."""

    def __init__(
        self, mountpaths: Mountpaths, temporary: TemporaryFolder, *, target: str, bytes_per_second: float
    ) -> None:
        self._mountpaths = mountpaths
        self._temporary = temporary
        self._target = target
        self._bytes_per_second = bytes_per_second

    async def copy(self, mountpath_id: str, *, size: int) -> IndexCopy:
        """`size`: bytes of the index, at most. The new copy is in its place, and older ones are gone, when this
        returns. Raises OutOfSpace, Unavailable, MountpathUnavailable and DataCorrupt: then the older ones stay."""
        place = await in_thread(place_for, mountpath_id, self._mountpaths.available())
        with self._mountpaths.faults.watching(place.id):
            require_space(place.path, size, kept=SPACE_KEPT_BYTES)
            require_space(self._mountpaths.path(mountpath_id), 0, kept=SPACE_KEPT_BYTES)
            unfinished = self._temporary.path(place.id) / f"copy-{mountpath_id}-{time.time_ns()}"
            try:
                await in_thread(unfinished.mkdir)
                copy = await self._written(mountpath_id, unfinished, size=size)
                return await in_thread(self._put_in_place, copy, place)
            except OSError as error:
                raise storage_error(
                    error, f"cannot write a copy of the index of {mountpath_id} on {place.id}"
                ) from error
            finally:
                await in_thread(shutil.rmtree, unfinished, True)

    async def _written(self, mountpath_id: str, folder: Path, *, size: int) -> IndexCopy:
        made_ns = time.time_ns()
        source = self._mountpaths.path(mountpath_id)
        seconds = PATIENCE_SECONDS + PATIENCE_FACTOR * size / self._bytes_per_second
        output = await ran(source, folder / DATA, self._bytes_per_second, seconds)
        found = msgspec.json.decode(output, type=CopiedFile)
        description = Description(
            mountpath_id, self._target, made_ns, found.transaction, found.rows, found.bytes, found.checksum
        )
        return IndexCopy(description, folder)

    def _put_in_place(self, copy: IndexCopy, place: MountpathFolder) -> IndexCopy:
        """Blocks. Raises OSError and Unavailable."""
        made = copy.description
        sealed = seal(made.mountpath.encode(), msgspec.msgpack.encode(made), format=FORMAT)
        with (copy.folder / DESCRIPTION).open("xb", buffering=0) as file:
            file.write(sealed)
            sync_data(file.fileno(), "copy description")
        sync_directory(copy.folder, "copy files")
        parent = place.path / FOLDER
        if not parent.is_dir():
            parent.mkdir()
            sync_directory(place.path, "copies")
        kept = IndexCopy(made, parent / f"{made.mountpath}-{made.made_ns}")
        os.rename(copy.folder, kept.folder)
        sync_directory(parent, "copy name")
        for older in copy_folders(made.mountpath, [each.path for each in self._mountpaths.available()]):
            if older != kept.folder:
                shutil.rmtree(older, ignore_errors=True)
        return kept


async def ran(source: Path, file: Path, bytes_per_second: float, seconds_max: float) -> bytes:
    """What the copying process said. It does not outlive this call. Raises OSError, OutOfSpace and Unavailable."""
    command = [sys.executable, "-m", COPYING, str(source), str(file), str(bytes_per_second)]
    with piped(command) as process:
        try:
            async with asyncio.timeout(seconds_max):
                await exit_of(process)
        except TimeoutError as error:
            raise Unavailable(f"copying the index of {source} took more than {seconds_max:.0f} s") from error
        finally:
            process.kill()  # one that has ended hears nothing
            # Awaited, since one that waits for a disk ends only when the disk answers.
            code = await exit_of(process)
        # It has ended, so this waits for nothing; what it says fits into a pipe.
        output, errors = process.communicate()
    if code:
        said = errors.decode(errors="replace").strip()[-500:] or f"it ended with {code}"
        raise Unavailable(f"the index of {source} could not be copied: {said}")
    return output
