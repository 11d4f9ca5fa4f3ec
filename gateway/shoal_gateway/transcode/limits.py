"""How much and how long: what one JSON request may take from this gateway."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """docs/transcoding.md tells users of them."""

    body_bytes: int = 4 << 20
    """No service takes a longer message."""
    body_seconds: float = 60.0
    """For the whole of a request's body, so that nobody holds a request by a byte now and then."""
    call_seconds: float = 30.0
    """For a call with one answer, and for the first message of a stream."""
    pause_seconds: float = 60.0
    """How long the bytes of an object may stand still."""
    list_seconds: float = 3600.0
    """How long a list may grow; then it is ended in order, and the client asks again."""
    lists: int = 64
    """Lists growing at a time: watches stay open, and must not take the place of ordinary requests."""


JSON_LIMITS = JsonLimits()
