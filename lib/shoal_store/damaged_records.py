"""Records that fail their checksum: they are never served or left out, but may be replaced and deleted."""

from __future__ import annotations

from shoal_core.errors import DataCorrupt
from shoal_core.objects import NO_PRECONDITIONS
from shoal_core.telemetry import get_logger
from shoal_store.commit import Commit
from shoal_store.keys import BUCKET_ID_BYTES
from shoal_store.record import Record, decode_record
from shoal_store.sealed import is_sealed

NAME_BYTES_SHOWN = 100


def current_of(commit: Commit, key: bytes, value: bytes | memoryview | None) -> Record | None:
    """The current version that a commit finds. None when there is none, and for one that fails its checksum: whoever
    replaces or deletes it does not need to know what it was; its files and payload become orphans.

    Raises DataCorrupt when the commit has conditions, which only the record could answer, and for a record of
    another format: it is whole, and a newer Shoal reads it.
    """
    if value is None:
        return None
    try:
        return decode_record(key, value)
    except DataCorrupt:
        if is_sealed(key, value) or commit.preconditions is not NO_PRECONDITIONS:
            raise
    get_logger().error(
        "damaged-record", commit=commit.kind, object=commit.name, bucket_id=commit.bucket_id.hex()
    )
    return None


def decode_listed(key: bytes, value: bytes | memoryview) -> Record:
    """For listings, which fail at a damaged record: a page without it would look whole. Raises DataCorrupt that names
    the object, since whoever lists has not asked for it."""
    try:
        return decode_record(key, value)
    except DataCorrupt as error:
        name = key[BUCKET_ID_BYTES:][:NAME_BYTES_SHOWN].decode(errors="replace")
        remedy = "" if is_sealed(key, value) else "; a PUT or DELETE of this object takes the record away"
        raise DataCorrupt(
            f"no listing passes object {name!r}: {error.message}{remedy}", object=name
        ) from error
