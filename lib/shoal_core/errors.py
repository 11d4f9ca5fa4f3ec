"""The one error tree of Shoal; edges translate it to gRPC, AIStore JSON and (later) S3 XML, nobody else does.

* ShoalError
    + InvalidArgument          the caller's request can never succeed as sent
        x InvalidName          a bucket or object name that is not allowed
        x ChecksumMismatch     the bytes are not those the caller (or the disk) promised
        x SizeMismatch         the body is shorter or longer than announced
        x RangeNotSatisfiable  the range lies outside the object
        x InvalidPart          a part named at the end of an upload is not there, or is another
    + Unauthenticated          no proof of who is calling
    + PermissionDenied         known, but not allowed
    + NotFound
        x BucketNotFound
        x ObjectNotFound
        x UploadNotFound       no such multipart upload, or it is complete or aborted
        x JobNotFound
        x MemberNotFound
    + AlreadyExists
        x BucketAlreadyExists
    + PreconditionFailed       If-Match, If-None-Match or expected version did not hold
        x NotModified          a read whose condition says "you have it already"
    + Conflict                 a concurrent change won; nothing was done
        x StaleEpoch           the caller's cluster map or bucket generation is old: refresh and retry
    + OutOfSpace               a disk, quota or table is full
    + TooBusy                  a limit on concurrency or memory was reached: retry after a pause
    + Unavailable              a part that is needed cannot be reached now: retry after a pause
        x LeaseLost            this target cannot prove its membership and takes no writes
        x MountpathUnavailable  the disk that has it is disabled or has failed; other disks go on
        x OwnerUnreachable     the holder of the object's slot does not answer
        x ControlPlaneDown     etcd or the proxy does not answer; reads go on, changes wait
    + DeadlineExceeded         the time the caller allowed has passed
    + NotImplementedYet        Shoal does not do this yet, and says so
    + DataCorrupt              stored bytes failed their checksum; never served as success
    + ConfigurationError       a setting that cannot work; start-up stops with one sentence
    + InternalError            a bug: please report it with the request id
"""

from __future__ import annotations


class ShoalError(Exception):
    """Base of every error a user may meet.

    `message` says what failed, where and why, and what to do; `metadata` holds the machine-readable
    details that travel as `google.rpc.ErrorInfo.metadata` (short strings only).
    """

    def __init__(self, message: str, /, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class InvalidArgument(ShoalError):
    pass


class InvalidName(InvalidArgument):
    pass


class ChecksumMismatch(InvalidArgument):
    pass


class SizeMismatch(InvalidArgument):
    pass


class RangeNotSatisfiable(InvalidArgument):
    """`metadata["size"]` holds the object's size in bytes, for `Content-Range: bytes */size`."""


class InvalidPart(InvalidArgument):
    pass


class Unauthenticated(ShoalError):
    pass


class PermissionDenied(ShoalError):
    pass


class NotFound(ShoalError):
    pass


class BucketNotFound(NotFound):
    pass


class ObjectNotFound(NotFound):
    pass


class UploadNotFound(NotFound):
    pass


class JobNotFound(NotFound):
    pass


class MemberNotFound(NotFound):
    pass


class AlreadyExists(ShoalError):
    pass


class BucketAlreadyExists(AlreadyExists):
    pass


class PreconditionFailed(ShoalError):
    pass


class NotModified(PreconditionFailed):
    pass


class Conflict(ShoalError):
    pass


class StaleEpoch(Conflict):
    pass


class OutOfSpace(ShoalError):
    pass


class TooBusy(ShoalError):
    pass


class Unavailable(ShoalError):
    pass


class LeaseLost(Unavailable):
    pass


class MountpathUnavailable(Unavailable):
    """`metadata` has `mountpath`, and `target` and `state` where they are known."""


class OwnerUnreachable(Unavailable):
    pass


class ControlPlaneDown(Unavailable):
    pass


class DeadlineExceeded(ShoalError):
    pass


class NotImplementedYet(ShoalError):
    pass


class DataCorrupt(ShoalError):
    pass


class ConfigurationError(ShoalError):
    pass


class InternalError(ShoalError):
    pass
