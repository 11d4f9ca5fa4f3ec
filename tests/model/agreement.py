"""One operation asked of the model and of the store: the same answer, or the same error, or the test fails."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from model.reference import Kept
from shoal_core.errors import ShoalError
from shoal_core.objects import ObjectInfo

Expected = TypeVar("Expected")
Answer = TypeVar("Answer")


class Refused(Exception):
    """Both refused alike; the rule ends here."""


async def agree(
    model: Callable[[], Expected], store: Callable[[], Awaitable[Answer]]
) -> tuple[Expected, Answer]:
    """What both answered. Raises Refused when both raised the same error."""
    expected_error: type[ShoalError] | None = None
    try:
        expected = model()
    except ShoalError as error:
        expected_error = type(error)
    try:
        answer = await store()
    except ShoalError as error:
        if type(error) is not expected_error:
            error.add_note(f"expected {expected_error}")
            raise
        raise Refused from error
    assert expected_error is None, f"succeeded, expected {expected_error}"
    return expected, answer


def assert_shows(info: ObjectInfo, name: str, kept: Kept, *, in_listing: bool = False) -> None:
    """That the store tells of an object what the model knows. What was learned must stay; before, it is not compared.
    Listings count chunks, and do not look at them."""
    assert (info.name, info.size, info.sequence) == (name, len(kept.body), kept.sequence)
    assert (info.content_type, dict(info.metadata)) == (kept.content_type, kept.metadata)
    assert dict(info.headers) == kept.headers
    assert (info.checksum, info.parts) == (kept.checksum, kept.parts)
    largest = 0 if in_listing or not kept.chunk_count else max(kept.chunks)
    assert (info.chunk_count, info.chunk_bytes_max) == (kept.chunk_count, largest)
    if kept.version:
        assert (info.version, info.etag, info.modified_ns) == (kept.version, kept.etag, kept.modified_ns)


def digest(data: bytes) -> tuple[int, str]:
    """Compared in place of the bytes, which pytest would take minutes to tell apart."""
    return len(data), hashlib.blake2b(data, digest_size=16).hexdigest()
