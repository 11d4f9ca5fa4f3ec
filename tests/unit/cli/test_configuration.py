"""`shoal config explain`, and the completion of shells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from shoal_core.config import Secret
from shoal_core.errors import ConfigurationError
from shoal_core.settings_explained import Setting, explain


@dataclass(frozen=True)
class Inner:
    host: str
    port: int = 1


@dataclass(frozen=True)
class Sample:
    id: str
    folder: Path
    password: Secret
    limit: int = 5
    names: tuple[str, ...] = ()
    peers: tuple[Inner, ...] = ()
    key_file: Path | None = None


TOML = """
id = "x"
folder = "relative"
password = "hidden"
limit = 7
peers = [{host = "a"}]
"""


def explained(tmp_path: Path, **environment: str) -> list[Setting]:
    path = tmp_path / "service.toml"
    path.write_text(TOML)
    return explain(Sample, path=path, environment=environment, prefix="SHOAL_SAMPLE")


def test_every_setting_has_its_value_and_its_source(tmp_path: Path) -> None:
    file = str(tmp_path / "service.toml")
    assert explained(tmp_path, SHOAL_SAMPLE_LIMIT="9", SHOAL_SAMPLE_NAMES="a, b", OTHER="z") == [
        Setting("id", "x", file),
        Setting("folder", str(tmp_path / "relative"), file),
        Setting("password", "***", file),
        Setting("limit", 9, "variable SHOAL_SAMPLE_LIMIT"),
        Setting("names", ["a", "b"], "variable SHOAL_SAMPLE_NAMES"),
        Setting("peers", [{"host": "a", "port": 1}], file),
        Setting("key_file", None, "default"),
    ]


def test_what_the_service_would_refuse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown setting SHOAL_SAMPLE_LIMITS .*did you mean"):
        explained(tmp_path, SHOAL_SAMPLE_LIMITS="9")


def shoal(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shoal_cli", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    needed = ["id", "cluster_id", "certificate_folder", "state_folder", "ready_file"]
    lines = [f'{name} = "g1"' for name in needed]
    (run / "g1.toml").write_text("\n".join([*lines, 'etcd_endpoints = ["127.0.0.1:1"]']))
    return tmp_path


def test_the_settings_of_a_process_are_shown(data: Path) -> None:
    result = shoal(
        "config", "explain", "g1", "--data", str(data), "-o", "json", SHOAL_GATEWAY_REQUESTS_MAX="9"
    )
    assert result.returncode == 0, result.stderr
    settings = {each["name"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert settings["id"] == {
        "process": "g1",
        "name": "id",
        "value": "g1",
        "source": str(data / "run" / "g1.toml"),
    }
    assert settings["requests_max"]["source"] == "variable SHOAL_GATEWAY_REQUESTS_MAX"
    assert settings["address"]["source"] == "default"
    table = shoal("config", "explain", "--data", str(data), COLUMNS="200").stdout
    assert "requests_max" in table
    assert "default" in table


def test_a_setting_that_nobody_knows_is_one_sentence(data: Path) -> None:
    with (data / "run" / "g1.toml").open("a") as file:
        file.write("\nlocal_read = true\n")
    result = shoal("config", "explain", "--data", str(data))
    assert result.returncode == 2
    assert result.stderr.startswith("shoal-gateway: unknown setting local_read")
    assert result.stderr.count("\n") == 1


def test_a_process_that_is_not_there_is_one_sentence(data: Path) -> None:
    for arguments in (("t9", "--data", str(data)), ("--data", str(data / "nowhere"))):
        result = shoal("config", "explain", *arguments)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_a_shell_completes_commands_and_options() -> None:
    words = {"COMP_WORDS": "shoal con", "COMP_CWORD": "1", "_SHOAL_COMPLETE": "complete_bash"}
    assert "config" in shoal(**words).stdout.split()
    words = {"COMP_WORDS": "shoal put --rec", "COMP_CWORD": "2", "_SHOAL_COMPLETE": "complete_bash"}
    assert "--recursive" in shoal(**words).stdout
