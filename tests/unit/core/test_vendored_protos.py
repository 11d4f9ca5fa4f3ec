"""The Google protos that we vendor are the ones whose Python modules we import."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import pytest

VENDORED = Path(__file__).resolve().parents[3] / "protos" / "google"


@pytest.mark.parametrize(
    "name", sorted(str(path.relative_to(VENDORED)) for path in VENDORED.rglob("*.proto"))
)
def test_vendored_proto_equals_the_installed_packages_copy(name: str) -> None:
    installed = Path(str(distribution("googleapis-common-protos").locate_file(f"google/{name}")))
    assert (VENDORED / name).read_bytes() == installed.read_bytes()


def test_some_proto_is_vendored() -> None:
    assert (VENDORED / "rpc" / "error_details.proto").is_file()
