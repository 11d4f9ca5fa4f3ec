"""How much memory a request is thought to hold, by which all of them together stay within a bound."""

from __future__ import annotations

import pytest

from shoal_gateway.app import ANSWER_BYTES, BATCH_BYTES, BODY_BYTES, REQUEST_BYTES, bytes_held_by
from shoal_gateway.call import Call


def call(method: str, headers: dict[str, str]) -> Call:
    return Call(
        method=method,
        raw_path=b"/v1/objects/b/o",
        query={},
        headers=headers,
        peer="127.0.0.1:1",
        request_id="r",
        node="g1",
    )


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", {}, ANSWER_BYTES),
        ("HEAD", {}, REQUEST_BYTES),
        ("DELETE", {}, REQUEST_BYTES),
        ("PUT", {"content-length": "1000"}, REQUEST_BYTES + 3000),
        ("PUT", {"content-length": str(5 << 30)}, REQUEST_BYTES + BODY_BYTES),
        ("PUT", {"content-length": "9" * 40}, REQUEST_BYTES + BODY_BYTES),
        ("PUT", {"transfer-encoding": "chunked"}, BODY_BYTES),
        ("PUT", {"content-length": "what"}, BODY_BYTES),
    ],
)
def test_a_request_counts_what_it_may_hold(method: str, headers: dict[str, str], expected: int) -> None:
    assert bytes_held_by(call(method, headers), "objects") == expected


def test_a_batch_counts_its_window() -> None:
    assert bytes_held_by(call("GET", {}), "batch") == BATCH_BYTES
