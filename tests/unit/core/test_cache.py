"""The cache on disk is whole or ignored, and never stands in the way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from shoal_core.cache import decoded, keep_saved, load_snapshot, save_snapshot
from shoal_core.etcd.values import NO_LEASE, KeyValue, Snapshot
from shoal_core.membership import ClusterIdentity
from support.waiting import eventually

SNAPSHOT = Snapshot(7, (KeyValue("/k", b"value", 1, 7, 2, NO_LEASE),))


def test_snapshot_survives_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    save_snapshot(tmp_path / "cache", SNAPSHOT)
    assert load_snapshot(tmp_path / "cache") == SNAPSHOT
    assert os.listdir(tmp_path) == ["cache"]


def test_no_cache_is_nothing_to_warn_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_snapshot(tmp_path / "cache") is None
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("keep", [0, 4, 20])
def test_truncated_cache_is_ignored_with_a_warning(
    tmp_path: Path, keep: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cache"
    save_snapshot(path, SNAPSHOT)
    path.write_bytes(path.read_bytes()[:keep])
    assert load_snapshot(path) is None
    assert "cache-ignored" in "".join(capsys.readouterr())


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    save_snapshot(path, SNAPSHOT)
    data = path.read_bytes()
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert load_snapshot(path) is None


async def test_a_disk_that_takes_no_file_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shoal_core.cache.RETRY_SECONDS", 0.01)
    folder = tmp_path / "not-there-yet"
    saving = asyncio.create_task(keep_saved(folder / "cache", lambda: SNAPSHOT, changed=asyncio.Event().wait))
    await eventually(lambda: "cache-not-saved" in "".join(capsys.readouterr()))
    folder.mkdir()
    await eventually(lambda: load_snapshot(folder / "cache") == SNAPSHOT)
    saving.cancel()


def test_value_of_another_shape_is_left_out() -> None:
    assert decoded(KeyValue("/k", b"{}", 1, 1, 1, NO_LEASE), ClusterIdentity) is None
    assert decoded(KeyValue("/k", b"\xff", 1, 1, 1, NO_LEASE), ClusterIdentity) is None
