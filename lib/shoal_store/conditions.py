"""Whether preconditions hold for a version, in the order of RFC 9110, section 13.2.2."""

from __future__ import annotations

from shoal_core.errors import NotModified, PreconditionFailed
from shoal_core.objects import NO_PRECONDITIONS, Preconditions
from shoal_store.record import Record


def check(preconditions: Preconditions, record: Record | None, *, reading: bool) -> None:
    """Raises PreconditionFailed, or NotModified for a read whose caller has the version already."""
    if preconditions is NO_PRECONDITIONS:
        return
    if preconditions.if_match:
        if not matches(preconditions.if_match, record):
            raise PreconditionFailed("the object is not the one that If-Match names", condition="if_match")
    elif changed_since(record, preconditions.if_unmodified_since_ns):
        raise PreconditionFailed("the object has changed since", condition="if_unmodified_since")
    if preconditions.if_version is not None and (
        record is None or record.version != preconditions.if_version
    ):
        raise PreconditionFailed("the object has another version now", condition="if_version")
    if preconditions.if_none_match:
        if matches(preconditions.if_none_match, record):
            kind = NotModified if reading else PreconditionFailed
            raise kind("the object is one that If-None-Match names", condition="if_none_match")
    elif (
        reading
        and (since := preconditions.if_modified_since_ns)
        and record
        and not changed_since(record, since)
    ):
        raise NotModified("the object has not changed since", condition="if_modified_since")


def matches(etags: tuple[str, ...], record: Record | None) -> bool:
    return record is not None and ("*" in etags or record.etag in etags)


def changed_since(record: Record | None, since_ns: int | None) -> bool:
    return since_ns is not None and record is not None and seconds(record.modified_ns) > seconds(since_ns)


def seconds(nanoseconds: int) -> int:
    """HTTP's dates have whole seconds."""
    return nanoseconds // 1_000_000_000
