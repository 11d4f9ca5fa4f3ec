"""A commit as data, because gateways send it to their host's target; and `Committer`, whoever carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias

import msgspec

from shoal_core.errors import ShoalError
from shoal_core.objects import NO_PRECONDITIONS, BucketId, ObjectInfo, Preconditions, Version
from shoal_store.record import Record
from shoal_store.uploads import Part, Upload


class Conditions(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True):
    """`Preconditions` on the wire."""

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_version: bytes | None = None
    if_modified_since_ns: int | None = None
    if_unmodified_since_ns: int | None = None


class Annotation(msgspec.Struct, array_like=True, frozen=True):
    """The user's pairs to add to those of the object, or to put in their place."""

    metadata: dict[str, str]
    replace: bool = False


class UploadStep(msgspec.Struct, array_like=True, frozen=True):
    """What a commit of a multipart upload says beside the rest; the target gives the times."""

    id: bytes
    begins: Upload | None = None
    """begin-upload"""
    number: int = 0
    """put-part"""
    part: Part | None = None
    """put-part"""
    numbers: tuple[int, ...] = ()
    """complete-upload: the parts whose chunks, in this order, are the chunks of the commit's record"""


Kind = Literal[
    "put", "delete", "rechunk", "annotate", "begin-upload", "put-part", "complete-upload", "abort-upload"
]


class Commit(msgspec.Struct, array_like=True, frozen=True):
    """Make one version visible, or the current one invisible, or give it other chunk files or pairs, or bring an
    upload a step further.
    The target gives version, sequence and time."""

    kind: Kind
    bucket_id: bytes
    generation: int
    name: str
    epoch: int
    versioned: bool = False
    record: Record | None = None
    payload: bytes | None = None
    conditions: Conditions = Conditions()
    upload: UploadStep | None = None
    annotation: Annotation | None = None

    @property
    def bucket(self) -> BucketId:
        return BucketId(self.bucket_id)

    @property
    def preconditions(self) -> Preconditions:
        c = self.conditions
        if c == Conditions():
            return NO_PRECONDITIONS
        version = None if c.if_version is None else Version(c.if_version)
        return Preconditions(
            c.if_match, c.if_none_match, version, c.if_modified_since_ns, c.if_unmodified_since_ns
        )


Outcome: TypeAlias = ObjectInfo | ShoalError
Answer: TypeAlias = Callable[[Outcome], None]
"""Hears of the outcome, on the event loop. Must not raise."""


class Committer(Protocol):
    def commit(self, commit: Commit) -> Awaitable[ObjectInfo]:
        """Durable when this is done; nothing has changed when it fails, unless the error says `outcome="unknown"`.
        The commit is on its way when this returns; who stops waiting does not stop it."""
        ...


class CommitTaker(Protocol):
    """As `Committer`, for many commits at once: a future for each would cost more than the rest of taking it."""

    def submit(self, commit: Commit, answer: Answer) -> None:
        """Raises ShoalError for what cannot even be taken; `answer` hears of everything else, maybe at once."""
        ...


def conditions_of(preconditions: Preconditions) -> Conditions:
    return Conditions(
        preconditions.if_match,
        preconditions.if_none_match,
        preconditions.if_version,
        preconditions.if_modified_since_ns,
        preconditions.if_unmodified_since_ns,
    )


encode_commit = msgspec.msgpack.Encoder().encode
decode_commit = msgspec.msgpack.Decoder(Commit).decode
encode_info = msgspec.msgpack.Encoder().encode
decode_info = msgspec.msgpack.Decoder(ObjectInfo).decode
