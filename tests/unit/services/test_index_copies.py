"""The target's own copies of its indexes: made when something has changed, told, and none when that is not wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from shoal_store.engine import Engine
from shoal_store.index_copies import copies_of
from shoal_target.index_copies import IndexCopies
from support.engines import BUCKET, mountpath_folders, name_kept_by, put, running_engine


def copying(engine: Engine, *, interval_seconds: float = 1.0) -> IndexCopies:
    return IndexCopies(engine, interval_seconds=interval_seconds, bytes_per_second=1e9)


def made(folder: Path) -> dict[str, list[int]]:
    paths = list(mountpath_folders(folder).values())
    return {id: [copy.description.made_ns for copy in copies_of(id, paths)] for id in ("mp1", "mp2")}


def counted(outcome: str) -> float:
    labels = {"mountpath": "mp1", "outcome": outcome}
    return REGISTRY.get_sample_value("shoal_store_index_copies_total", labels) or 0.0


async def test_only_what_has_changed_is_copied_again(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        copies, skipped = copying(engine), counted("skipped")
        await copies.copy_all()
        first = made(tmp_path)
        assert [len(each) for each in first.values()] == [1, 1]
        await put(engine, name_kept_by(engine, "mp2"), b"x")
        await copies.copy_all()
        second = made(tmp_path)
    assert (second["mp1"], counted("skipped")) == (first["mp1"], skipped + 1)
    assert second["mp2"][0] > first["mp2"][0]
    assert REGISTRY.get_sample_value("shoal_store_index_copy_made_seconds", {"mountpath": "mp1"})


async def test_a_copy_that_fails_is_told_and_the_others_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_engine(tmp_path) as engine:
        name = name_kept_by(engine, "mp1")
        await put(engine, name, b"x")
        with engine.indexes["mp1"].write() as transaction:
            transaction.put(BUCKET.id + name.encode(), b"damaged", db=engine.indexes["mp1"].records)
        failed = counted("failed")
        await copying(engine).copy_all()
    assert [len(each) for each in made(tmp_path).values()] == [0, 1]
    assert counted("failed") == failed + 1
    assert "index-copy-failed" in capsys.readouterr().out


async def test_an_interval_of_0_makes_none(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await copying(engine, interval_seconds=0).run()
    assert made(tmp_path) == {"mp1": [], "mp2": []}
