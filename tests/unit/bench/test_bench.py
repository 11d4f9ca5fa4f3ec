"""The bench's arithmetic: what it prints is what was measured, and what went wrong is no figure."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pytest

from shoal_bench.load import SCRIPT, BenchFailed, Measured, measured
from shoal_bench.presign import Signer
from shoal_bench.processes import cpu_seconds
from shoal_bench.report import cpu_ratio, table, value
from shoal_bench.systems import free_ports
from shoal_bench.work import Scale, names

OURS = Measured(operations=20_000, seconds=10, p50_ms=1.5, p99_ms=9, cpu_seconds=10)
PEERS = Measured(operations=5_000, seconds=10, p50_ms=3, p99_ms=20, cpu_seconds=10)


def test_the_table_has_rates_ratios_and_cpu() -> None:
    lines = table({"GET 4 KiB": {"shoal": OURS, "peer": PEERS}}).splitlines()
    assert lines[2] == "| GET 4 KiB | shoal | 2,000 |  | 1.50 | 9.00 | 0.500 | 131.07 |"
    assert lines[3] == "| GET 4 KiB | peer | 500 | 4.00 | 3.00 | 20.00 | 2.000 | 524.29 |"


def test_cpu_is_compared_per_operation() -> None:
    assert cpu_ratio({"LIST": {"shoal": OURS, "peer": PEERS}}, "LIST", "peer") == pytest.approx(4)


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
