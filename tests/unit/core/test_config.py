"""Settings: every type, both sources, and one clear sentence for every mistake."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from shoal_core.config import Secret, load_configuration
from shoal_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Disk:
    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class Settings:
    id: str
    workers: int = 2
    weight: float = 0.0
    local_reads: bool = True
    folder: Path = Path("/var/lib/shoal")
    hosts: tuple[str, ...] = ()
    mountpaths: tuple[Disk, ...] = ()
    log: Disk | None = None
    token: Secret | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigurationError("workers must be at least 1")


def load(tmp_path: Path, text: str, **environment: str) -> Settings:
    path = tmp_path / "service.toml"
    path.write_text(text)
    return load_configuration(Settings, path=path, environment=environment, prefix="SHOAL_TEST")


def test_values_of_every_type_come_from_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        id = "t1"
        workers = 3
        weight = 2
        local_reads = false
        folder = "data"
        hosts = ["a", "b"]
        token = "hunter2"
        [[mountpaths]]
        id = "mp1"
        path = "/disk1"
        """,
    )
    assert (settings.id, settings.workers, settings.weight, settings.local_reads) == ("t1", 3, 2.0, False)
    assert settings.folder == tmp_path / "data"
    assert settings.hosts == ("a", "b")
    assert settings.mountpaths == (Disk("mp1", Path("/disk1")),)
    assert settings.token == Secret("hunter2")


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        'id = "t1"\nworkers = 3',
        SHOAL_TEST_WORKERS="5",
        SHOAL_TEST_LOCAL_READS="no",
        SHOAL_TEST_HOSTS="a, b",
        SHOAL_TEST_WEIGHT="1.5",
        SHOAL_OTHER="ignored",
    )
    assert (settings.workers, settings.local_reads, settings.weight) == (5, False, 1.5)
    assert settings.hosts == ("a", "b")


def test_defaults_need_no_file() -> None:
    settings = load_configuration(
        Settings, path=None, environment={"SHOAL_TEST_ID": "t1"}, prefix="SHOAL_TEST"
    )
    assert settings == Settings(id="t1")


@pytest.mark.parametrize(
    ("text", "environment", "sentence"),
    [
        ('id = "t1"\nworker = 3', {}, r"unknown setting worker in .*service.toml; did you mean workers\?"),
        ('id = "t1"', {"SHOAL_TEST_WORKRS": "1"}, r"SHOAL_TEST_WORKRS .*did you mean SHOAL_TEST_WORKERS\?"),
        ("", {}, r"setting id is missing in .*service.toml"),
        ("id = 1", {}, r"id in .*service.toml must be a string, not 1"),
        ('id = "t1"\nworkers = true', {}, r"workers .*must be a whole number, not True"),
        ('id = "t1"\nworkers = 1.5', {}, r"must be a whole number"),
        ('id = "t1"\nhosts = "a"', {}, r"hosts .*must be a list"),
        ('id = "t1"\nhosts = [1]', {}, r"item 1 of hosts .*must be a string"),
        ('id = "t1"\n[[mountpaths]]\nid = "a"', {}, r"setting path is missing in item 1 of mountpaths"),
        ('id = "t1"\n[[mountpaths]]\nidd = "a"', {}, r"unknown setting idd in item 1 of mountpaths"),
        ('id = "t1"\nmountpaths = [3]', {}, r"item 1 of mountpaths .*must be a table"),
        ('id = "t1"', {"SHOAL_TEST_WORKERS": "many"}, r"must be a whole number, not 'many'"),
        ('id = "t1"', {"SHOAL_TEST_LOCAL_READS": "perhaps"}, r"must be true or false"),
        ('id = "t1"', {"SHOAL_TEST_MOUNTPATHS": "a"}, r"set them in the configuration file"),
        ('id = "t1"', {"SHOAL_TEST_WORKERS": "0"}, r"workers must be at least 1"),
        ("id = ", {}, r"is not valid TOML"),
    ],
)
def test_mistake_is_refused_with_a_sentence(
    tmp_path: Path, text: str, environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load(tmp_path, text, **environment)


def test_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read configuration .*gone.toml"):
        load_configuration(Settings, path=tmp_path / "gone.toml", environment={}, prefix="X")


def test_secret_never_shows_itself(tmp_path: Path) -> None:
    settings = load(tmp_path, 'id = "t1"\ntoken = "hunter2"')
    assert "hunter2" not in f"{settings} {settings!r} {settings.token} {settings.token!r}"
    assert settings.token is not None
    assert settings.token.reveal() == "hunter2"
    with pytest.raises(TypeError):
        pickle.dumps(settings.token)
