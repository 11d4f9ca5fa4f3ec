"""The example of docs/client.md runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.node import Nodes

PAGE = Path(__file__).parents[3] / "docs" / "client.md"


def test_first_example_of_the_client_page_runs(live_nodes: Nodes, proxy_address: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(blocks[0])
    environment = os.environ | {"SHOAL_GRPC": proxy_address, "SHOAL_CA": str(live_nodes.ca)}
    command = [sys.executable, "-W", "error", "example.py"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "b'world'" in result.stdout
    assert (tmp_path / "copy.py").read_text() == blocks[0]
