"""The one table from Shoal's errors to AIStore's: HTTP status, type name, and the texts that clients parse.

The official SDK tells "no such bucket" from "no such object" by a regular expression over the message, and
the Go CLI by `tcode`, so both are part of the interface.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import msgspec

from shoal_core import errors
from shoal_core.error_table import RETRY_AFTER_SECONDS
from shoal_core.errors import ShoalError
from shoal_core.objects import BucketReference
from shoal_gateway.call import Call

HEADER_TEXT_MAX = 1024
BODY_TEXT_MAX = 16384


@dataclass(frozen=True, slots=True)
class Row:
    """How one class of errors looks to AIStore's clients."""

    status: int
    type_code: str


ERROR_ROWS: Mapping[type[ShoalError], Row] = {
    errors.ShoalError: Row(500, "ErrInternal"),
    errors.InvalidArgument: Row(400, "ErrInvalidArgument"),
    errors.InvalidName: Row(400, "ErrInvalidName"),
    errors.ChecksumMismatch: Row(400, "ErrBadCksum"),
    errors.SizeMismatch: Row(400, "ErrSizeMismatch"),
    errors.RangeNotSatisfiable: Row(416, "ErrRangeNotSatisfiable"),
    errors.InvalidPart: Row(400, "ErrInvalidArgument"),
    errors.Unauthenticated: Row(401, "ErrUnauthenticated"),
    errors.PermissionDenied: Row(403, "ErrPermissionDenied"),
    errors.NotFound: Row(404, "ErrNotFound"),
    errors.BucketNotFound: Row(404, "ErrBckNotFound"),
    errors.ObjectNotFound: Row(404, "ErrNotFound"),
    errors.UploadNotFound: Row(404, "ErrNotFound"),
    errors.JobNotFound: Row(404, "ErrXactNotFound"),
    errors.MemberNotFound: Row(404, "ErrNodeNotFound"),
    errors.AlreadyExists: Row(409, "ErrAlreadyExists"),
    errors.BucketAlreadyExists: Row(409, "ErrBucketAlreadyExists"),
    errors.PreconditionFailed: Row(412, "ErrPreconditionFailed"),
    errors.NotModified: Row(304, "ErrNotModified"),
    errors.Conflict: Row(409, "ErrBusy"),
    # The gateway refreshed its map and tried again before this reaches a client: the cluster is changing.
    errors.StaleEpoch: Row(503, "ErrStaleEpoch"),
    errors.OutOfSpace: Row(507, "ErrCapacityExceeded"),
    errors.TooBusy: Row(503, "ErrTooBusy"),
    errors.Unavailable: Row(503, "ErrUnavailable"),
    errors.LeaseLost: Row(503, "ErrLeaseLost"),
    errors.MountpathUnavailable: Row(503, "ErrMountpathUnavailable"),
    errors.OwnerUnreachable: Row(503, "ErrOwnerUnreachable"),
    errors.ControlPlaneDown: Row(503, "ErrControlPlaneDown"),
    errors.DeadlineExceeded: Row(503, "ErrDeadlineExceeded"),
    errors.NotImplementedYet: Row(501, "ErrNotImpl"),
    errors.DataCorrupt: Row(500, "ErrDataCorrupt"),
    errors.ConfigurationError: Row(500, "ErrInternal"),
    errors.InternalError: Row(500, "ErrInternal"),
}


class RequestTimedOut(errors.DeadlineExceeded):
    """The client sent nothing, or took nothing, for too long."""


class MethodNotAllowed(errors.InvalidArgument):
    """`metadata["allow"]` holds the methods that the path knows."""


class TooManyBatches(errors.TooBusy):
    """Each takes memory, so there may only be so many at a time."""


HTTP_ROWS: Mapping[type[ShoalError], Row] = {
    RequestTimedOut: Row(408, "ErrRequestTimedOut"),
    MethodNotAllowed: Row(405, "ErrMethodNotAllowed"),
    TooManyBatches: Row(429, "ErrTooManyRequests"),
}
"""Errors that exist at this edge only."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """AIStore's error JSON."""

    status: int
    message: str
    method: str
    url_path: str
    remote_addr: str
    caller: str
    node: str
    tcode: str


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A complete answer to a failed call."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def row_of(kind: type[ShoalError]) -> Row:
    """The row of a class or, for classes defined elsewhere, of its nearest ancestor."""
    for ancestor in kind.__mro__:
        row = ERROR_ROWS.get(ancestor) or HTTP_ROWS.get(ancestor)
        if row is not None:
            return row
    return ERROR_ROWS[ShoalError]


def answer_to(error: ShoalError, call: Call) -> ErrorAnswer:
    """What the client gets. HEAD has no body, so its error travels in the header `Hdr-Error`."""
    row = row_of(type(error))
    headers = error_headers(error, row)
    if row.status == 304:
        return ErrorAnswer(304, headers, b"")
    text_max = HEADER_TEXT_MAX if call.method == "HEAD" else BODY_TEXT_MAX
    fields = ErrorBody(
        status=row.status,
        message=message_of(error, call)[:text_max],
        method=call.method,
        url_path=call.url_path[:text_max],
        remote_addr=call.peer,
        caller="",
        node=call.node,
        tcode=row.type_code,
    )
    if call.method == "HEAD":
        # A header must be ASCII: the standard encoder escapes everything else.
        ascii_fields = json.dumps(asdict(fields), separators=(",", ":")).encode()
        return ErrorAnswer(row.status, [*headers, (b"hdr-error", ascii_fields)], b"")
    body = msgspec.json.encode(fields)
    headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", b"%d" % len(body)))
    return ErrorAnswer(row.status, headers, body)


def error_headers(error: ShoalError, row: Row) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    if row.status in (429, 503):
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
    if row.status == 416 and error.metadata.get("size", "").isdigit():
        headers.append((b"content-range", b"bytes */" + error.metadata["size"].encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.metadata["allow"].encode()))
    if isinstance(error, RequestTimedOut):
        headers.append((b"connection", b"close"))
    return headers


def message_of(error: ShoalError, call: Call) -> str:
    """AIStore's own wording where clients parse it, ours elsewhere; nothing internal."""
    bucket = call.bucket
    if isinstance(error, errors.BucketNotFound) and bucket is not None:
        remote = "" if bucket.provider == "ais" else "remote "
        return f"{remote}bucket {worded(bucket)} does not exist"
    if isinstance(error, errors.BucketAlreadyExists) and bucket is not None:
        return f"bucket {worded(bucket)} already exists"
    if isinstance(error, errors.ObjectNotFound) and bucket is not None:
        if call.method == "DELETE":
            return f"{bucket}/{call.object_name} doesn't exist"
        return f"{bucket}/{call.object_name} does not exist"
    if isinstance(error, errors.InternalError) or type(error) is ShoalError:
        return f"internal error, request id {call.request_id}: please report it"
    return error.message


def worded(bucket: BucketReference) -> str:
    """A slash behind the first word would make the SDK take the name for an object's."""
    space = f' of namespace "{bucket.namespace}"' if bucket.namespace else ""
    return f'"{bucket.provider}://{bucket.name}"{space}'
