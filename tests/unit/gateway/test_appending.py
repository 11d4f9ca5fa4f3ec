"""AIStore's append over REST."""

from __future__ import annotations

import pytest

from support.asgi import Answer, Asking

URL = "/v1/objects/b/o"


async def append(ask: Asking, body: bytes, handle: str = "", *, kind: str = "append") -> Answer:
    return await ask("PUT", f"{URL}?append_type={kind}&append_handle={handle}", body=body)


async def appended(ask: Asking, *bodies: bytes) -> str:
    """The handle after so many appends."""
    handle = ""
    for body in bodies:
        answer = await append(ask, body, handle)
        assert answer.status == 200
        handle = answer.headers["ais-append-handle"]
    return handle


async def test_appends_are_seen_at_the_flush(ask: Asking) -> None:
    handle = await appended(ask, b"one", b"two")
    assert (await ask("GET", URL)).status == 404
    answer = await append(ask, b"", handle, kind="flush")
    assert (answer.status, "ais-append-handle" in answer.headers) == (200, False)
    assert (await ask("GET", URL)).body == b"onetwo"


async def test_a_flush_may_bring_the_last_bytes(ask: Asking) -> None:
    assert (await append(ask, b"three", await appended(ask, b"one", b"two"), kind="flush")).status == 200
    assert (await ask("GET", URL)).body == b"onetwothree"


@pytest.mark.parametrize("before", [b"before", b""])
async def test_what_the_object_held_stays_in_front(ask: Asking, before: bytes) -> None:
    await ask("PUT", URL, body=before, headers={"content-type": "text/x"})
    await append(ask, b"", await appended(ask, b"one"), kind="flush")
    answer = await ask("GET", URL)
    assert (answer.body, answer.headers["content-type"]) == (before + b"one", "text/x")


@pytest.mark.parametrize("before", [None, b"before"])
async def test_a_change_behind_its_back_fails_the_flush(ask: Asking, before: bytes | None) -> None:
    if before is not None:
        await ask("PUT", URL, body=before)
    handle = await appended(ask, b"one")
    await ask("PUT", URL, body=b"other")
    assert (await append(ask, b"", handle, kind="flush")).status == 412
    assert (await ask("GET", URL)).body == b"other"


async def test_after_the_flush_the_handle_is_worth_nothing(ask: Asking) -> None:
    handle = await appended(ask, b"one")
    await append(ask, b"", handle, kind="flush")
    for kind in ("append", "flush"):
        answer = await append(ask, b"two", handle, kind=kind)
        assert (answer.status, "does not exist" in answer.error["message"]) == (404, True)
    assert (await ask("GET", URL)).body == b"one"


@pytest.mark.parametrize(
    "handle", ["x", "0" * 32, f"{'0' * 32}.1.zz", f"{'0' * 32}.x.", "..", f"{'0' * 32}.999999."]
)
async def test_handles_that_nobody_gave_are_refused(ask: Asking, handle: str) -> None:
    assert (await append(ask, b"x", handle)).status == 400


async def test_there_is_a_most_of_appends(ask: Asking) -> None:
    handle = await appended(ask, b"one")
    full = handle.replace(".1.", ".10000.")
    assert (await append(ask, b"two", full)).status == 400


@pytest.mark.parametrize(("kind", "handle"), [("other", ""), ("flush", "")])
async def test_requests_that_mean_nothing_are_refused(ask: Asking, kind: str, handle: str) -> None:
    assert (await append(ask, b"x", handle, kind=kind)).status == 400
    assert (await ask("GET", URL)).status == 404
