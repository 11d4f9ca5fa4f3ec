"""Logs are JSON lines with the request id; metrics of all processes of a host add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoal_core.errors import ConfigurationError
from shoal_core.telemetry import accepted_request_id, configure_logging, new_request_id

LOGGING = """
import logging
from shoal_core.telemetry import configure_logging, get_logger, request_id
log = get_logger()
configure_logging("target", "t1", level="info")
log.debug("hidden")
log.info("started", mountpaths=2)
request_id.set("r-1")
logging.getLogger("library").warning("slow %s", "disk")
try:
    raise ValueError("bad")
except ValueError:
    log.exception("failed", path=__import__("pathlib").Path("/x"))
"""

COUNTING = """
from prometheus_client import Counter
from shoal_core.telemetry import render_metrics
Counter("shoal_test_things_total", "Things").inc()
print(render_metrics().decode())
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def lines() -> list[dict[str, object]]:
    return [json.loads(line) for line in run(LOGGING).stderr.splitlines()]


def test_each_event_is_one_json_line_that_says_where_it_comes_from(lines: list[dict[str, object]]) -> None:
    assert [line["event"] for line in lines] == ["started", "slow disk", "failed"]
    assert {(line["service"], line["node"]) for line in lines} == {("target", "t1")}
    assert lines[0]["mountpaths"] == 2
    assert lines[0]["level"] == "info"


def test_request_id_stands_in_lines_of_libraries_too(lines: list[dict[str, object]]) -> None:
    assert "request_id" not in lines[0]
    assert [line["request_id"] for line in lines[1:]] == ["r-1", "r-1"]


def test_exception_is_logged_with_its_traceback(lines: list[dict[str, object]]) -> None:
    assert "ValueError: bad" in str(lines[2]["exception"])
    assert lines[2]["path"] == "/x"


def test_unknown_level_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="debug, info, warning, error"):
        configure_logging("target", "t1", level="loud")


def test_metrics_of_all_processes_are_summed(tmp_path: Path) -> None:
    run(COUNTING, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert "shoal_test_things_total 2.0" in run(COUNTING, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).stdout


def test_metrics_of_a_lone_process_are_its_own() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PROMETHEUS_MULTIPROC_DIR"}
    output = subprocess.check_output([sys.executable, "-c", COUNTING], env=environment, text=True, timeout=60)
    assert "shoal_test_things_total 1.0" in output


def test_harmless_request_id_is_kept() -> None:
    assert accepted_request_id("abc-1.2_3") == "abc-1.2_3"


@pytest.mark.parametrize("offered", ["", "a b", "a\nb", "x" * 65, "ä", "a\n"])
def test_other_request_id_is_replaced(offered: str) -> None:
    assert accepted_request_id(offered) != offered


def test_request_ids_differ() -> None:
    assert new_request_id() != new_request_id()
