"""Downloads into files: under a temporary name first, so that a name never shows half of an object."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path


async def write_file(
    destination: Path, pieces: AsyncIterator[bytes], *, progress: Callable[[int], None] | None = None
) -> None:
    """Raises OSError as files do. `progress` is told the bytes of each piece written,
    and all of them as a negative number when it fails."""
    # The object's name may already be as long as a file name can be, so the temporary one is not made of it.
    temporary = destination.parent / f".shoal-{secrets.token_hex(8)}.part"
    written = 0
    file = await asyncio.to_thread(temporary.open, "xb")
    try:
        with file:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
                written += len(piece)
                if progress:
                    progress(len(piece))
        await asyncio.to_thread(os.replace, temporary, destination)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if progress:
            progress(-written)
        raise
