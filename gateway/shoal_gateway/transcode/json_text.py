"""The JSON of a request body as Python values that keep what a dictionary would lose: repeated keys.

Strict where Envoy's parser is lenient (single quotes, bare keys, trailing commas): docs/transcoding.md says why.
"""

from __future__ import annotations

import json
import math
import re
from typing import TypeAlias

from shoal_gateway.transcode.values import BadRequest

DEPTH_MAX = 100
LONG_INTEGER_DIGITS = 300
"""Integers beyond are read as floating point numbers, which tells whether they are too large for one."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class JsonObject(list[tuple[str, object]]):
    """The members of an object in their order."""


Json: TypeAlias = JsonObject | list[object] | str | bool | int | float | None


def parse_json(body: bytes) -> Json:
    """Raises BadRequest."""
    try:
        text = body.decode()
        value: Json = _DECODER.decode(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise BadRequest(
            "the body is not valid UTF-8, or an escape in it stands for half a character"
        ) from error
    except RecursionError as error:
        raise BadRequest(f"the body is nested more than {DEPTH_MAX} levels deep") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at character {error.pos}") from error
    check_depth(value)
    return value


def check_depth(value: Json) -> None:
    level: list[object] = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in members(outer) if isinstance(inner, list)]
        if not level:
            return
    raise BadRequest(f"the body is nested more than {DEPTH_MAX} levels deep")


def members(value: object) -> list[object]:
    if isinstance(value, JsonObject):
        return [member for _, member in value]
    return value if isinstance(value, list) else []


def number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadRequest("the body holds a number that exceeds the range of a double")
    return value


def whole_number(text: str) -> int | float:
    return int(text) if len(text) <= LONG_INTEGER_DIGITS else number(text)


def refuse_constant(text: str) -> float:
    raise BadRequest(f"the body is not JSON: {text} is no value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=JsonObject,
    parse_float=number,
    parse_int=whole_number,
    parse_constant=refuse_constant,
    # Line breaks inside strings are common in hand-written requests, and Envoy takes them.
    strict=False,
)
