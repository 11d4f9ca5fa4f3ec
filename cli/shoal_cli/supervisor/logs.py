"""The log files of the children: bounded, and the source of the reason when one cannot start."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

LOG_BYTES_MAX = 64 << 20
TAIL_BYTES = 16 << 10
REASON_CHARACTERS_MAX = 600


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def trim(path: Path, *, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Keep one older file of the same size. The process goes on appending; it need not know."""
    if size_of(path) > bytes_max:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)


def last_words(path: Path, *, since: int) -> str:
    """What the log says last after the offset, as one sentence; "" when it says nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(since, size_of(path) - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    for line in reversed(lines):
        if line.strip():
            return plain(line.strip())[:REASON_CHARACTERS_MAX]
    return ""


def plain(line: str) -> str:
    """The message of a JSON log line, with its error; other lines as they are."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict):
        return line
    words = [str(fields[key]) for key in ("event", "msg", "error") if fields.get(key)]
    return ": ".join(words) or line
