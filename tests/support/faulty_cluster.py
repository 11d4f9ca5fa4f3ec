"""A cluster of one target whose processes have the failing library preloaded, for its mountpaths alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.faulty_disk import FaultControl, environment


@contextmanager
def faulty_cluster() -> Iterator[tuple[Cluster, FaultControl]]:
    folder = Path(tempfile.mkdtemp(prefix="shoal-test-"))
    control = FaultControl(folder / "control")
    cluster = Cluster(folder / "data")
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(folder / "control", folder / "data" / "targets").items():
                patch.setenv(name, value)
            cluster.launch()
        cluster.wait_ready()
        yield cluster, control
    finally:
        control.disarm()
        cluster.remove()
        shutil.rmtree(folder, ignore_errors=True)
