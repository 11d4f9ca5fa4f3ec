"""The error table: complete both ways, and true to the class, message and metadata."""

from __future__ import annotations

import inspect

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from shoal.common.v1.error_reason_pb2 import ErrorReason
from shoal_core import errors
from shoal_core.error_table import (
    ERROR_TABLE,
    RETRY_AFTER_SECONDS,
    from_rpc_error,
    from_status,
    reason_name,
    row_of,
    to_status,
)
from shoal_core.telemetry import request_id


def every_error() -> list[type[errors.ShoalError]]:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind for kind in classes if issubclass(kind, errors.ShoalError) and kind is not errors.ShoalError]


def test_every_error_class_has_a_row() -> None:
    assert set(ERROR_TABLE) == set(every_error())


def test_every_reason_of_the_contract_has_exactly_one_class() -> None:
    reasons = [reason for _, reason in ERROR_TABLE.values()]
    contract = [reason_name(number) for number in ErrorReason.values() if number]
    assert sorted(reasons) == sorted(contract)


@pytest.mark.parametrize("kind", ERROR_TABLE, ids=lambda kind: kind.__name__)
def test_error_survives_the_wire(kind: type[errors.ShoalError]) -> None:
    request_id.set("r-1")
    status = status_pb2.Status.FromString(to_status(kind("why", size="7"), node="t1").SerializeToString())
    error = from_status(status)
    assert type(error) is kind
    assert error.message == "why"
    assert error.metadata == {"size": "7", "request_id": "r-1", "node": "t1"}


@pytest.mark.parametrize(
    "kind", [kind for kind in ERROR_TABLE if issubclass(kind, errors.TooBusy | errors.Unavailable)]
)
def test_what_may_be_over_soon_says_when_to_try_again(kind: type[errors.ShoalError]) -> None:
    found = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(found) for detail in to_status(kind("busy")).details)
    assert found.retry_delay.seconds == RETRY_AFTER_SECONDS


@pytest.mark.parametrize("kind", [errors.OutOfSpace, errors.NotFound, errors.InternalError])
def test_what_lasts_does_not(kind: type[errors.ShoalError]) -> None:
    assert not any(
        detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in to_status(kind("x")).details
    )


def test_node_that_raised_first_is_kept_when_an_error_is_passed_on() -> None:
    relayed = from_status(to_status(errors.LeaseLost("no lease"), node="t1"))
    assert from_status(to_status(relayed, node="p1")).metadata["node"] == "t1"


def test_subclass_of_another_module_travels_as_its_ancestor() -> None:
    class Special(errors.LeaseLost):
        pass

    assert row_of(Special) == ERROR_TABLE[errors.LeaseLost]


def test_base_class_is_a_bug_and_travels_as_one() -> None:
    assert row_of(errors.ShoalError) == ERROR_TABLE[errors.InternalError]


def test_long_texts_are_cut_and_stay_valid() -> None:
    name = "é" * 1024 + "\udcff"
    status = to_status(errors.InvalidName(f"{name} is too long", name=name))
    assert len(status.SerializeToString()) < 2048
    assert from_status(status).metadata["name"].endswith("é...")


def test_reason_of_a_newer_version_falls_back_to_the_code() -> None:
    status = to_status(errors.BucketNotFound("no bucket", bucket="ais://b"))
    status.details[0].value = status.details[0].value.replace(b"BUCKET_NOT_FOUND", b"BUCKET_NOT_HERE_")
    error = from_status(status)
    assert type(error) is errors.NotFound
    assert error.metadata["bucket"] == "ais://b"


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect", errors.OwnerUnreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", errors.DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, "", errors.OwnerUnreachable),
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", errors.OwnerUnreachable),
        (grpc.StatusCode.UNKNOWN, "Stream removed", errors.OwnerUnreachable),
        (grpc.StatusCode.UNKNOWN, "what", errors.InternalError),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", errors.NotImplementedYet),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "Received message larger than max (5 vs. 4)",
            errors.InvalidArgument,
        ),
    ],
)
def test_status_of_grpc_itself_is_understood(
    code: grpc.StatusCode, details: str, kind: type[errors.ShoalError]
) -> None:
    error = from_rpc_error(
        grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details), peer="t2"
    )
    assert type(error) is kind
    assert "t2" in error.message


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_code_without_details_becomes_some_error(code: grpc.StatusCode) -> None:
    error = from_rpc_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata()), peer="t2")
    assert type(error) in ERROR_TABLE
