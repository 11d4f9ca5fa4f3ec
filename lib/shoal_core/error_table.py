"""The table between the error tree and gRPC: a status code and an `ErrorReason` for every class, both ways.

A failed call carries `google.rpc.Status` with one `google.rpc.ErrorInfo` (domain `shoal`), from which the
caller gets back the very class that the other side raised. A status without it comes from gRPC itself.
"""

from __future__ import annotations

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from shoal.common.v1.error_reason_pb2 import ErrorReason
from shoal_core import errors
from shoal_core.errors import ShoalError
from shoal_core.telemetry import request_id

DOMAIN = "shoal"
DETAILS_KEY = "grpc-status-details-bin"
REASON_PREFIX = "ERROR_REASON_"
RETRY_AFTER_SECONDS = 1
"""How long a caller should wait after an error that may be over then; all faces say the same."""
# Trailing metadata is limited to 8 KiB by default, and the message travels twice, once percent-encoded.
MESSAGE_BYTES_MAX = 1000
METADATA_VALUE_BYTES_MAX = 256
METADATA_ENTRIES_MAX = 8

Code = grpc.StatusCode

ERROR_TABLE: dict[type[ShoalError], tuple[grpc.StatusCode, str]] = {
    errors.InvalidArgument: (Code.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    errors.InvalidName: (Code.INVALID_ARGUMENT, "INVALID_NAME"),
    errors.ChecksumMismatch: (Code.INVALID_ARGUMENT, "CHECKSUM_MISMATCH"),
    errors.SizeMismatch: (Code.INVALID_ARGUMENT, "SIZE_MISMATCH"),
    errors.RangeNotSatisfiable: (Code.OUT_OF_RANGE, "RANGE_NOT_SATISFIABLE"),
    errors.InvalidPart: (Code.INVALID_ARGUMENT, "INVALID_PART"),
    errors.Unauthenticated: (Code.UNAUTHENTICATED, "UNAUTHENTICATED"),
    errors.PermissionDenied: (Code.PERMISSION_DENIED, "PERMISSION_DENIED"),
    errors.NotFound: (Code.NOT_FOUND, "NOT_FOUND"),
    errors.BucketNotFound: (Code.NOT_FOUND, "BUCKET_NOT_FOUND"),
    errors.ObjectNotFound: (Code.NOT_FOUND, "OBJECT_NOT_FOUND"),
    errors.UploadNotFound: (Code.NOT_FOUND, "UPLOAD_NOT_FOUND"),
    errors.JobNotFound: (Code.NOT_FOUND, "JOB_NOT_FOUND"),
    errors.MemberNotFound: (Code.NOT_FOUND, "MEMBER_NOT_FOUND"),
    errors.AlreadyExists: (Code.ALREADY_EXISTS, "ALREADY_EXISTS"),
    errors.BucketAlreadyExists: (Code.ALREADY_EXISTS, "BUCKET_ALREADY_EXISTS"),
    errors.PreconditionFailed: (Code.FAILED_PRECONDITION, "PRECONDITION_FAILED"),
    errors.NotModified: (Code.FAILED_PRECONDITION, "NOT_MODIFIED"),
    errors.Conflict: (Code.ABORTED, "CONFLICT"),
    errors.StaleEpoch: (Code.ABORTED, "STALE_EPOCH"),
    errors.OutOfSpace: (Code.RESOURCE_EXHAUSTED, "OUT_OF_SPACE"),
    errors.TooBusy: (Code.RESOURCE_EXHAUSTED, "TOO_BUSY"),
    errors.Unavailable: (Code.UNAVAILABLE, "UNAVAILABLE"),
    errors.LeaseLost: (Code.UNAVAILABLE, "LEASE_LOST"),
    errors.MountpathUnavailable: (Code.UNAVAILABLE, "MOUNTPATH_UNAVAILABLE"),
    errors.OwnerUnreachable: (Code.UNAVAILABLE, "OWNER_UNREACHABLE"),
    errors.ControlPlaneDown: (Code.UNAVAILABLE, "CONTROL_PLANE_DOWN"),
    errors.DeadlineExceeded: (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    errors.NotImplementedYet: (Code.UNIMPLEMENTED, "NOT_IMPLEMENTED_YET"),
    errors.DataCorrupt: (Code.DATA_LOSS, "DATA_CORRUPT"),
    errors.ConfigurationError: (Code.FAILED_PRECONDITION, "CONFIGURATION_ERROR"),
    errors.InternalError: (Code.INTERNAL, "INTERNAL_ERROR"),
}
CLASS_OF_REASON = {reason: error for error, (_, reason) in ERROR_TABLE.items()}
CODE_OF_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

CLASS_OF_CODE: dict[grpc.StatusCode, type[ShoalError]] = {
    Code.INVALID_ARGUMENT: errors.InvalidArgument,
    Code.OUT_OF_RANGE: errors.RangeNotSatisfiable,
    Code.UNAUTHENTICATED: errors.Unauthenticated,
    Code.PERMISSION_DENIED: errors.PermissionDenied,
    Code.NOT_FOUND: errors.NotFound,
    Code.ALREADY_EXISTS: errors.AlreadyExists,
    Code.FAILED_PRECONDITION: errors.PreconditionFailed,
    Code.ABORTED: errors.Conflict,
    Code.RESOURCE_EXHAUSTED: errors.TooBusy,
    Code.UNAVAILABLE: errors.OwnerUnreachable,
    # The peer gave up on the call, as it does when it stops; our own cancellation is a CancelledError.
    Code.CANCELLED: errors.OwnerUnreachable,
    Code.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    Code.UNIMPLEMENTED: errors.NotImplementedYet,
    Code.DATA_LOSS: errors.DataCorrupt,
    Code.INTERNAL: errors.InternalError,
    Code.UNKNOWN: errors.InternalError,
}
"""For a status without an ErrorInfo of ours, or with a reason that a newer version knows."""

# How gRPC words the death of a connection when it does not call it UNAVAILABLE.
BROKEN_CONNECTION = ("rst_stream", "stream removed", "socket closed", "goaway", "connection reset")


def to_status(error: ShoalError, *, node: str = "") -> status_pb2.Status:
    """The error as it travels, with the request id of this task and the node that raised it first."""
    code, reason = row_of(type(error))
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    for key, value in list(error.metadata.items())[:METADATA_ENTRIES_MAX]:
        info.metadata[key] = shortened(str(value), METADATA_VALUE_BYTES_MAX)
    if identity := request_id.get():
        info.metadata["request_id"] = identity
    if node and "node" not in info.metadata:
        info.metadata["node"] = node
    status = status_pb2.Status(code=code.value[0], message=shortened(error.message, MESSAGE_BYTES_MAX))
    status.details.add().Pack(info)
    if reason == "TOO_BUSY" or code is Code.UNAVAILABLE:
        status.details.add().Pack(
            error_details_pb2.RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_SECONDS))
        )
    return status


