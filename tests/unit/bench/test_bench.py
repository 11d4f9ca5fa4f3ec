"""The bench's arithmetic: what it prints is what was measured, and what went wrong is no figure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from shoal_bench.client_reads import client_rows
from shoal_bench.floors import disk_rows
from shoal_bench.listing_engine import engine_rows
from shoal_bench.load import SCRIPT, BenchFailed, Measured, measured
from shoal_bench.marks import MARKS, SHARD, marks_table
from shoal_bench.plot import drawn
from shoal_bench.presign import Signer
from shoal_bench.processes import cpu_seconds
from shoal_bench.report import as_json, size_of, table, value
from shoal_bench.rows import Row, matching, shares
from shoal_bench.streams import stream_rows
from shoal_bench.systems import free_ports
from shoal_bench.work import Scale, file_rows, names, our_rows, peer_rows, remote_rows

OURS = Measured(operations=20_000, seconds=10, p50_ms=1.5, p99_ms=9, cpu_seconds=10)
PEERS = Measured(operations=5_000, seconds=10, p50_ms=3, p99_ms=20, cpu_seconds=10)


def test_the_table_has_rates_ratios_and_cpu() -> None:
    lines = table({"GET 4 KiB": {"shoal": OURS, "peer": PEERS}}).splitlines()
    assert lines[2] == "| GET 4 KiB | shoal | 2,000 |  | 1.50 | 9.00 | 0.500 | 131.07 |"
    assert lines[3] == "| GET 4 KiB | peer | 500 | 4.00 | 3.00 | 20.00 | 2.000 | 524.29 |"


def test_slow_rates_keep_their_digits() -> None:
    slow = Measured(operations=5, seconds=10, p50_ms=1, p99_ms=1, cpu_seconds=1, sides={"target": 0.4})
    assert "| 0.5 |  | 1.00 | 1.00 | 200.000 (target 80.00) |" in table({"GET 1 GiB": {"shoal": slow}})


@pytest.mark.parametrize(
    ("title", "size"), [("GET 4 KiB", 4096), ("parallel download of 1 GiB, 4", 1 << 30), ("LIST", 0)]
)
def test_a_title_says_the_size_of_an_operation(title: str, size: int) -> None:
    assert size_of(title) == size


def test_marks_stand_beside_what_was_reached_where_their_rows_were_measured() -> None:
    lines = marks_table({"GET 4 KiB": {"shoal": OURS, "seaweedfs": PEERS}}).splitlines()
    assert lines[2:] == [
        "| S3 GET 4 KiB to SeaweedFS | ≥ 6 times | 4.00 | no |",
        "| S3 GET 4 KiB, CPU to SeaweedFS | ≤ 0.111 times | 0.25 | no |",
    ]
    assert marks_table({"LIST": {"peer": PEERS}}) == ""


def test_every_mark_has_its_rows() -> None:
    scale = Scale.full()
    ours = [*our_rows(scale), *stream_rows(scale), *client_rows(scale), *engine_rows(scale)]
    rows = {title: {"shoal": OURS} for row in ours for title in (row.work, *row.also)}
    for row in [*peer_rows(scale), *file_rows(scale, Path())]:
        for title in (row.work, *row.also):
            rows[title] |= {"seaweedfs": PEERS, "nginx": PEERS}
    for row in disk_rows(scale):
        for title in (row.work, *row.also):
            rows[title][row.system] = PEERS
    # Batches are measured by a client of their own; their titles are in the rows of `shoal_bench.batches`.
    sizes = [
        f"{door}BATCH {size}" for door in ("", "SDK ") for size in ("10 KiB", "32 KiB", "100 KiB", "1 MiB")
    ]
    rows |= {title: {"shoal": OURS} for title in (*sizes, SHARD, "SDK GET 1 MiB, one by one")}
    assert [mark.what for mark in MARKS if mark.line(rows) is None] == []


def test_rows_are_chosen_by_a_pattern_in_system_or_title() -> None:
    rows = remote_rows(Scale.quick())
    assert [row.work for row in matching(rows, "REST.*64 KiB", "shoal")] == ["REST GET 64 KiB"]
    assert matching(rows, "^nginx", "shoal") == []
    assert matching(rows, None, "shoal") == rows


def test_a_row_is_chosen_by_its_other_titles_and_its_own_system_too() -> None:
    row = Row("PUT", lambda subject: OURS, also=("PUT again",), system="dd")
    assert matching([row], "^dd: PUT again$", "shoal") == [row]


def test_cpu_of_a_round_is_shared_out_as_that_of_all_rounds() -> None:
    assert shares({"target": 1.0}, {"target": 4.0, "gateways": 1.0}, 2.0) == {"target": 1.5, "gateways": 0.5}
    assert shares({}, {}, 2.0) == {}


def test_the_chart_has_a_bar_for_each_peer_of_a_row() -> None:
    rows = {"GET <4 KiB>": {"shoal": OURS, "seaweedfs": PEERS}, "LIST": {"shoal": OURS}}
    decoded = msgspec.json.decode(as_json(rows), type=dict[str, dict[str, Measured]])
    chart = drawn(decoded)
    assert "GET &lt;4 KiB&gt; · seaweedfs" in chart
    assert ">4.00<" in chart
    assert "LIST" not in chart


def test_what_wrk_says_is_taken_over() -> None:
    output = 'Running...\nBENCH {"requests": 10, "seconds": 2.0, "errors": 0, "p50_ms": 1.0, "p99_ms": 2.0}\n'
    assert measured(output, 3.0) == Measured(10, 2.0, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    "output",
    [
        "",
        'BENCH {"requests": 10, "seconds": 2.0, "errors": 1, "p50_ms": 1.0, "p99_ms": 2.0}\n',
        'BENCH {"requests": 0, "seconds": 2.0, "errors": 0, "p50_ms": 1.0, "p99_ms": 2.0}\n',
    ],
)
def test_a_load_in_which_a_request_failed_is_no_figure(output: str) -> None:
    with pytest.raises(BenchFailed):
        measured(output, 1.0)


def test_every_small_object_has_a_name_and_a_signature_of_its_own() -> None:
    small = Scale.full().sizes[0]
    assert len(set(names(small, "get"))) >= 50_000
    signer = Signer("http://127.0.0.1:1", "K" * 20, "S" * 40, "shoal")
    paths = signer.paths("GET", names(small, "get")[:50])
    signatures = {parse_qs(urlsplit(path).query)["X-Amz-Signature"][0] for path in paths}
    assert len(signatures) == 50


def test_the_cpu_of_children_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\ninput()"
    shell = f'"{sys.executable}" -c "{burn}"; true'
    process = subprocess.Popen(["sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"burnt\n"
    assert cpu_seconds(process.pid) >= 0.25
    process.communicate(b"\n")
    assert cpu_seconds(os.getpid()) > 0


def test_a_metric_is_summed_over_its_labels() -> None:
    text = '# HELP x y\nx_total{a="1"} 2.0\nx_total{a="2"} 3.0\nx_total_other 9.0\n'
    assert value(text, "x_total") == 5


def test_ports_are_distinct() -> None:
    assert len(set(free_ports(9))) == 9


def test_the_script_for_wrk_is_where_it_is_looked_for() -> None:
    assert SCRIPT.exists()
