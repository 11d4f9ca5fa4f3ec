"""Writing one chunk file: under `tmp/` until it is whole, then synced, renamed to its place, its folder synced."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import xxhash

from shoal_store.chunkfile import BLOCK_BYTES, FORMAT, Birth, Footer, chunk_path, encode_footer
from shoal_store.durability import begin_writing, storage_error, sync_data, sync_directory
from shoal_store.mountpaths import MountpathFolder
from shoal_store.record import ChunkPlace

AHEAD_BYTES = 4 << 20
"""Of a file that will be synced, go to the disk together while the next are received."""


class ChunkWriter:
    """Everything here blocks: call it in a thread. Raises OutOfSpace and Unavailable; `abort` then leaves nothing."""

    def __init__(
        self, folder: MountpathFolder, temporary: Path, *, position: int = 0, synced: bool = False
    ) -> None:
        self.file_id = secrets.token_bytes(16)
        self.path = chunk_path(folder.path, self.file_id)
        self.length = 0
        self.mountpath_id = folder.id
        self._position = position
        self._synced = synced
        self._begun = 0
        self._temporary = temporary / self.file_id.hex()
        self._checksums = bytearray()
        self._block = xxhash.xxh3_64()
        self._block_length = 0
        self._file: BinaryIO | None = create(self._temporary)

    def write(self, data: bytes | memoryview, *, known: xxhash.xxh3_64 | None = None) -> None:
        """`known` is the hash of just these bytes, if somebody has it."""
        assert self._file is not None
        view = memoryview(data)
        if known is not None and not self.length and len(view) < BLOCK_BYTES:
            self._block, self._block_length = known.copy(), len(view)
        elif known is not None and not self.length and len(view) == BLOCK_BYTES:
            self._checksums += known.digest()
        else:
            for start in range(-self._block_length, len(view), BLOCK_BYTES):
                self._add_to_block(view[max(start, 0) : start + BLOCK_BYTES])
        self.length += len(view)
        write_all(self._file, view)
        if self._synced and self.length - self._begun >= AHEAD_BYTES:
            begin_writing(self._file.fileno(), self._begun, self.length - self._begun)
            self._begun = self.length

    def finish(self, birth: Birth, *, upload: str = "", synced: bool) -> ChunkPlace:
        """After this the chunk is durable under its final name; `abort` still removes it."""
        assert self._file is not None
        if self._block_length:
            self._end_block()
        footer = Footer(
            FORMAT,
            self.file_id,
            upload,
            self._position,
            self.length,
            BLOCK_BYTES,
            bytes(self._checksums),
            birth,
        )
        write_all(self._file, memoryview(encode_footer(footer)))
        put_in_place(self._file, self._temporary, self.path, what="chunk", synced=synced)
        self._file = None
        return ChunkPlace(self.mountpath_id, self.file_id, self.length, footer.blocks_checksum, synced)

    def abort(self) -> None:
        abandon(self._file, self._temporary, self.path)

    def _add_to_block(self, data: memoryview) -> None:
        self._block.update(data)
        self._block_length += len(data)
        if self._block_length == BLOCK_BYTES:
            self._end_block()

    def _end_block(self) -> None:
        self._checksums += self._block.digest()
        self._block.reset()
        self._block_length = 0


def abandon(file: BinaryIO | None, *names: Path) -> None:
    """Whatever one of the steps says, the next are tried; what cannot be removed is swept or collected later."""
    if file is not None:
        with suppress(OSError):
            file.close()
    for name in names:
        with suppress(OSError):
            name.unlink(missing_ok=True)


def create(path: Path) -> BinaryIO:
    try:
        return path.open("xb", buffering=0)
    except OSError as error:
        raise storage_error(error, f"cannot make a file in {path.parent}") from error


def write_all(file: BinaryIO, view: memoryview) -> None:
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise storage_error(error, f"cannot write {file.name}") from error


def put_in_place(file: BinaryIO, temporary: Path, path: Path, *, what: str, synced: bool) -> None:
    """The data first, then the name: a name never stands for bytes that a power loss could take away."""
    if synced:
        sync_data(file.fileno(), f"{what} data")
    try:
        file.close()
        os.rename(temporary, path)
    except OSError as error:
        raise storage_error(error, f"cannot finish {path}") from error
    if synced:
        sync_directory(path.parent, f"{what} name")
