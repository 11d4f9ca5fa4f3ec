"""JSON requests at the edges of the grammars: paths, queries and bodies that no descriptor tells of."""

from __future__ import annotations

from support.json_requests import JsonRequest


def deep(levels: int) -> str:
    return '{"x":' * levels + "1" + "}" * levels


BUCKETS = "/-/api/v1/buckets"
OBJECTS = f"{BUCKETS}/b/objects"

EDGES = [
    *(
        JsonRequest(f"path {path}", "GET", path)
        for path in (
            f"{BUCKETS}/",
            f"{BUCKETS}//",
            f"{BUCKETS}//b",
            f"{BUCKETS}/b/",
            f"{BUCKETS}/b%31",
            f"{BUCKETS}/b%2Fc",
            f"{BUCKETS}/b:watch",
            f"{BUCKETS}:watch",
            f"{OBJECTS}/",
            f"{OBJECTS}//x",
            f"{OBJECTS}/a//b",
            f"{OBJECTS}/a/",
            f"{OBJECTS}/a%2F",
            f"{OBJECTS}/a/../b",
            f"{OBJECTS}/./a",
            f"{OBJECTS}/a%2fb%25%23%252F",
            f"{OBJECTS}/a+b",
            f"{OBJECTS}/a:b",
            f"{OBJECTS}/a:watch",
            f"{OBJECTS}/a%3Awatch",
            f"{OBJECTS}/watch:x/y",
            f"{OBJECTS}/%ff",
            f"{OBJECTS}/%zz",
            f"{OBJECTS}/%",
            f"{OBJECTS}/a?name=b",
            f"{OBJECTS}/a;b=c",
            f"{OBJECTS}/%C3%A9",
            f"{OBJECTS}/a%00b",
            "/-/api/v1/nosuch",
            "/-/api/v1",
            "/-/api/v1/Buckets",
            "/-/api/v1/buckets%2Fb",
            "/-/api/v1/jobs/a/b",
            "/-/api/v1/cluster/map/watch",
            "/-/api/v1/cluster/map:nope",
            "/-/api/v2/buckets",
        )
    ),
    *(
        JsonRequest(f"{method} {path}", method, path)
        for method, path in (
            ("DELETE", OBJECTS),
            ("DELETE", f"{OBJECTS}/"),
            ("GET", f"{BUCKETS}/b/records"),
            ("DELETE", BUCKETS),
            ("GET", f"{BUCKETS}/b/uploads"),
            ("DELETE", f"{BUCKETS}/b/uploads"),
            ("GET", f"{BUCKETS}/b/uploads/u/parts/"),
            ("POST", f"{BUCKETS}/b/uploads/u"),
            ("POST", f"{BUCKETS}/b/uploads/:complete"),
            ("GET", f"{OBJECTS}/o:complete"),
        )
    ),
    *(
        JsonRequest(f"query {query}", "GET", f"{BUCKETS}?{query}")
        for query in (
            "provider",
            "provider=",
            "=x",
            "&&page_size=1&",
            "provider=a=b",
            "provider=a;page_size=1",
            "provider=a+b%2Bc",
            "provider=%",
            "%70rovider=x",
            "+provider=x",
            "provider=%00",
            "page_size=%2B1",
            "page_size=01",
            "page_size=-0",
            "page_size=1e1",
            "page_size=0x1",
            "page_size=1_0",
            "page_size=%EF%BC%91",
            "PageSize=1",
            "pagesize=1",
            "page-size=1",
            "provider.x=1",
            "a.b.c=1",
            ".provider=x",
            "provider.=x",
            "page_size==1",
        )
    ),
    *(
        JsonRequest(f"{method} {BUCKETS}", method, BUCKETS, body)
        for method, body in (
            ("HEAD", None),
            ("PUT", "{}"),
            ("DELETE", None),
            ("PATCH", "{}"),
            ("OPTIONS", None),
        )
    ),
    *(
        JsonRequest(f"body {body[:40]!r}", "POST", BUCKETS, body)
        for body in (
            b"",
            b"{",
            b"}",
            b"null",
            b"5",
            b'"x"',
            b"  ",
            b"  {} \n",
            b"garbage",
            b"{}{}",
            b"{} x",
            b'{"":1}',
            b"\xef\xbb\xbf{}",
            b"/**/{}",
            b'{"bucket":{"name":"a"},"bucket":{"namespace":"n"}}',
            b'{"bucket":{"name":"a","name":"b"}}',
            b'{"bucket":{"name":"a"},"bucket":5}',
            b'{"x":NaN}',
            b'{"x":Infinity}',
            b'{"x":1e400}',
            b'{"x":-1e400}',
            b'{"x":' + b"9" * 400 + b"}",
            b'{"x":' + b"1" * 5000 + b"}",
            b'{"x":01}',
            b'{"x":-}',
            b'{"x":.5}',
            b'{"x":tru}',
            b'{"x":"\\ud800"}',
            b'{"bucket":{"name":"\\ud83d\\ude00"}}',
            b'{"bucket":{"name":"\xff"}}',
            b'{"bucket":{"name":"a\nb"}}',
            b'{"x":"\\u12"}',
            b'{"bucket":{"name":"\\u0000"}}',
            b'{"bucket":{"@type":"x","name":"b"}}',
        )
    ),
    *(
        JsonRequest(f"a body of type {kind!r}", "POST", BUCKETS, '{"bucket":{"name":"b"}}', kind)
        for kind in (
            "",
            "text/plain",
            "application/json; charset=utf-8",
            "application/json; charset=utf-16",
            "application/x-www-form-urlencoded",
            "application/octet-stream",
            "multipart/form-data; boundary=x",
            "application/problem+json",
            "application/protobuf",
            "no type",
        )
    ),
    *(
        JsonRequest(f"{levels} levels", "POST", BUCKETS, deep(levels))
        for levels in (99, 100, 101, 500, 20_000)
    ),
    *(
        JsonRequest(f"{levels} lists", "POST", BUCKETS, '{"x":' + "[" * levels + "]" * levels + "}")
        for levels in (98, 99, 100, 5000)
    ),
    JsonRequest("a list that never ends", "POST", BUCKETS, "[" * 200_000),
    JsonRequest("a megabyte that nobody knows", "POST", BUCKETS, '{"x":"' + "a" * (1 << 20) + '"}'),
    *(
        JsonRequest(f"body {body} against the path", "PATCH", f"{BUCKETS}/b", body)
        for body in (
            '{"bucket":{"name":"b"}}',
            '{"bucket":{"name":"c"}}',
            '{"bucket":{"name":null}}',
            '{"bucket":null}',
            '{"bucket":{"provider":"x"}}',
            '{"expected_generation":"1","expectedGeneration":"2"}',
            '{"expected_generation":1,"expected_generation":1}',
        )
    ),
    *(
        JsonRequest(
            f"body {body} against the query",
            "PATCH",
            f"{BUCKETS}/b?expected_generation=1&properties.versioning=1",
            body,
        )
        for body in (
            '{"expected_generation":1}',
            '{"expected_generation":"1"}',
            '{"expected_generation":2}',
            '{"properties":{"versioning":true}}',
            '{"properties":{"versioning":false}}',
            '{"properties":{}}',
        )
    ),
    *(
        JsonRequest(f"GET with the body {body}", "GET", f"{BUCKETS}?page_size=2", body)
        for body in (
            "{}",
            "garbage",
            '{"page_size":2}',
            '{"page_size":-1}',
            '{"page_size":null}',
            '{"provider":"x"}',
            '{"nosuch":1}',
        )
    ),
]
