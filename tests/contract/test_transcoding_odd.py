"""An API with kinds of fields and rules that ours has not: served alike by Envoy and us, without a line of code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import Default

from shoal_core.access import RPC_PERMISSIONS, Permission
from support.json_doors import Doors, open_doors
from support.json_requests import JsonRequest, valid, variants

pytestmark = pytest.mark.asyncio(loop_scope="module")

TESTS = Path(__file__).parents[1]
PROTO = "support/odd.proto"
DETAILS = "google/rpc/error_details.proto"
"""What travels inside the details of an error."""
SERVICE = "shoal.odd.v1.OddService"
METHODS = ("Ask", "Tell", "Put", "Count", "Read", "Walk")

EVERYTHING = "/-/api/odd/v1/everything"
SCALARS = "/-/api/odd/v1/scalars"
EDGES = [
    *(
        JsonRequest(f"body {body}", "PUT", EVERYTHING, body)
        for body in (
            "{}",
            '{"scalars":{"@odd":"x","oddlyNamed":"y","oddly_named":"z"}}',
            '{"scalars":{"oddly_named":"z"}}',
            '{"scalars":{"numbers":[1,"2",3.0,null],"kinds":["KIND_LARGE",-5,7]}}',
            '{"scalars":{"numbers":1}}',
            '{"scalars":{"numbers":{"x":1}}}',
            '{"words":{"a":"b","a":"c","":""}}',
            '{"words":{"a":5}}',
            '{"words":{"a":null}}',
            '{"words":["a"]}',
            '{"byName":{"a":{"name":"x","words":["y"]},"b":{}}}',
            '{"byName":{"a":null}}',
            '{"byName":{"a":[]}}',
            '{"byNumber":{"1":true,"-2":"false"}}',
            '{"byNumber":{"x":true}}',
            '{"byNumber":{"1":1}}',
            '{"first":"a"}',
            '{"first":"a","second":2}',
            '{"first":null,"second":2}',
            '{"third":{"name":"n"},"third":{"words":["w"]}}',
            '{"inners":[{"name":"a"},{"name":"b","nosuch":1}]}',
            '{"inners":[[{"name":"a"}]]}',
            '{"inners":{"name":"a"}}',
            '{"time":"1969-12-31T23:59:59.999999999Z"}',
            '{"time":"2026-01-02T03:04:05+02:30"}',
            '{"times":["2026-01-02T03:04:05Z","0001-01-01T00:00:00Z"]}',
            '{"duration":"-1.5s"}',
            '{"duration":"315576000000s"}',
            '{"number":"9223372036854775807"}',
            '{"number":1.5}',
            '{"truth":"yes"}',
            '{"wrapped":""}',
            '{"wrapped":{"value":"x"}}',
            '{"mask":"a.bC,dEF"}',
        )
    ),
    *(
        JsonRequest(f"query {query}", "GET", f"{SCALARS}?{query}")
        for query in (
            "@odd=x",
            "%40odd=x",
            "maybe=",
            "numbers=1&numbers=2&numbers=-3",
            "numbers=1,2",
            "kinds=KIND_LARGE&kinds=-5",
            "kind=kind_large",
            "a_float=3.5e38",
            "a_float=-1e-50",
            "a_double=1e309",
            "a_double=-Infinity",
            "some_bytes=-_-_&a_string=%2B%20+",
        )
    ),
    *(
        JsonRequest(f"path {path}", method, f"/-/api/odd/v1/{path}", body)
        for method, path, body in (
            ("PUT", "things/shelves/a/books/b/c:put", '{"aBool":true}'),
            ("PUT", "things/shelves/a/books/b:put?text=x&scalars.a_bool=1", '{"aBool":true}'),
            ("PUT", "things/shelves/a%2Fb/books/c%2Fd:put", "{}"),
            ("PUT", "things/shelves/a/books:put", "{}"),
            ("PUT", "things/shelves/a/books/b", "{}"),
            ("PUT", "things/shelves/a/books/b:put", "5"),
            ("PUT", "things/shelves/a/books/b:put", "null"),
            ("DELETE", "counts/-7/-5", None),
            ("DELETE", "counts/7.0/KIND_LARGE", None),
            ("DELETE", "counts/7/nosuch", None),
            ("DELETE", "counts/7/KIND_LARGE?an_int64=8", None),
            ("GET", "bytes/", None),
            ("POST", "everything/everything", '{"text":"x"}'),
            ("POST", "x/everything", '{"text":"x"}'),
            ("GET", "walk", None),
        )
    ),
]


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What scripts/genproto would write, if the proto were ours."""
    written = tmp_path_factory.mktemp("odd") / "descriptors.binpb"
    protos = [f"--proto_path={TESTS}", f"--proto_path={TESTS.parent / 'protos'}", PROTO, DETAILS]
    command = [sys.executable, "-m", "grpc_tools.protoc", "--include_imports", *protos]
    subprocess.run([*command, f"--descriptor_set_out={written}"], check=True)
    return written


@pytest.fixture(scope="module")
def methods(descriptors: Path) -> list[MethodDescriptor]:
    [file] = (
        file for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file if file.name == PROTO
    )
    Default().AddSerializedFile(file.SerializeToString())
    return list(Default().FindServiceByName(SERVICE).methods)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(
    tmp_path_factory: pytest.TempPathFactory, descriptors: Path, methods: list[MethodDescriptor]
) -> AsyncIterator[Doors]:
    with pytest.MonkeyPatch.context() as patch:
        for name in METHODS:
            # That nobody may call what has no right is the other test's matter.
            patch.setitem(RPC_PERMISSIONS, f"/{SERVICE}/{name}", Permission.SHOW_CLUSTER)
        folder = tmp_path_factory.mktemp("odd-doors")
        async with open_doors(folder, methods, descriptors=descriptors, service=SERVICE) as doors:
            yield doors


@pytest.mark.parametrize("name", METHODS)
async def test_every_form_of_a_request_is_taken_alike(
    doors: Doors, methods: list[MethodDescriptor], name: str
) -> None:
    [method] = (method for method in methods if method.name == name)
    assert await doors.differences(variants(method)) == []
    doors.mirror.empty = True
    assert await doors.differences([valid(method)]) == []
    doors.mirror.empty = False


async def test_requests_at_the_edges_of_its_types_are_taken_alike(doors: Doors) -> None:
    assert await doors.differences(EDGES) == []
