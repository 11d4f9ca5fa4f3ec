"""Memory that other processes can map too, for whole objects; and a clear error where /dev/shm has no room."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from shoal_core.errors import OutOfSpace

SHARED_MEMORY = Path("/dev/shm")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EFBIG)


class SharedBuffer:
    """So many bytes; `close` it, or use it as `with`. It has no name, so nothing is left when a process dies."""

    def __init__(self, size: int, mapping: mmap.mmap | None, *, descriptor: int) -> None:
        self._mapping = mapping
        self.descriptor = descriptor
        """For forked processes and SCM_RIGHTS; -1 for ordinary memory."""
        self.memory = memoryview(mapping)[:size] if mapping else memoryview(bytearray())

    @classmethod
    def allocate(cls, size: int, *, folder: Path = SHARED_MEMORY, fallback: bool = False) -> SharedBuffer:
        """Raises OutOfSpace now rather than SIGBUS at some later byte; with `fallback` takes ordinary memory."""
        if not size:
            return cls(0, None, descriptor=-1)
        try:
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return cls._instead(size, error, folder, fallback=fallback)
        try:
            os.posix_fallocate(descriptor, 0, size)
            return cls(size, mmap.mmap(descriptor, size), descriptor=descriptor)
        except OSError as error:
            os.close(descriptor)
            return cls._instead(size, error, folder, fallback=fallback)

    @classmethod
    def _instead(cls, size: int, error: OSError, folder: Path, *, fallback: bool) -> SharedBuffer:
        if fallback:
            return cls(size, mmap.mmap(-1, size), descriptor=-1)
        if error.errno not in NO_ROOM:
            raise error
        raise OutOfSpace(
            f"{folder} has no room for {size} bytes; make it larger, close other buffers, stream the object, or "
            "allow ordinary memory with fallback=True"
        ) from error

    @property
    def shared(self) -> bool:
        return self.descriptor >= 0

    def close(self) -> None:
        """All views of `memory` must be released before. Safe to call twice."""
        self.memory.release()
        if self._mapping is not None:
            self._mapping.close()
            self._mapping = None
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
