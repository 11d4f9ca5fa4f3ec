"""The marks of the data path and of batches: each with its target, and what this run reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shoal_bench.load import Measured
from shoal_bench.report import size_of

Rows = Mapping[str, Mapping[str, Measured]]

OURS = "shoal"


@dataclass(frozen=True)
class Mark:
    what: str
    target: float
    reached: Callable[[Rows], float]
    """Raises KeyError where a row is missing."""
    unit: str = "times"
    at_most: bool = False

    def line(self, rows: Rows) -> str | None:
        """None where a row was not measured, or a peer failed in it."""
        try:
            found = self.reached(rows)
        except KeyError:
            return None
        is_met = found <= self.target if self.at_most else found >= self.target
        sign = "≤" if self.at_most else "≥"
        return f"| {self.what} | {sign} {self.target:g} {self.unit} | {found:.2f} | {'yes' if is_met else 'no'} |"


def rate(work: str, peer: str, *, to: str = "") -> Callable[[Rows], float]:
    """Ours to the peer's, of the row `to` where the peer has none of the same title."""
    return lambda rows: rows[work][OURS].per_second / rows[to or work][peer].per_second


def cpu(work: str, peer: str, *, to: str = "") -> Callable[[Rows], float]:
    """CPU per operation, ours to the peer's."""
    return lambda rows: rows[work][OURS].cpu_us / (rows[to or work][peer].cpu_us or float("inf"))


def mib_per_second(work: str) -> Callable[[Rows], float]:
    return lambda rows: rows[work][OURS].per_second * size_of(work) / (1 << 20)


def seconds(work: str) -> Callable[[Rows], float]:
    return lambda rows: rows[work][OURS].seconds


def cpu_us(work: str) -> Callable[[Rows], float]:
    return lambda rows: rows[work][OURS].cpu_us


def objects_per_second(work: str) -> Callable[[Rows], float]:
    return lambda rows: rows[work][OURS].per_second


def between(work: str, other: str) -> Callable[[Rows], float]:
    return lambda rows: rows[work][OURS].per_second / rows[other][OURS].per_second


def with_ratio(what: str, target: float, work: str, peer: str, *, to: str = "") -> Mark:
    return Mark(what, target, rate(work, peer, to=to))


def with_cpu(what: str, target: float, work: str, peer: str) -> Mark:
    return Mark(what, target, cpu(work, peer), at_most=True)


WEED, NGINX, DD = "seaweedfs", "nginx", "dd, synced"
OS, FAST = ", not synced", ", not synced, no MD5"
MANY = ", 64 connections"
SHARD = "BATCH 10 KiB members of a shard of 1075 MiB"


def capped(workers: int, protocol: str) -> str:
    return f"parallel download of 1 GiB, {workers} connections capped at 100 MB/s each, {protocol}"


