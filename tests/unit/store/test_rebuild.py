"""An index made anew: what is on the disks comes back with the right bytes or is named, and never wrong ones."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_core.errors import ConfigurationError, DataCorrupt, ObjectNotFound
from shoal_core.multipart import Completion, PartChoice
from shoal_core.objects import PutRequest
from shoal_store.engine import Engine, open_engine
from shoal_store.fsck import verify
from shoal_store.index import held
from shoal_store.index_copies import copies_of
from shoal_store.mountpath_states import MountpathState, MountpathStates
from shoal_store.rebuild import RebuildReport, rebuild_index
from shoal_store.rechunk import Step, rechunk
from support.engines import (
    BUCKET,
    VERSIONED,
    Fence,
    get,
    in_pieces,
    mountpath_folders,
    put,
    put_in_chunks,
    put_in_parts,
    rows,
    running_engine,
    settled,
    stored,
)
from support.layouts import LONG, put_every_layout, put_versions, upload_a_part
from support.stores import CLUSTER_ID

LARGE = os.urandom(100_000)
OTHER = os.urandom(100_000)
Work = Callable[[Engine], Awaitable[object]]


async def copy_indexes(engine: Engine) -> None:
    copier = engine.index_copier(bytes_per_second=1e9)
    for index in engine.indexes.available():
        await copier.copy(index.mountpath_id, size=index.used_bytes())


def lose(folder: Path, mountpath: str = "mp1") -> None:
    """A stretch of zeroes over the beginning, as a stray `dd` writes it."""
    with (folder / mountpath / "index" / "data.mdb").open("r+b") as file:
        file.write(bytes(20_000))


def rebuilt(folder: Path, mountpath: str = "mp1") -> RebuildReport:
    return rebuild_index(mountpath_folders(folder, mountpaths_in(folder)), mountpath, target="t1")


async def around_a_loss(folder: Path, before: Work | None, since: Work | None = None) -> RebuildReport:
    """Of one target with one index: with a copy made between the two, or none at all without `before`."""
    async with running_engine(folder, mountpaths=1) as engine:
        if before is not None:
            await before(engine)
            await copy_indexes(engine)
        if since is not None:
            await since(engine)
        await settled(engine)
    lose(folder)
    report = rebuilt(folder)
    found = verify(mountpath_folders(folder, 1)).findings
    assert [finding for finding in found if not finding.harmless] == []
    return report


def kinds(report: RebuildReport) -> dict[str, int]:
    return report.doubts_by_kind


async def one_of_each(engine: Engine) -> None:
    await put_every_layout(engine, LARGE)
    request = PutRequest(
        "described", content_type="text/x", metadata={"a": "b"}, headers={"cache-control": "x"}
    )
    await engine.store.put(BUCKET, request, in_pieces(OTHER))


FILES = {"large": LARGE, LONG: LARGE, "chunks": LARGE, "parts": LARGE, "copy": LARGE, "described": OTHER}


def mountpaths_in(folder: Path) -> int:
    return len(list(folder.glob("mp?")))


async def contents(folder: Path, names: list[str]) -> dict[str, bytes | None]:
    """None for what is not there."""
    found: dict[str, bytes | None] = {}
    async with running_engine(folder, mountpaths=mountpaths_in(folder)) as engine:
        for name in names:
            try:
                found[name] = await get(engine, name)
            except ObjectNotFound:
                found[name] = None
    return found


async def test_nothing_is_in_doubt_that_the_copy_has(tmp_path: Path) -> None:
    report = await around_a_loss(tmp_path, one_of_each)
    assert (report.doubts, report.objects, report.restored, report.inline) == ([], 7, 0, 1)
    assert await contents(tmp_path, [*FILES, "inline"]) == FILES | {"inline": b"x"}


async def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await one_of_each(engine)
        await engine.store.annotate(BUCKET, "large", {"k": "v"})
        await engine.store.begin_upload(BUCKET, PutRequest("under-way"))
        await put_versions(engine, "versioned", LARGE, b"inline", OTHER)
        tables = ("records", "versions", "payloads", "uploads", "slots")
        before = {table: rows(engine, table) for table in tables}
        await copy_indexes(engine)
    for mountpath in ("mp1", "mp2"):
        lose(tmp_path, mountpath)
        assert rebuilt(tmp_path, mountpath).doubts == []
    async with running_engine(tmp_path) as engine:
        assert {table: rows(engine, table) for table in tables} == before


async def test_what_came_after_the_copy_comes_back_from_its_files(tmp_path: Path) -> None:
    async def nothing(engine: Engine) -> None:
        await put(engine, "other", b"x")

    report = await around_a_loss(tmp_path, nothing, one_of_each)
    assert kinds(report) == {"footer-only": 3, "manifest-only": 3}
    assert await contents(tmp_path, [*FILES, "inline", "other"]) == FILES | {"inline": None, "other": b"x"}
    async with running_engine(tmp_path, mountpaths=1) as engine:
        info = await engine.store.head(BUCKET, "described")
    assert (info.content_type, info.metadata, info.headers) == ("text/x", {"a": "b"}, {"cache-control": "x"})


async def test_without_any_copy_the_files_are_enough_for_what_is_in_files(tmp_path: Path) -> None:
    report = await around_a_loss(tmp_path, None, one_of_each)
    assert (report.copy, report.restored) == ("", 6)
    assert await contents(tmp_path, [*FILES, "inline"]) == FILES | {"inline": None}


async def test_an_overwrite_since_the_copy_is_the_current_version(tmp_path: Path) -> None:
    async def overwrite(engine: Engine) -> None:
        for name in ("inline", *FILES):
            await put(engine, name, OTHER)

    report = await around_a_loss(tmp_path, one_of_each, overwrite)
    assert kinds(report) == {"footer-only": 7}
    assert await contents(tmp_path, [*FILES, "inline"]) == dict.fromkeys([*FILES, "inline"], OTHER)
    async with running_engine(tmp_path, mountpaths=1) as engine:
        rebuilt_version = (await engine.store.head(BUCKET, "inline")).version
        assert (await put(engine, "inline", b"next")).version > rebuilt_version
        assert len(rows(engine, "payloads")) == 1


async def test_a_delete_since_the_copy_holds_for_what_was_in_files(tmp_path: Path) -> None:
    async def delete(engine: Engine) -> None:
        for name in ("inline", *FILES):
            await engine.store.delete(BUCKET, name)

    report = await around_a_loss(tmp_path, one_of_each, delete)
    assert kinds(report) == {"gone": 6}
    gone: dict[str, bytes | None] = dict.fromkeys(FILES)
    assert await contents(tmp_path, [*FILES, "inline"]) == gone | {"inline": b"x"}


async def test_an_overwrite_by_a_small_object_since_the_copy_is_lost_and_the_older_bytes_are_gone(
    tmp_path: Path,
) -> None:
    report = await around_a_loss(tmp_path, one_of_each, lambda engine: put(engine, "large", b"small"))
    assert kinds(report) == {"gone": 1}
    assert await contents(tmp_path, ["large"]) == {"large": None}


async def test_a_rechunk_since_the_copy_keeps_all_that_the_copy_knew(tmp_path: Path) -> None:
    async def into_chunks(engine: Engine) -> None:
        async def tell(_step: Step) -> None:
            return

        properties = replace(BUCKET.properties, chunk_above_bytes=50_000, chunk_bytes=40_000)
        await rechunk(engine, replace(BUCKET, properties=properties), "", tell)

    async def with_pairs(engine: Engine) -> None:
        await one_of_each(engine)
        await engine.store.annotate(BUCKET, "large", {"k": "v"})

    report = await around_a_loss(tmp_path, with_pairs, into_chunks)
    assert kinds(report) == {}
    assert await contents(tmp_path, list(FILES)) == FILES
    async with running_engine(tmp_path, mountpaths=1) as engine:
        info = await engine.store.head(BUCKET, "large")
    assert (info.metadata, info.chunk_count) == ({"k": "v"}, 3)


async def test_an_upload_since_the_copy_is_an_object_or_lost(tmp_path: Path) -> None:
    async def uploads(engine: Engine) -> None:
        await put_in_parts(engine.store, "whole", LARGE)
        await upload_a_part(engine, "half", LARGE)

    report = await around_a_loss(tmp_path, one_of_each, uploads)
    assert kinds(report) == {"manifest-only": 1, "upload-lost": 1}
    assert await contents(tmp_path, ["whole", "half"]) == {"whole": LARGE, "half": None}


async def test_an_upload_that_was_under_way_at_the_copy_goes_on_or_is_an_object(tmp_path: Path) -> None:
    begun: dict[str, tuple[str, PartChoice]] = {}

    async def begin(engine: Engine) -> None:
        for name in ("completed", "going-on"):
            begun[name] = await upload_a_part(engine, name, LARGE)

    async def complete(engine: Engine, name: str) -> None:
        upload_id, part = begun[name]
        await engine.store.complete_upload(BUCKET, name, upload_id, Completion([part]))

    await around_a_loss(tmp_path, begin, lambda engine: complete(engine, "completed"))
    async with running_engine(tmp_path, mountpaths=1) as engine:
        assert len(rows(engine, "uploads")) == 2
        await complete(engine, "going-on")
        assert [await get(engine, name) for name in begun] == [LARGE, LARGE]


async def test_a_file_that_was_left_over_at_the_copy_comes_not_to_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal_store.rebuild.SETTLE_NS", 0)

    async def leave(engine: Engine) -> None:
        await put(engine, "a", LARGE)
        for name in ("a", "b"):
            await engine.writer.write(BUCKET, PutRequest(name), in_pieces(OTHER))

    report = await around_a_loss(tmp_path, leave)
    assert kinds(report) == {"superseded": 2}
    assert await contents(tmp_path, ["a", "b"]) == {"a": LARGE, "b": None}


async def test_the_newest_of_several_versions_wins_and_the_others_stay_on_disk(tmp_path: Path) -> None:
    async def several(engine: Engine) -> None:
        for body in (LARGE, OTHER):
            await engine.writer.write(BUCKET, PutRequest("a"), in_pieces(body))

    report = await around_a_loss(tmp_path, None, several)
    assert kinds(report) == {"footer-only": 1, "superseded": 1}
    assert await contents(tmp_path, ["a"]) == {"a": OTHER}
    assert len(stored(tmp_path)) == 2


async def test_the_older_version_of_a_versioned_bucket_is_kept_when_a_newer_one_is_found(
    tmp_path: Path,
) -> None:
    async def write(engine: Engine, body: bytes) -> None:
        await engine.store.put(VERSIONED, PutRequest("a"), in_pieces(body))

    async def before(engine: Engine) -> None:
        for body in (b"1", LARGE):
            await write(engine, body)

    report = await around_a_loss(tmp_path, before, lambda engine: write(engine, OTHER))
    assert kinds(report) == {"footer-only": 1}
    async with running_engine(tmp_path, mountpaths=1) as engine:
        assert len(rows(engine, "versions")) == 2
        assert await get(engine, "a", bucket=VERSIONED) == OTHER


async def test_a_missing_file_of_several_is_damage_and_not_a_delete(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        written = await put_in_chunks(engine, "a", LARGE, 30_000)
        await copy_indexes(engine)
    written.files[2].unlink()
    lose(tmp_path)
    report = rebuilt(tmp_path)
    assert report.doubts == []
    assert [finding.kind for finding in report.verified.findings] == ["missing-chunk"]


async def test_the_old_index_and_the_list_are_set_aside(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await put(engine, "a", LARGE)
    lose(tmp_path)
    lost = (tmp_path / "mp1" / "index" / "data.mdb").read_bytes()
    found = verify(mountpath_folders(tmp_path, 1)).findings
    assert [(finding.kind, finding.mountpath) for finding in found] == [("damaged-index", "mp1")]
    report = rebuilt(tmp_path)
    aside = Path(report.aside)
    assert (aside / "index" / "data.mdb").read_bytes() == lost
    assert json.loads((aside / "rebuild.json").read_text())["doubts"][0]["kind"] == "footer-only"
    assert sorted(path.name for path in (tmp_path / "mp1").iterdir()) == [
        "aside", "data", "index", "owner.json", "reserve", "shoal.json", "tmp",
    ]  # fmt: skip


async def test_a_damaged_copy_is_not_used_and_named(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        await one_of_each(engine)
        await copy_indexes(engine)
    copy = copies_of("mp1", [tmp_path / "mp1"])[0]
    with copy.data.open("r+b") as file:
        file.seek(9000)
        file.write(b"\xff\xff")
    lose(tmp_path)
    report = rebuilt(tmp_path)
    assert (report.copy, report.damaged_copies, report.restored) == ("", [str(copy.folder)], 6)


async def test_an_index_in_use_is_left_alone(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await put(engine, "a", LARGE)
        with pytest.raises(ConfigurationError, match="is in use: stop the target"):
            rebuilt(tmp_path)
        assert await get(engine, "a") == LARGE


async def test_no_process_opens_an_index_that_is_being_rebuilt(tmp_path: Path) -> None:
    async with running_engine(tmp_path):
        pass
    use = held(tmp_path / "mp1" / "index", shared=False)
    with pytest.raises(ConfigurationError, match="is being rebuilt"):
        open_engine(mountpath_folders(tmp_path), cluster=CLUSTER_ID, target="t1", authority=Fence())
    os.close(use)
    async with running_engine(tmp_path):
        pass


@pytest.mark.parametrize("lost", ["gone", "empty", "overwritten"])
async def test_a_start_without_the_index_leaves_the_mountpath_out_until_it_is_rebuilt(
    tmp_path: Path, lost: str
) -> None:
    async with running_engine(tmp_path) as engine:
        for number in range(8):
            await put(engine, f"n{number}", LARGE)
    if lost == "gone":
        shutil.rmtree(tmp_path / "mp1" / "index")
    elif lost == "empty":
        (tmp_path / "mp1" / "index" / "data.mdb").write_bytes(b"")
    else:
        lose(tmp_path)
    folders = mountpath_folders(tmp_path)
    states = MountpathStates(list(folders))
    engine = open_engine(folders, cluster=CLUSTER_ID, target="t1", authority=Fence(), states=states)
    assert states.of("mp1").state is MountpathState.FAILED
    assert "shoal fsck --rebuild-index" in states.of("mp1").reason
    await engine.start()
    report = await asyncio.to_thread(rebuilt, tmp_path)
    assert report.restored
    await engine.enable("mp1")
    for number in range(8):
        assert await get(engine, f"n{number}") == LARGE
    await engine.stop()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_bits_flip_no_wrong_bytes_are_read_after_a_rebuild(tmp_path: Path, seed: int) -> None:
    """In data, manifests, indexes and copies: each object is right, refused, or not there and named."""
    random_ = random.Random(seed)
    versions: dict[str, list[bytes]] = {}
    async with running_engine(tmp_path) as engine:

        async def write(name: str) -> None:
            data = random_.randbytes(random_.choice([100, 40_000, 90_000]))
            versions.setdefault(name, []).append(data)
            if len(data) > 50_000 and random_.random() < 0.6:
                await put_in_chunks(engine, name, data, 40_000)
            else:
                await put(engine, name, data)

        for number in range(30):
            await write(f"n{number}")
        await copy_indexes(engine)
        for number in range(20, 40):
            await write(f"n{number}")
        await settled(engine)
    flip_some(tmp_path, random_)
    for mountpath in ("mp1", "mp2"):
        if random_.random() < 0.5:
            lose(tmp_path, mountpath)
        try:
            rebuilt(tmp_path, mountpath)
        except DataCorrupt as error:
            raise AssertionError(f"the rebuilt index does not verify: {error.message}") from error
    async with running_engine(tmp_path) as engine:
        for name, written in versions.items():
            try:
                assert await get(engine, name) in written
            except (ObjectNotFound, DataCorrupt):
                """Not there, or refused."""


def flip_some(folder: Path, random_: random.Random) -> None:
    files = [*stored(folder), *folder.glob("mp*/copies/*/*"), *folder.glob("mp*/index/data.mdb")]
    for file in random_.sample(sorted(files), 12):
        flip(file, random_)


def flip(file: Path, random_: random.Random) -> None:
    with file.open("r+b") as opened:
        place = random_.randrange(file.stat().st_size)
        opened.seek(place)
        byte = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes((byte ^ 1 << random_.randrange(8),)))


async def test_without_all_mountpaths_nothing_is_rebuilt(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        await copy_indexes(engine)
    folders = mountpath_folders(tmp_path)
    only = {"mp1": folders["mp1"]}
    for copy in copies_of("mp1", folders.values()):
        shutil.copytree(copy.folder, folders["mp1"] / "copies" / copy.folder.name)
    with pytest.raises(ConfigurationError, match="all are needed"):
        rebuild_index(only, "mp1", target="t1")
