"""Input that nobody made up: the interpreter's whole standard library, and a large file."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

LARGE_BYTES = 300 << 20


def library_files() -> dict[str, Path]:
    """Name -> path of every source file of the standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in root.rglob("*") if path.is_file() and "site-packages" not in path.parts]
    named = {str(path.relative_to(root)): path for path in files if "__pycache__" not in path.parts}
    assert len(named) >= 1500
    return named


def write_large_file(path: Path) -> None:
    """Random, so that no compression on the way could help."""
    with path.open("wb") as file:
        for _ in range(LARGE_BYTES >> 20):
            file.write(os.urandom(1 << 20))