MARKS: tuple[Mark, ...] = (
    with_ratio("S3 GET 4 KiB to SeaweedFS", 6, "GET 4 KiB", WEED),
    with_ratio("S3 GET 64 KiB to SeaweedFS", 5, "GET 64 KiB", WEED),
    with_cpu("S3 GET 4 KiB, CPU to SeaweedFS", 0.111, "GET 4 KiB", WEED),
    with_cpu("S3 GET 64 KiB, CPU to SeaweedFS", 0.111, "GET 64 KiB", WEED),
    with_ratio("REST GET 4 KiB to nginx", 0.6, "REST GET 4 KiB", NGINX),
    with_ratio("REST GET 64 KiB to nginx", 0.9, "REST GET 64 KiB", NGINX),
    with_cpu("REST GET 4 KiB, CPU to nginx", 2, "REST GET 4 KiB", NGINX),
    with_cpu("REST GET 64 KiB, CPU to nginx", 1.2, "REST GET 64 KiB", NGINX),
    *(
        mark
        for door in ("", "REST ")
        for size in ("1 MiB", "64 MiB")
        for mark in (
            with_ratio(f"{door or 'S3 '}GET {size} to nginx", 0.95, f"{door}GET {size}", NGINX),
            with_cpu(f"{door or 'S3 '}GET {size}, CPU to nginx", 1.2, f"{door}GET {size}", NGINX),
        )
    ),
    Mark(
        "same-host read of 64 MiB",
        2048,
        mib_per_second("same-host read of 64 MiB"),
        unit="MiB/s",
    ),
    with_ratio("S3 PUT 4 KiB durable, 16 connections, to SeaweedFS unsynced", 2.5, "PUT 4 KiB", WEED),
    with_ratio("the same, 64 connections", 2.5, f"PUT 4 KiB{MANY}", WEED),
    with_ratio(
        "REST PUT 4 KiB durable, 16 connections, to SeaweedFS unsynced",
        3,
        "REST PUT 4 KiB",
        WEED,
        to="PUT 4 KiB",
    ),
    with_ratio("the same, 64 connections", 3, f"REST PUT 4 KiB{MANY}", WEED, to=f"PUT 4 KiB{MANY}"),
    with_ratio("REST PUT 1 MiB, os, to SeaweedFS", 3.5, f"REST PUT 1 MiB{OS}", WEED, to="PUT 1 MiB"),
    with_ratio("REST PUT 64 MiB, os, to SeaweedFS", 4, f"REST PUT 64 MiB{OS}", WEED, to="PUT 64 MiB"),
    *(
        with_ratio(
            f"S3 PUT {size}, os, {said}, to SeaweedFS", target, f"PUT {size}{variant}", WEED, to=f"PUT {size}"
        )
        for size in ("1 MiB", "64 MiB")
        for said, target, variant in (("MD5", 1.2, OS), ("s3.etag: fast", 3.0, FAST))
    ),
    with_ratio("REST PUT 64 MiB durable, 4 connections, to dd", 0.9, "REST PUT 64 MiB", DD),
    with_ratio("the same, 1 connection", 0.9, "REST PUT 64 MiB, 1 connection", DD),
    Mark("4 capped connections to 1, gRPC", 3.6, between(capped(4, "gRPC"), capped(1, "gRPC"))),
    Mark("4 capped connections to 1, HTTP", 3.6, between(capped(4, "HTTP"), capped(1, "HTTP"))),
    *(
        Mark(f"gRPC {verb} {way}", target, mib_per_second(f"gRPC {verb} 256 MiB, {way}"), unit="MiB/s")
        for way, target in (("Unix socket", 600), ("mutual TLS", 300))
        for verb in ("read", "write")
    ),
    Mark(
        "1,000,000 names in the engine, cold",
        2,
        seconds("engine alone, LIST 1,000,000 names, cold"),
        "s",
        at_most=True,
    ),
    Mark(
        "1,000,000 names in the engine, warm",
        1,
        seconds("engine alone, LIST 1,000,000 names, warm"),
        "s",
        at_most=True,
    ),
    Mark("server CPU a name listed, REST", 3, cpu_us("REST LIST"), "µs", at_most=True),
    Mark("server CPU a name listed, S3", 4, cpu_us("LIST"), "µs", at_most=True),
    with_cpu("server CPU a name listed, S3, to SeaweedFS", 0.25, "LIST", WEED),
    with_ratio("batch of 10 KiB, raw, to nginx's GET of 4 KiB", 0.5, "BATCH 10 KiB", NGINX, to="GET 4 KiB"),
    Mark("batch of 10 KiB, SDK", 12_000, objects_per_second("SDK BATCH 10 KiB"), "objects/s"),
    Mark("batch of 32 KiB, raw", 1024, mib_per_second("BATCH 32 KiB"), "MiB/s"),
    Mark("batch of 100 KiB, raw", 1024, mib_per_second("BATCH 100 KiB"), "MiB/s"),
    Mark("batch of 1 MiB, SDK, to one by one", 2.5, between("SDK BATCH 1 MiB", "SDK GET 1 MiB, one by one")),
    Mark("members of a shard, second pass, to whole objects", 0.5, between(SHARD, "BATCH 10 KiB")),
)


def marks_table(rows: Rows) -> str:
    """Markdown; empty where no row of any mark was measured."""
    lines = [line for mark in MARKS if (line := mark.line(rows)) is not None]
    return "\n".join(["| mark | target | reached | met |", "|---|---|---|---|", *lines]) if lines else ""
