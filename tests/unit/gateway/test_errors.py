"""The error table is complete, and its texts are the ones that AIStore's clients parse."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aistore.sdk.utils import extract_and_parse_url

from shoal_core import errors
from shoal_core.errors import ShoalError
from shoal_core.objects import BucketReference
from shoal_gateway.call import Call
from shoal_gateway.rest.errors import ERROR_ROWS, TooManyBatches, answer_to, row_of


def call(method: str = "GET", name: str = "") -> Call:
    return Call(
        method=method,
        raw_path=b"/v1/objects/b/o",
        query={},
        headers={},
        peer="127.0.0.1:5",
        request_id="r1",
        node="g1",
        bucket=BucketReference("b"),
        object_name=name,
    )


def descendants(kind: type[ShoalError]) -> Iterator[type[ShoalError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_error_of_the_core_has_a_row() -> None:
    ours = {kind for kind in descendants(ShoalError) if kind.__module__ == errors.__name__}
    assert ours <= set(ERROR_ROWS)


@pytest.mark.parametrize(
    "kind", [errors.Unavailable, errors.TooBusy, errors.OwnerUnreachable, errors.StaleEpoch]
)
def test_what_passes_by_itself_says_when_to_retry(kind: type[ShoalError]) -> None:
    answer = answer_to(kind("away"), call())
    assert answer.status == 503
    assert (b"retry-after", b"1") in answer.headers


def test_too_many_batches_say_when_to_retry_too() -> None:
    answer = answer_to(TooManyBatches("many"), call())
    assert (answer.status, (b"retry-after", b"1") in answer.headers) == (429, True)


def test_a_missing_bucket_is_worded_as_the_sdk_parses_it() -> None:
    body = json.loads(answer_to(errors.BucketNotFound("x"), call()).body)
    assert extract_and_parse_url(body["message"]) == ("ais", "b", False)
    assert (body["status"], body["tcode"]) == (404, "ErrBckNotFound")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_missing_object_is_worded_as_the_sdk_parses_it(method: str) -> None:
    body = json.loads(answer_to(errors.ObjectNotFound("x"), call(method, "o")).body)
    assert extract_and_parse_url(body["message"]) == ("ais", "b", True)


def test_an_error_has_all_fields_of_aistore() -> None:
    body = json.loads(answer_to(errors.InvalidArgument("no"), call()).body)
    assert body == {
        "status": 400, "message": "no", "method": "GET", "url_path": "/v1/objects/b/o",
        "remote_addr": "127.0.0.1:5", "caller": "", "node": "g1", "tcode": "ErrInvalidArgument",
    }  # fmt: skip


def test_a_head_error_travels_in_an_ascii_header() -> None:
    answer = answer_to(errors.ObjectNotFound("x"), call("HEAD", "\u4f60\n"))
    value = dict(answer.headers)[b"hdr-error"]
    assert answer.body == b""
    assert json.loads(value.decode("ascii"))["message"] == "ais://b/\u4f60\n does not exist"


def test_internal_errors_show_nothing_but_the_request_id() -> None:
    body = answer_to(errors.InternalError("secret"), call()).body
    assert b"secret" not in body
    assert b"r1" in body


def test_an_unsatisfiable_range_names_the_size() -> None:
    answer = answer_to(errors.RangeNotSatisfiable("no", size="7"), call())
    assert (b"content-range", b"bytes */7") in answer.headers


def test_unknown_subclasses_take_the_row_of_their_ancestor() -> None:
    class Stranger(errors.OutOfSpace):
        pass

    assert row_of(Stranger) == ERROR_ROWS[errors.OutOfSpace]
