"""What the lane keeps of a signed read is all but the proof: each one is hashed, and judged as things are then."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

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
SECONDS_MAX = 900
"""Of a presigned URL here, and of every signature in a header."""


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

    def payload(self, request: bytes, peer: str = "127.0.0.1") -> bytes | None:
        answer = self.lane.answer(request, peer=peer, common=[])
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


def presigned(name: str) -> bytes:
    request = Signer().presigned("GET", f"/{BUCKET.reference.name}/{name}", expires=SECONDS_MAX)
    return b"GET %b?%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (request.raw_path, request.raw_query, HOST.encode())


def header_signed(
    name: str, headers: Mapping[str, str], *, before: bool = False, unsigned: str = ""
) -> bytes:
    """`headers` are signed. `unsigned` are lines; those stand before the others or behind them."""
    request = Signer().signed("GET", f"/{BUCKET.reference.name}/{name}", headers=headers)
    lines = b"".join(b"%b: %b\r\n" % header for header in request.headers)
    more = unsigned.encode()
    block = more + lines if before else lines + more
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (request.raw_path, block)


FORMS: dict[str, Callable[[str], bytes]] = {
    "presigned": presigned,
    "in the header": lambda name: header_signed(name, {}),
    "numbered": lambda name: header_signed(name, {}, unsigned=f"amz-sdk-invocation-id: {uuid4()}\r\n"),
    "numbered in front": lambda name: header_signed(
        name, {}, before=True, unsigned=f"Amz-Sdk-Invocation-Id: {uuid4()}\r\n"
    ),
    "with a signed number": lambda name: header_signed(name, {"amz-sdk-invocation-id": str(uuid4())}),
}


@pytest.fixture(params=FORMS)
def pair(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    """Signed in the same second, one for each name."""
    return pair_of(FORMS[request.param])


def pair_of(form: Callable[[str], bytes]) -> tuple[bytes, bytes]:
    while True:
        second = int(time.time())
        one, other = map(form, NAMES)
        if int(time.time()) == second:
            return one, other


def signature_of(request: bytes) -> bytes:
    match = re.search(rb"Signature=([0-9a-f]{64})", request)
    assert match is not None
    return match[1]


def test_requests_of_one_second_are_judged_as_a_whole_once_and_proved_one_by_one(
    lane: Lane, pair: tuple[bytes, bytes]
) -> None:
    one, other = pair
    assert [lane.payload(each) for each in (one, other, one, other)] == [b"one", b"other/name"] * 2
    assert len(lane.asked) == 1


def test_none_is_answered_with_the_signature_of_another(lane: Lane, pair: tuple[bytes, bytes]) -> None:
    one, other = pair
    proof, last = signature_of(one), signature_of(one)[-1:]
    assert lane.payload(one) == b"one"
    assert lane.payload(other.replace(signature_of(other), proof)) is None
    assert lane.payload(one.replace(b"/one", b"/other/name")) is None
    assert lane.payload(one.replace(proof, proof[:-1] + (b"0" if last != b"0" else b"1"))) is None
    assert lane.payload(one.replace(proof, proof.upper())) is None
    assert lane.payload(one) == b"one"


def test_what_was_kept_is_of_one_caller_and_one_host(lane: Lane, pair: tuple[bytes, bytes]) -> None:
    one, other = pair
    assert lane.payload(one) == b"one"
    assert lane.payload(other, peer="192.0.2.1") is None
    assert lane.payload(other.replace(HOST.encode(), b"evil.example")) is None
    # Another host than the one that was signed.
    assert lane.payload(other.replace(HOST.encode(), b"localhost")) is None


def test_the_clock_goes_on(lane: Lane, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = pair
    assert lane.payload(one) == b"one"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + SECONDS_MAX + 2)
    assert [lane.payload(one), lane.payload(other)] == [None, None]


def test_a_key_that_was_revoked_or_renewed_meanwhile_proves_nothing(
    lane: Lane, pair: tuple[bytes, bytes]
) -> None:
    one, other = pair
    assert lane.payload(one) == b"one"
    lane.keys.renew(SECRET[::-1])
    assert [lane.payload(one), lane.payload(other)] == [None, None]
    lane.keys.revoke()
    assert [lane.payload(one), lane.payload(other)] == [None, None]


async def test_a_bucket_that_is_gone_is_gone(lane: Lane, pair: tuple[bytes, bytes]) -> None:
    one, other = pair
    assert lane.payload(one) == b"one"
    await lane.buckets.delete(BUCKET.reference)
    assert [lane.payload(one), lane.payload(other)] == [None, None]


def test_an_expiry_cannot_be_put_off(lane: Lane) -> None:
    one, _ = pair_of(presigned)
    assert lane.payload(one) == b"one"
    assert lane.payload(one.replace(b"Expires=900", b"Expires=901")) is None


def test_a_signed_number_is_one_of_its_request(lane: Lane) -> None:
    one, other = pair_of(FORMS["with a signed number"])
    assert lane.payload(one) == b"one"
    assert lane.payload(other.replace(number_of(other), number_of(one))) is None
    assert lane.payload(other) == b"other/name"


def test_a_number_that_is_not_signed_says_nothing(lane: Lane) -> None:
    one, other = pair_of(FORMS["numbered"])
    assert lane.payload(one) == b"one"
    assert lane.payload(other.replace(number_of(other), number_of(one))) == b"other/name"
    assert len(lane.asked) == 1


def test_nothing_hides_where_a_number_was(lane: Lane) -> None:
    one, other = pair_of(FORMS["numbered"])
    assert lane.payload(one) == b"one"
    hidden = b"1\r\nrange: bytes=0-0\r\nx-amz-acl: food"
    assert len(hidden) == len(number_of(other)) == 36
    assert lane.payload(other.replace(number_of(other), hidden)) is None
    ranged = b"1\r\nrange: bytes=0-0\r\naccept: */*   "
    assert lane.payload(other.replace(number_of(other), ranged)) == b"o"


def test_the_signature_of_a_request_is_that_of_its_authorization(lane: Lane) -> None:
    """Not what another header says that it is."""
    one, other = (
        header_signed(name, {}, before=True, unsigned=f"user-agent: Signature={'0' * 64}\r\n")
        for name in NAMES
    )
    assert lane.payload(one) == b"one"
    in_front = one.replace(b"0" * 64, signature_of(one.replace(b"=" + b"0" * 64, b"")))
    assert lane.payload(in_front) == b"one"
    spoken = other.replace(signature_of(other.replace(b"=" + b"0" * 64, b"")), b"1" * 64)
    assert lane.payload(spoken.replace(b"0" * 64, signature_of(one))) is None
    assert lane.payload(other) == b"other/name"


def number_of(request: bytes) -> bytes:
    match = re.search(rb"(?i)amz-sdk-invocation-id: ([0-9a-f-]{36})", request)
    assert match is not None
    return match[1]
