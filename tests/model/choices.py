"""What the machine draws from: few names, so that they meet again and again, and sizes on both sides of each border."""

from __future__ import annotations

import hashlib
import random
from functools import lru_cache

from hypothesis import strategies as st

from model.reference import INLINE_BYTES_MAX, SECOND, Kept
from model.subject import BUCKETS, FORMS
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Checksum,
    Preconditions,
    PutRequest,
    RangeRequest,
    Version,
)

LONG = "é" * 512
"""Kept by its hash."""
OTHER_LONG = LONG[:-1] + "è"
NAMES = ("a", "a/", "a/1", "a/2/3", "a-", "b/1", "b/2", "é/1", "\uffff", "😀", LONG, OTHER_LONG)
EDGES = ("", "a", "a/", "a/2", "b", "é", "c", "é" * 220, LONG)
MIB = 1 << 20
SIZES = (0, 1, 100, 9_999, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 20_000, 40_000, 40_001, 65_537)
LONG_SIZES = (MIB, MIB + 1, 2 * MIB + 77_777)

names = st.sampled_from(NAMES)
edges = st.sampled_from(EDGES)
delimiters = st.sampled_from(["", "", "/", "/1"])
limits = st.sampled_from([1, 2, 3, 7, 1000])
buckets = st.integers(0, BUCKETS - 1)
sizes = st.one_of(*[st.sampled_from(SIZES)] * 15, st.sampled_from(LONG_SIZES))
seeds = st.integers(0, 99)
conditions = st.sampled_from(
    ["none"] * 6
    + ["absent", "exists", "same", "other", "not-same", "version", "old-version"]
    + ["unmodified-before", "unmodified-now", "modified-before", "modified-now", "same-and-not-same"]
)
faults = st.sampled_from(["none"] * 12 + ["cut", "short", "long", "checksum"])
ranges = st.one_of(
    st.none(),
    st.builds(RangeRequest, st.integers(0, 70_000), st.none()),
    st.builds(RangeRequest, st.none(), st.integers(0, 70_000)),
    st.tuples(st.integers(0, 70_000), st.integers(0, 70_000)).map(lambda pair: RangeRequest(*sorted(pair))),
)
forms = st.integers(0, FORMS - 1)


@lru_cache(maxsize=200)
def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def request_for(name: str, body: bytes, seed: int, fault: str, preconditions: Preconditions) -> PutRequest:
    """Announced, checked and described in as many ways as there are; the same for the same seed."""
    announced = {"short": len(body) + 1, "long": max(0, len(body) - 1)}.get(fault, len(body))
    checksum = hashlib.sha256(body if fault != "checksum" else body + b"!").hexdigest()
    return PutRequest(
        name,
        size=announced if seed % 3 or fault in ("short", "long") else None,
        content_type="text/plain" if seed % 2 else "application/octet-stream",
        metadata={"seed": str(seed), "é": ""} if seed % 5 == 0 else {},
        headers={"cache-control": f"max-age={seed}"} if seed % 7 == 0 else {},
        checksums=(Checksum("sha256", checksum),) if seed % 4 == 0 or fault == "checksum" else (),
        md5_etag=seed % 6 == 0,
        preconditions=preconditions,
    )


def preconditions_for(kind: str, kept: Kept | None) -> Preconditions:
    """What the kind means for what is there now."""
    etag, version, modified_ns = (
        (kept.etag, kept.version, kept.modified_ns) if kept else ("none", bytes(12), SECOND)
    )
    return {
        "none": NO_PRECONDITIONS,
        "absent": Preconditions(if_none_match=("*",)),
        "exists": Preconditions(if_match=("*",)),
        "same": Preconditions(if_match=("other", etag)),
        "other": Preconditions(if_match=("other",)),
        "not-same": Preconditions(if_none_match=(etag,)),
        "version": Preconditions(if_version=Version(version)),
        "old-version": Preconditions(if_version=Version(bytes(12))),
        "unmodified-before": Preconditions(if_unmodified_since_ns=modified_ns - SECOND),
        "unmodified-now": Preconditions(if_unmodified_since_ns=modified_ns),
        "modified-before": Preconditions(if_modified_since_ns=modified_ns - SECOND),
        "modified-now": Preconditions(if_modified_since_ns=modified_ns),
        "same-and-not-same": Preconditions(if_match=(etag,), if_none_match=(etag,)),
    }[kind]
