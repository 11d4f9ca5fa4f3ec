"""Envoy as the oracle: it and the gateway make the same gRPC request and the same answer of every JSON request.

docs/transcoding.md lists where we differ on purpose; those requests are not in the table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from structlog.testing import capture_logs

from shoal_core.error_table import ERROR_TABLE
from shoal_core.errors import ShoalError
from support.json_doors import Doors, open_doors
from support.json_edges import EDGES
from support.json_requests import annotated_methods, valid, variants

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path_factory.mktemp("transcoding")) as doors:
        yield doors


@pytest.fixture(params=annotated_methods(), ids=lambda method: method.name)
def method(request: pytest.FixtureRequest) -> MethodDescriptor:
    param = request.param
    assert isinstance(param, MethodDescriptor)
    return param


async def test_every_form_of_a_request_becomes_the_same_call_and_the_same_answer(
    doors: Doors, method: MethodDescriptor
) -> None:
    assert await doors.differences(variants(method)) == []


async def test_requests_at_the_edges_of_the_grammars_are_taken_alike(doors: Doors) -> None:
    assert await doors.differences(EDGES) == []


async def test_an_answer_without_a_field_is_written_alike(doors: Doors, method: MethodDescriptor) -> None:
    doors.mirror.empty = True
    try:
        assert await doors.differences([valid(method)]) == []
    finally:
        doors.mirror.empty = False


@pytest.mark.parametrize("kind", ERROR_TABLE, ids=lambda kind: kind.__name__)
async def test_every_error_is_told_alike(doors: Doors, kind: type[ShoalError]) -> None:
    doors.mirror.error = kind('it went "wrong": é', size="5")
    try:
        # Unconfigured, structlog would draw every traceback with its variables: most of this suite's time.
        with capture_logs():
            assert await doors.differences(map(valid, annotated_methods())) == []
    finally:
        doors.mirror.error = None


async def test_a_valid_request_reaches_the_service(doors: Doors, method: MethodDescriptor) -> None:
    _, ours = await doors.outcomes(valid(method))
    assert ours.status == 200
    assert [name for name, _ in ours.calls] == [method.name]
