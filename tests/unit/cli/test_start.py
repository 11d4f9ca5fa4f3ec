"""What a command must not wait for before it has done anything."""

from __future__ import annotations

import subprocess
import sys

DEAR = ("numpy", "structlog", "rich.traceback", "fastapi", "torch")


def test_a_command_starts_without_libraries_that_take_long_to_import() -> None:
    code = f"import sys, shoal_cli.__main__; print([name for name in {DEAR} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
