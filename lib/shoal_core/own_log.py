"""The log of this process, if its standard error is a file: its end as text, and all of it as an archive."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
from pathlib import Path

from shoal_core.errors import InvalidArgument, NotFound
from shoal_core.telemetry import LEVELS

TEXT_BYTES_MAX = 4 << 20
"""Of the end of the current file. Who wants more takes the archive."""
STANDARD_ERROR = Path("/proc/self/fd/2")


def log_file() -> Path:
    """Raises NotFound."""
    try:
        file = Path(os.readlink(STANDARD_ERROR))
        if stat.S_ISREG(file.stat().st_mode):
            return file
    except OSError:
        pass
    raise NotFound("this process does not log to a file: ask whoever runs it, for example `docker logs`")


def log_text(level: str, *, offset: int = 0) -> bytes:
    """Whole lines of `level` and above ("" for all) from `offset` on. Blocks. Raises NotFound, InvalidArgument."""
    if level and level not in LEVELS:
        raise InvalidArgument(f"severity {level[:20]!r} is not known: use one of {', '.join(LEVELS)}")
    with log_file().open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        begin = max(offset, size - TEXT_BYTES_MAX, 0)
        file.seek(begin)
        text = file.read(TEXT_BYTES_MAX)
    if begin > offset:
        text = text.partition(b"\n")[2]
    if level in ("", "debug", "info"):
        return text
    return b"".join(line for line in text.splitlines(keepends=True) if is_at_least(level, line))


def is_at_least(level: str, line: bytes) -> bool:
    """What is no JSON was written by a library in trouble."""
    try:
        found = json.loads(line)["level"]
    except (ValueError, KeyError, TypeError):
        return True
    return found not in LEVELS or LEVELS.index(found) >= LEVELS.index(level)


def log_archive() -> bytes:
    """A gzipped tar of the current file and the older ones beside it. Blocks. Raises NotFound."""
    current = log_file()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for file in sorted(current.parent.glob(f"{current.name}*")):
            add(archive, file)
    return packed.getvalue()


def rotate() -> None:
    """Begin anew; the file until now becomes the older one. Blocks. Raises NotFound."""
    current = log_file()
    shutil.copyfile(current, current.with_name(f"{current.name}.1"))
    # The file is open for appending, here and in whoever started us.
    os.truncate(current, 0)


def add(archive: tarfile.TarFile, file: Path) -> None:
    """As long as it is now: it grows, and may be cut off, while it is read."""
    content = file.read_bytes()
    entry = tarfile.TarInfo(file.name)
    entry.size, entry.mtime = len(content), int(file.stat().st_mtime)
    archive.addfile(entry, io.BytesIO(content))
