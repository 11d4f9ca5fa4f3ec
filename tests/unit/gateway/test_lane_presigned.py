"""What the lane keeps of a presigned GET is all but the proof: each one is hashed, and judged as things are then."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR
from shoal_core.s3_keys import AccessKey, AccessKeys
from shoal_gateway.guard import LocalGuard
from shoal_gateway.lane.lane import FastLane
from shoal_gateway.lane.signature import LaneVerifier
from support.engines import BUCKET, put, running_engine
from support.memory_buckets import MemoryBuckets
from support.s3_signing import ACCESS_KEY, HOST, REGION, SECRET, Signer

NAMES = ("one", "other/name")


class ChangingKeys(AccessKeys):
    """Keys that can be taken back."""

    def revoke(self) -> None:
        self._keys = {}

    def renew(self, secret: str) -> None:
        self._keys = {ACCESS_KEY: AccessKey(ACCESS_KEY, secret.encode(), LOCAL_ADMINISTRATOR)}


@dataclass
class Lane:
    lane: FastLane
    keys: ChangingKeys
    buckets: MemoryBuckets
    asked: list[object]
    """A request for each time that a whole head was judged."""

    def payload(self, url: bytes, peer: str = "127.0.0.1", host: str = HOST) -> bytes | None:
        data = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (url, host.encode())
        answer = self.lane.answer(data, peer=peer, common=[])
        return None if answer is None else bytes(answer.found.payload)


@pytest.fixture
async def lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lane]:
    asked: list[object] = []
    whole = LaneVerifier.principal_of

    def counted(self: LaneVerifier, request: Any) -> Any:
        asked.append(request)
        return whole(self, request)

    monkeypatch.setattr(LaneVerifier, "principal_of", counted)
    async with running_engine(tmp_path) as engine:
        for name in NAMES:
            await put(engine, name, name.encode())
        buckets, keys = MemoryBuckets(BUCKET), ChangingKeys()
        keys.renew(SECRET)
        parts: Any = SimpleNamespace(local_store=lambda _name: engine.store, buckets=buckets)
        guard = LocalGuard(port=int(HOST.rpartition(":")[2]))
        yield Lane(FastLane(parts, guard, keys=keys, region=REGION), keys, buckets, asked)


def urls() -> list[bytes]:
    """Presigned in the same second, one for each name."""
    while True:
        requests = [Signer().presigned("GET", f"/{BUCKET.reference.name}/{n}", expires=60) for n in NAMES]
        if len({request.raw_query[:-64] for request in requests}) == 1:
            return [request.raw_path + b"?" + request.raw_query for request in requests]


def test_urls_of_one_second_are_judged_as_a_whole_once_and_proved_one_by_one(lane: Lane) -> None:
    one, other = urls()
    assert [lane.payload(url) for url in (one, other, one, other)] == [b"one", b"other/name"] * 2
    assert len(lane.asked) == 1


def test_no_url_is_answered_with_the_signature_of_another(lane: Lane) -> None:
    one, other = urls()
    assert lane.payload(one) == b"one"
    assert lane.payload(other[:-64] + one[-64:]) is None
    assert lane.payload(one.replace(b"/one?", b"/other/name?")) is None
    assert lane.payload(one[:-1] + (b"0" if one[-1:] != b"0" else b"1")) is None
    assert lane.payload(one.replace(b"Expires=60", b"Expires=61")) is None
    assert lane.payload(one) == b"one"


def test_what_was_kept_is_of_one_caller_and_one_host(lane: Lane) -> None:
    one, other = urls()
    assert lane.payload(one) == b"one"
    assert lane.payload(other, peer="192.0.2.1") is None
    assert lane.payload(other, host="evil.example") is None
    assert lane.payload(other, host="localhost") is None  # another host than the one that was signed


def test_the_clock_goes_on(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = urls()
    assert lane.payload(one) == b"one"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 62)
    assert [lane.payload(one), lane.payload(other)] == [None, None]


def test_a_key_that_was_revoked_or_renewed_meanwhile_proves_nothing(lane: Lane) -> None:
    one, other = urls()
    assert lane.payload(one) == b"one"
    lane.keys.renew(SECRET[::-1])
    assert [lane.payload(one), lane.payload(other)] == [None, None]
    lane.keys.revoke()
    assert [lane.payload(one), lane.payload(other)] == [None, None]


async def test_a_bucket_that_is_gone_is_gone(lane: Lane) -> None:
    one, other = urls()
    assert lane.payload(one) == b"one"
    await lane.buckets.delete(BUCKET.reference)
    assert [lane.payload(one), lane.payload(other)] == [None, None]
