"""The nouns of the etcd client: keys, snapshots, changes, conditions and operations of transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from shoal_core.errors import Conflict, ControlPlaneDown, InvalidArgument

LeaseId = NewType("LeaseId", int)
NO_LEASE = LeaseId(0)

ABSENT = 0
"""The mod revision (and create revision) of a key that does not exist."""

VALUE_BYTES_MAX = 64 * 1024
KEY_BYTES_MAX = 2048
OPERATIONS_MAX = 128
"""etcd's own default limit on the operations of one transaction."""


class OutcomeUnknown(ControlPlaneDown):
    """The connection was lost after a write was sent: it may or may not have happened, or may yet happen.

    Read back before doing anything that must not be done twice.
    """


class RevisionCompacted(Conflict):
    """The revision asked for is no longer kept; list again."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    """Number of writes since the key was created."""
    lease_id: LeaseId


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys of a range as of one revision, in the order of their bytes.

    From a watch it means: what was delivered before is void, this is the whole truth.
    """

    revision: int
    items: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of one key."""

    key: str
    mod_revision: int
    current: KeyValue | None
    """None: the key was deleted."""


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """Changes in the order of their revisions; none at all when it only says how far the watch has come."""

    revision: int
    """Everything up to and including this revision has been delivered."""
    events: tuple[WatchEvent, ...]


@dataclass(frozen=True, slots=True)
class ModRevisionEquals:
    key: str
    mod_revision: int
    """ABSENT (0) holds when there is no such key."""


@dataclass(frozen=True, slots=True)
class CreateRevisionEquals:
    """What a leader adds to its writes: they fail once another has taken over."""

    key: str
    create_revision: int


@dataclass(frozen=True, slots=True)
class ValueEquals:
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Absent:
    key: str


Condition = ModRevisionEquals | CreateRevisionEquals | ValueEquals | Absent


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: bytes
    lease_id: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    prefix: str


@dataclass(frozen=True, slots=True)
class Get:
    key: str


Operation = Put | Delete | DeletePrefix | Get


@dataclass(frozen=True, slots=True)
class OperationResult:
    """What one operation of a transaction brought."""

    items: tuple[KeyValue, ...] = ()
    """Of a Get: the key, or nothing."""
    deleted: int = 0
    """Of a Delete: the number of keys removed."""


@dataclass(frozen=True, slots=True)
class TransactionResult:
    succeeded: bool
    """True: the conditions held and `then` was done; False: `otherwise` was."""
    revision: int
    responses: tuple[OperationResult, ...]


@dataclass(frozen=True, slots=True)
class EtcdStatus:
    """One member's view of itself."""

    version: str
    revision: int
    database_bytes: int
    has_leader: bool
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """One key (`end` empty) or all keys from `start` up to, not including, `end`."""

    start: bytes
    end: bytes = b""

    def __str__(self) -> str:
        return self.start.decode(errors="replace") + ("*" if self.end else "")


def single_key(key: str) -> KeyRange:
    return KeyRange(encode_key(key))


def prefix_range(prefix: str) -> KeyRange:
    start = encode_key(prefix)
    # UTF-8 never holds 0xff, so the last byte can always be counted up.
    return KeyRange(start, start[:-1] + bytes([start[-1] + 1]))


def encode_key(key: str) -> bytes:
    encoded = key.encode()
    if not 0 < len(encoded) <= KEY_BYTES_MAX:
        raise InvalidArgument(
            f"etcd key of {len(encoded)} bytes, allowed are 1 to {KEY_BYTES_MAX}: {key[:80]!r}"
        )
    return encoded


def check_value(key: str, value: bytes) -> bytes:
    if len(value) > VALUE_BYTES_MAX:
        raise InvalidArgument(
            f"value of {len(value)} bytes for etcd key {key!r}; the limit is {VALUE_BYTES_MAX}: "
            "keep large data in a system object and only its name in etcd"
        )
    return value