def from_status(status: status_pb2.Status) -> ShoalError:
    """The error that the other side gave to `to_status`."""
    info = error_info(status)
    if info is not None and info.reason in CLASS_OF_REASON:
        return CLASS_OF_REASON[info.reason](status.message, **info.metadata)
    code = CODE_OF_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    return CLASS_OF_CODE.get(code, errors.InternalError)(status.message, **(info.metadata if info else {}))


def from_rpc_error(error: grpc.aio.AioRpcError, *, peer: str) -> ShoalError:
    """What a failed call means. `peer` names the other side in errors that it could not word itself."""
    status = status_of(error)
    if status is not None and error_info(status) is not None:
        return from_status(status)
    details = error.details() or ""
    text = f"{peer or 'peer'}: {error.code().name}: {details}"
    metadata = {"peer": peer} if peer else {}
    if "larger than max" in details:
        return errors.InvalidArgument(f"{text}; send bodies in frames of at most 1 MiB", **metadata)
    if error.code() is Code.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(f"{peer or 'peer'} gave no answer within the deadline", **metadata)
    if any(word in details.lower() for word in BROKEN_CONNECTION):
        return errors.OwnerUnreachable(text, **metadata)
    return CLASS_OF_CODE.get(error.code(), errors.InternalError)(text, **metadata)


def has_answer(error: grpc.aio.AioRpcError) -> bool:
    """Whether the other side's own code spoke, so that the failure is its decision and not the network's."""
    status = status_of(error)
    return status is not None and error_info(status) is not None


def row_of(kind: type[ShoalError]) -> tuple[grpc.StatusCode, str]:
    """The row of a class or, for subclasses that other modules define, of its nearest ancestor."""
    for ancestor in kind.__mro__:
        if ancestor in ERROR_TABLE:
            return ERROR_TABLE[ancestor]
    return ERROR_TABLE[errors.InternalError]


def reason_name(reason: int) -> str:
    return ErrorReason.Name(ErrorReason.ValueType(reason)).removeprefix(REASON_PREFIX)


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None


def shortened(text: str, bytes_max: int) -> str:
    """Valid UTF-8 of at most so many bytes: names may be long and hold lone surrogates."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= bytes_max else data[: bytes_max - 3].decode(errors="ignore") + "..."
