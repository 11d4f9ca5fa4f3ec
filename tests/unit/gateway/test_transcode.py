"""What the comparison with Envoy does not show of the JSON face: limits, rights, templates that make no sense."""

from __future__ import annotations

import json
from typing import Any

import grpc.aio
import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR, Permission, Principal
from shoal_core.errors import ControlPlaneDown
from shoal_gateway.transcode.face import JsonFace
from shoal_gateway.transcode.limits import JSON_LIMITS
from shoal_gateway.transcode.templates import PathTemplate
from support.asgi import Asking
from support.json_face import json_application

NOBODY = Principal(name="nobody", kind="user", role="guest", permissions=Permission(0))


def asking(principal: Principal = LOCAL_ADMINISTRATOR) -> Asking:
    """The face of a gateway that finds no proxy."""

    def no_proxy() -> tuple[grpc.aio.Channel, str]:
        raise ControlPlaneDown("no proxy answers: repeat after a pause")

    return Asking(json_application(JsonFace(no_proxy), principal))


async def test_without_a_proxy_the_answer_is_503_and_a_status_in_json() -> None:
    answer = await asking()("GET", "/-/api/v1/buckets")
    status: Any = json.loads(answer.body)
    assert (answer.status, status["code"]) == (503, 14)
    assert status["details"][0]["reason"] == "CONTROL_PLANE_DOWN"


async def test_a_body_beyond_the_limit_is_refused() -> None:
    answer = await asking()("POST", "/-/api/v1/buckets", body=b" " * (JSON_LIMITS.body_bytes + 1))
    assert (answer.status, json.loads(answer.body)["code"]) == (400, 3)


async def test_who_has_no_right_reaches_no_service() -> None:
    for method, path in (("GET", "/-/api/v1/buckets"), ("DELETE", "/-/api/v1/buckets/b/objects/o")):
        answer = await asking(NOBODY)(method, path)
        assert (answer.status, json.loads(answer.body)["code"]) == (403, 7)


@pytest.mark.parametrize("template", ["/a/{b", "/a/{b=**}/{c=**}", "a", "/a//b", "/{=x}", "/a/{}"])
def test_a_template_that_makes_no_sense_is_refused_when_the_gateway_starts(template: str) -> None:
    with pytest.raises(ValueError, match="template"):
        PathTemplate.parse(template)
