"""The committer: groups, conditions, fencing before and after, what a commit retires, and what a refused one leaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import pytest

from shoal_core.errors import (
    BucketNotFound,
    DataCorrupt,
    InvalidArgument,
    LeaseLost,
    ObjectNotFound,
    PreconditionFailed,
    StaleEpoch,
    TooBusy,
    Unavailable,
)
from shoal_core.objects import Preconditions, PutRequest, Version
from shoal_core.placement import SLOTS
from shoal_store.chunkfile import BLOCK_BYTES
from shoal_store.commit_thread import PENDING_MAX, ROUND_MAX
from shoal_store.engine import Engine
from shoal_store.index import READERS_MAX
from shoal_store.record import Record, decode_record
from support.engines import (
    BUCKET,
    VERSIONED,
    Fence,
    commit_of,
    get,
    in_pieces,
    mountpath_folders,
    name_kept_by,
    put,
    put_in_chunks,
    rows,
    running_engine,
    settled,
    stored,
    unstarted_engine,
)
from support.waiting import eventually

LARGE = os.urandom(BLOCK_BYTES + 4321)


@pytest.fixture
def fence() -> Fence:
    return Fence()


@pytest.fixture
async def engine(tmp_path: Path, fence: Fence) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path, fence=fence) as engine:
        yield engine


def conditions_on(version: Version, etag: str) -> list[tuple[Preconditions, bool]]:
    """What may be asked of an object, and whether it holds."""
    return [
        (Preconditions(if_match=(etag,)), True),
        (Preconditions(if_match=("other",)), False),
        (Preconditions(if_match=("*",)), True),
        (Preconditions(if_none_match=(etag,)), False),
        (Preconditions(if_none_match=("other",)), True),
        (Preconditions(if_none_match=("*",)), False),
        (Preconditions(if_version=version), True),
        (Preconditions(if_version=Version(b"another vers")), False),
    ]


@pytest.mark.parametrize("row", range(8))
async def test_an_overwrite_happens_exactly_when_its_condition_holds(
    engine: Engine, tmp_path: Path, row: int
) -> None:
    info = await put(engine, "a", b"old")
    condition, holds = conditions_on(info.version, info.etag)[row]
    refused = [] if holds else [PreconditionFailed]
    with suppress(*refused):
        await put(engine, "a", LARGE, preconditions=condition)
        assert holds
    assert await get(engine, "a") == (LARGE if holds else b"old")
    assert len(stored(tmp_path)) == holds


@pytest.mark.parametrize("row", range(8))
async def test_a_delete_happens_exactly_when_its_condition_holds(engine: Engine, row: int) -> None:
    info = await put(engine, "a", b"old")
    condition, holds = conditions_on(info.version, info.etag)[row]
    refused = [] if holds else [PreconditionFailed]
    with suppress(*refused):
        await engine.store.delete(BUCKET, "a", preconditions=condition)
        assert holds
    with suppress(ObjectNotFound):
        assert await get(engine, "a") == b"old"
        assert not holds


async def test_one_of_many_writers_of_a_new_name_wins(engine: Engine, tmp_path: Path) -> None:
    new = Preconditions(if_none_match=("*",))
    bodies = [bytes([number]) * 40_000 for number in range(20)]
    outcomes = await asyncio.gather(
        *(put(engine, "a", body, preconditions=new) for body in bodies), return_exceptions=True
    )
    won = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
    assert len(won) == 1
    assert await get(engine, "a") == bodies[won[0]]
    assert len(stored(tmp_path)) == 1


async def test_compare_and_swap_by_version_loses_no_increment(engine: Engine) -> None:
    await put(engine, "counter", b"0")

    async def increment() -> None:
        while True:
            body = await engine.store.open(BUCKET, "counter")
            value = int(b"".join([piece async for piece in body.chunks()]))
            with suppress(PreconditionFailed):
                condition = Preconditions(if_version=body.info.version)
                await put(engine, "counter", str(value + 1).encode(), preconditions=condition)
                return

    await asyncio.gather(*(increment() for _ in range(20)))
    assert await get(engine, "counter") == b"20"


async def test_what_waits_together_is_committed_together(tmp_path: Path) -> None:
    engine = unstarted_engine(mountpath_folders(tmp_path, 1))
    await engine.start()
    names = [f"name-{number}" for number in range(2 * ROUND_MAX)]
    infos = await asyncio.gather(*(put(engine, name, name.encode()) for name in names))
    groups, commits = engine.groups
    assert commits == len(names)
    assert groups <= len(names) / 4
    assert len({info.version for info in infos}) == len(names)
    await engine.stop()


async def test_versions_and_sequences_grow_with_each_overwrite_and_restart(tmp_path: Path) -> None:
    infos = []
    for _ in range(3):
        async with running_engine(tmp_path) as engine:
            infos += [await put(engine, "a", b"x") for _ in range(3)]
    assert [info.sequence for info in infos] == list(range(1, 10))
    assert sorted(info.version for info in infos) == [info.version for info in infos]


async def test_a_refused_commit_does_not_disturb_the_others_of_its_group(engine: Engine) -> None:
    never = Preconditions(if_match=("no such etag",))
    outcomes = await asyncio.gather(
        *(put(engine, f"good-{number}", b"x") for number in range(10)),
        put(engine, "good-0", b"y", preconditions=never),
        engine.store.delete(BUCKET, "missing"),
        *(put(engine, f"good-{number}", b"x") for number in range(10, 20)),
        return_exceptions=True,
    )
    refused = [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]
    assert refused == [PreconditionFailed, ObjectNotFound]
    for number in range(20):
        assert await get(engine, f"good-{number}") == b"x"


async def test_commits_beyond_the_queue_are_refused_at_once_and_leave_no_file(tmp_path: Path) -> None:
    engine = unstarted_engine(mountpath_folders(tmp_path, 1))
    with next(iter(engine.indexes.values())).write():
        await engine.start()
        written = await engine.writer.write(BUCKET, PutRequest("a"), in_pieces(b"x"))
        waiting = [engine.commit(commit_of(written, "first"))]
        # The committer holds the first, and waits for our transaction.
        await eventually(lambda: engine._threads["mp1"].rounds == 1)
        waiting += [engine.commit(commit_of(written, f"name-{number}")) for number in range(PENDING_MAX + 1)]
        with pytest.raises(TooBusy, match="repeat"):
            await asyncio.gather(*waiting)
        with pytest.raises(TooBusy):
            await put(engine, "large", LARGE)
        assert stored(tmp_path) == []
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(not isinstance(outcome, TooBusy) for outcome in outcomes) == PENDING_MAX + 1
    await engine.stop()


async def test_stopping_finishes_what_is_pending_and_takes_nothing_more(tmp_path: Path) -> None:
    engine = unstarted_engine(mountpath_folders(tmp_path))
    await engine.start()
    written = await engine.writer.write(BUCKET, PutRequest("a"), in_pieces(b"x"))
    pending = [asyncio.ensure_future(engine.commit(commit_of(written, f"name-{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await engine.stop()
    assert [info.sequence for info in await asyncio.gather(*pending)] == [1] * 50
    with pytest.raises(Unavailable, match="stopping"):
        await engine.commit(commit_of(written, "late"))


async def test_a_target_without_a_lease_refuses_and_keeps_no_file(
    engine: Engine, fence: Fence, tmp_path: Path
) -> None:
    await put(engine, "a", b"old")
    fence.held = False
    with pytest.raises(LeaseLost) as caught:
        await put(engine, "a", LARGE)
    assert "outcome" not in caught.value.metadata
    assert stored(tmp_path) == []
    with pytest.raises(LeaseLost):
        await engine.store.delete(BUCKET, "a")
    assert await get(engine, "a") == b"old"


async def test_a_lease_lost_after_the_transaction_leaves_an_unknown_outcome_and_a_readable_object(
    engine: Engine, fence: Fence
) -> None:
    fence.leases = [True, False]
    with pytest.raises(LeaseLost) as caught:
        await put(engine, "a", LARGE)
    assert caught.value.metadata["outcome"] == "unknown"
    assert await get(engine, "a") == LARGE


async def test_a_slot_lost_during_the_transaction_leaves_an_unknown_outcome(engine: Engine) -> None:
    class LosingFence(Fence):
        """Takes the slots away between the transaction and the acknowledgement."""

        asked = 0

        def deadline(self) -> float:
            self.asked += 1
            if self.asked == 2:
                engine.own(2, bytes(SLOTS // 8))
            return super().deadline()

    for committer in engine._committers.values():
        committer._authority = LosingFence()
    with pytest.raises(LeaseLost) as caught:
        await put(engine, "a", LARGE)
    assert caught.value.metadata["outcome"] == "unknown"


async def test_a_commit_for_a_slot_that_is_not_held_is_refused_with_the_epoch(
    engine: Engine, tmp_path: Path
) -> None:
    engine.own(7, bytes(SLOTS // 8))
    with pytest.raises(StaleEpoch) as caught:
        await put(engine, "a", LARGE)
    assert caught.value.metadata["epoch"] == "7"
    assert stored(tmp_path) == []


async def test_a_commit_to_a_removed_bucket_is_refused(engine: Engine, fence: Fence, tmp_path: Path) -> None:
    await put(engine, "a", b"old")
    fence.removed.add(BUCKET.id)
    with pytest.raises(BucketNotFound):
        await put(engine, "b", LARGE)
    with pytest.raises(BucketNotFound):
        await engine.store.delete(BUCKET, "a")
    assert stored(tmp_path) == []


async def test_an_overwrite_unlinks_what_the_old_version_had(engine: Engine, tmp_path: Path) -> None:
    await put_in_chunks(engine, "a", LARGE, 400_000)
    await put(engine, "a", LARGE[::-1])
    await settled(engine)
    (left,) = stored(tmp_path)
    assert left.read_bytes().startswith(LARGE[::-1])


async def test_a_delete_unlinks_chunks_and_manifest_and_removes_the_payload(
    engine: Engine, tmp_path: Path
) -> None:
    await put_in_chunks(engine, "large", LARGE, 400_000)
    await put(engine, "small", b"small")
    await engine.store.delete(BUCKET, "large")
    await engine.store.delete(BUCKET, "small")
    await settled(engine)
    assert stored(tmp_path) == []
    assert rows(engine, "payloads") == rows(engine, "records") == []


async def test_an_inline_overwrite_leaves_one_payload(engine: Engine) -> None:
    for body in (b"one", b"two", b"three"):
        await put(engine, "a", body)
    assert [value for _, value in rows(engine, "payloads")] == [b"three"]


@pytest.mark.parametrize("body", [b"first", LARGE])
@pytest.mark.parametrize("name", ["a", "é" * 400])
async def test_a_versioned_delete_leaves_a_marker_and_the_old_version(
    engine: Engine, tmp_path: Path, body: bytes, name: str
) -> None:
    first = await put(engine, name, body, bucket=VERSIONED)
    await engine.store.delete(VERSIONED, name)
    await settled(engine)
    with pytest.raises(ObjectNotFound):
        await get(engine, name, bucket=VERSIONED)
    marker, old = versions(engine)
    assert marker.delete_marker
    assert marker.version > old.version == first.version
    assert old.etag == first.etag
    assert len(stored(tmp_path)) + len(rows(engine, "payloads")) == 1


def versions(engine: Engine) -> list[Record]:
    """Newest first."""
    return [decode_record(key, value) for key, value in rows(engine, "versions")]


async def test_versioned_overwrites_keep_every_version_newest_first(engine: Engine) -> None:
    infos = [await put(engine, "a", body, bucket=VERSIONED) for body in (b"1", b"2", b"3")]
    assert await get(engine, "a", bucket=VERSIONED) == b"3"
    assert [record.version for record in versions(engine)] == [infos[1].version, infos[0].version]


async def test_versions_of_long_names_that_share_their_beginning_are_kept_apart(engine: Engine) -> None:
    """Names of up to 1,024 bytes share the first 440: neither their keys nor those of their versions may be cut."""
    names = ["a" * 1023 + last for last in "bcdef"] + ["a" * 440, "a" * 439, "a" * 441]
    for name in names * 3:
        await put(engine, name, name[-3:].encode(), bucket=VERSIONED)
    assert len(versions(engine)) == 2 * len(names)
    assert {record.name for record in versions(engine)} == {"", *(n for n in names if len(n) > 440)}
    for name in names:
        assert await get(engine, name, bucket=VERSIONED) == name[-3:].encode()


async def test_a_payload_that_was_damaged_on_its_way_is_refused(engine: Engine) -> None:
    written = await engine.writer.write(BUCKET, PutRequest("a"), in_pieces(b"right"))
    commit = msgspec.structs.replace(commit_of(written, "a"), payload=b"wrong")
    with pytest.raises(DataCorrupt, match="arrival"):
        await engine.commit(commit)
    with pytest.raises(ObjectNotFound):
        await get(engine, "a")


async def test_a_commit_that_makes_no_sense_is_refused_and_the_next_is_taken(engine: Engine) -> None:
    written = await engine.writer.write(BUCKET, PutRequest("a"), in_pieces(LARGE))
    good = commit_of(written, "a")
    (chunk,) = written.record.chunks
    elsewhere = msgspec.structs.replace(chunk, mountpath="mp9")
    shorter = msgspec.structs.replace(chunk, length=chunk.length - 1)
    strange = [msgspec.structs.replace(written.record, chunks=(each,)) for each in (elsewhere, shorter)]
    records = [None, *strange]
    senseless = [msgspec.structs.replace(good, record=record) for record in records]
    for commit in [msgspec.structs.replace(good, bucket_id=b"short"), *senseless]:
        with pytest.raises(InvalidArgument):
            await engine.commit(commit)
    await engine.commit(good)
    assert await get(engine, "a") == LARGE


async def test_a_commit_whose_check_afterwards_fails_keeps_its_files(tmp_path: Path) -> None:
    async with running_engine(tmp_path, mountpaths=1) as engine:
        with ExitStack() as readers:
            for _ in range(READERS_MAX):
                readers.enter_context(engine.indexes["mp1"].read())
            # No reader slot is left with which the committer could look at the slots again.
            with pytest.raises(TooBusy) as caught:
                await put(engine, "a", LARGE)
        assert caught.value.metadata["outcome"] == "unknown"
        assert await get(engine, "a") == LARGE


async def test_each_index_has_its_own_committer(engine: Engine) -> None:
    for mountpath_id in ("mp1", "mp2"):
        info = await put(engine, name_kept_by(engine, mountpath_id), b"x")
        assert info.location == f"t[t1]:{mountpath_id}"
