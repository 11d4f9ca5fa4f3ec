"""S3's error codes: what each means on the wire, and which of our errors becomes which.

Codes and statuses as in the Amazon S3 API reference, "Error responses".
"""

from __future__ import annotations

from shoal_core import errors


class S3Error(Exception):
    """An answer of the S3 face. `code` is a key of STATUS; `message` is a sentence for people."""

    def __init__(self, code: str, message: str, /, **details: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details

    @property
    def status(self) -> int:
        return STATUS[self.code]


STATUS = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BucketAlreadyExists": 409,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "IllegalLocationConstraintException": 400,
    "IncompleteBody": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidBucketName": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartNumber": 416,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedTrailerError": 400,
    "MalformedXML": 400,
    "MaxMessageLengthExceeded": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "MissingSecurityHeader": 400,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NotImplemented": 501,
    "NotModified": 304,
    "OperationAborted": 409,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "XAmzContentSHA256Mismatch": 400,
}

CODES: dict[type[errors.ShoalError], str] = {
    errors.ShoalError: "InternalError",
    errors.InvalidArgument: "InvalidArgument",
    errors.InvalidName: "InvalidURI",
    errors.ChecksumMismatch: "BadDigest",
    errors.SizeMismatch: "IncompleteBody",
    errors.RangeNotSatisfiable: "InvalidRange",
    errors.InvalidPart: "InvalidPart",
    errors.Unauthenticated: "AccessDenied",
    errors.PermissionDenied: "AccessDenied",
    errors.NotFound: "NoSuchKey",
    errors.BucketNotFound: "NoSuchBucket",
    errors.ObjectNotFound: "NoSuchKey",
    errors.UploadNotFound: "NoSuchUpload",
    errors.JobNotFound: "NoSuchKey",
    errors.MemberNotFound: "NoSuchKey",
    errors.AlreadyExists: "OperationAborted",
    errors.BucketAlreadyExists: "BucketAlreadyExists",
    errors.PreconditionFailed: "PreconditionFailed",
    errors.NotModified: "NotModified",
    errors.Conflict: "OperationAborted",
    errors.StaleEpoch: "SlowDown",
    errors.OutOfSpace: "ServiceUnavailable",
    errors.TooBusy: "SlowDown",
    errors.Unavailable: "ServiceUnavailable",
    errors.LeaseLost: "ServiceUnavailable",
    errors.MountpathUnavailable: "ServiceUnavailable",
    errors.OwnerUnreachable: "ServiceUnavailable",
    errors.ControlPlaneDown: "ServiceUnavailable",
    errors.DeadlineExceeded: "RequestTimeout",
    errors.NotImplementedYet: "NotImplemented",
    errors.DataCorrupt: "InternalError",
    errors.ConfigurationError: "InternalError",
    errors.InternalError: "InternalError",
}
