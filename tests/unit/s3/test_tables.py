"""The tables of the S3 face are complete, and say so by enumeration."""

from __future__ import annotations

from dataclasses import fields

import pytest

from shoal_core import errors
from shoal_core.errors import ShoalError
from shoal_core.s3_keys import AccessKeys
from shoal_gateway.parts import Parts
from shoal_gateway.s3.errors import CODES, STATUS, S3Error
from shoal_gateway.s3.face import S3Face, is_s3
from shoal_gateway.s3.operations import (
    BUCKET_SUBRESOURCES,
    OBJECT_SUBRESOURCES,
    OPERATIONS,
    PERMISSIONS,
    operation_of,
)

ALL_ERRORS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ShoalError)
]


def test_every_error_has_a_code_and_every_code_a_status() -> None:
    assert set(ALL_ERRORS) == set(CODES)
    assert set(CODES.values()) <= set(STATUS)


def test_every_operation_has_a_permission_and_a_handler_and_no_other_is_served() -> None:
    face = S3Face(Parts(*[None] * len(fields(Parts))), keys=AccessKeys(), region="shoal")  # type: ignore[arg-type]
    served = set(face.service_handlers) | set(face.bucket_handlers)
    assert served == set(OPERATIONS.values()) == set(PERMISSIONS)
    assert not set(face.service_handlers) & set(face.bucket_handlers)
    assert all(PERMISSIONS.values())


BUILT = {name for _, _, name in OPERATIONS}


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD"])
@pytest.mark.parametrize(("key", "names"), [("", BUCKET_SUBRESOURCES), ("k", OBJECT_SUBRESOURCES)])
def test_a_subresource_that_is_not_built_never_falls_through(
    method: str, key: str, names: dict[str, str]
) -> None:
    for name in names.keys() - BUILT:
        for query in ({name: ""}, {name: "", "list-type": "2"}):
            if name == "versionId":
                query[name] = "abc"
            with pytest.raises(S3Error) as caught:
                operation_of(method, "bucket", key, query=query, headers={})
            assert caught.value.code == "NotImplemented"


def test_the_current_version_is_called_null_and_nothing_else() -> None:
    for method, operation in (("GET", "GetObject"), ("HEAD", "HeadObject"), ("DELETE", "DeleteObject")):
        assert operation_of(method, "b", "k", query={"versionId": "null"}, headers={}) == operation
    for method, version, code in (("DELETE", "", "InvalidArgument"), ("PUT", "null", "NotImplemented")):
        with pytest.raises(S3Error) as caught:
            operation_of(method, "b", "k", query={"versionId": version}, headers={})
        assert caught.value.code == code


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_an_unknown_parameter_changes_nothing(method: str) -> None:
    for key in ("", "k"):
        with pytest.raises(S3Error):
            operation_of(method, "bucket", key, query={"somethingNew": "1"}, headers={})


def test_unknown_parameters_with_a_value_do_not_keep_anybody_from_reading() -> None:
    assert operation_of("GET", "b", "k", query={"cache-buster": "1"}, headers={}) == "GetObject"


@pytest.mark.parametrize(
    "header", ["x-amz-server-side-encryption", "x-amz-tagging", "x-amz-object-lock-mode", "x-amz-grant-read"]
)
def test_headers_that_promise_more_than_is_built_are_refused(header: str) -> None:
    with pytest.raises(S3Error, match="not implemented"):
        operation_of("PUT", "b", "k", query={}, headers={header: "x"})


def test_other_faces_keep_their_paths() -> None:
    assert not any(map(is_s3, (b"/v1/objects/b/o", b"/v1", b"/-/metrics", b"/-", b"/.well-known/x")))
    assert all(map(is_s3, (b"/", b"/bucket", b"/s3/bucket/key", b"/ais/key", b"/v1x/key")))
