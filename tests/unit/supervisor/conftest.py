"""Stand-ins for the children of a supervisor, and a data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal_cli.supervisor.folder import DataFolder


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder with the places that every start makes."""
    folder = DataFolder(tmp_path / "data")
    for place in (folder.root, folder.run, folder.held, folder.logs):
        place.mkdir()
    return folder
