"""Signed reads that differ in what every one has of its own: its object's name, its signature, its number.

All that one client asks of a bucket within a second is alike but for these, so what else a request says is judged once
(`lane.FastLane`). Nothing is decided here: a request that is not cut well is judged as a whole.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from shoal_core.objects import OBJECT_NAME_BYTES_MAX
from shoal_gateway.lane.signature import INVOCATION, SIGNATURE, Proof

_PLACE = rb"/(?:s3/)?[A-Za-z0-9~_.-]+/)([A-Za-z0-9~_./-]{1,%d})" % OBJECT_NAME_BYTES_MAX
"""What is before the name, and a name that is its own canonical form."""
_PRESIGNED = re.compile(rb"(GET %b\?([!\"$-~]*)%b([0-9a-f]{64})( HTTP/1\.1\r\n(?s:.)*)" % (_PLACE, SIGNATURE))
_LINE = re.compile(rb"((?:GET|HEAD) %b(?:\?x-id=[A-Za-z]+)? HTTP/1\.1\r\n" % _PLACE)
_IN_HEADER = b"Signature="
_SIGNATURE_BYTES = 64
_INVOCATIONS = tuple(b"\r\n%b: " % name for name in (INVOCATION, INVOCATION.title()))
_UUID = re.compile(rb"[0-9A-Fa-f-]{36}(?=\r\n)")

Common: TypeAlias = tuple[bytes, bytes, bytes]
"""Equal for requests that are alike."""


def signed_read(data: bytes) -> tuple[Common, Proof] | None:
    """What it has in common with others, and what is its own. None for what is no signed GET or HEAD, or is one in an
    unusual form."""
    if (presigned := _PRESIGNED.fullmatch(data)) is not None:
        before, name, query, signature, rest = presigned.groups()
        return (before, query, rest), Proof(name, signature)
    block, begins, rest = data.partition(_IN_HEADER)
    if not begins or _IN_HEADER in rest or (line := _LINE.match(block)) is None:
        return None
    before, name = line.groups()
    signature, rest = rest[:_SIGNATURE_BYTES], rest[_SIGNATURE_BYTES:]
    block, invocation = without_invocation(block[line.end(2) :])
    if not invocation:
        rest, invocation = without_invocation(rest)
    return (before, block, rest), Proof(name, signature, invocation)


def without_invocation(block: bytes) -> tuple[bytes, bytes]:
    """Lines without the value of `amz-sdk-invocation-id`, and that; b"" when there is none that is a UUID."""
    for begins in _INVOCATIONS:
        if (at := block.find(begins)) >= 0:
            at += len(begins)
            if (invocation := _UUID.match(block, at)) is not None:
                return block[:at] + block[invocation.end() :], invocation[0]
    return block, b""
