"""docker-compose.yml, Dockerfile and the settings beside them: what they name exists, and nothing is left open."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from shoal_core.etcd.connection import channel_target
from shoal_gateway.config import GatewayConfiguration
from shoal_proxy.config import ProxyConfiguration
from shoal_target.config import TargetConfiguration
from support.compose import COMPOSE_FILE, ROOT, ComposeFile, scripts

FILE = ComposeFile.load()
OURS = [name for name, service in FILE.services.items() if "shoal" in service["image"]]
NODES = ("1", "2", "3")
KINDS = {"proxy": ProxyConfiguration, "target": TargetConfiguration, "gateway": GatewayConfiguration}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PATH = re.compile(r"(?<![\w:/.])/[a-z][\w./-]*")


def variables(name: str) -> dict[str, str]:
    found: dict[str, str] = FILE.services[name].get("environment", {})
    return found


def settings(kind: str) -> str:
    return (ROOT / "deploy" / "compose" / f"{kind}.toml").read_text()


def words(name: str) -> list[str]:
    """Everything in a service that may be a path or an address."""
    kind = name.rpartition("-")[0]
    check: list[str] = FILE.services[name].get("healthcheck", {}).get("test", [])
    own = settings(kind).splitlines() if kind in KINDS else []
    return [*FILE.command(name), *variables(name).values(), *check, *own]


@pytest.mark.parametrize("kind", KINDS)
def test_etcd_is_found_by_one_name_that_all_members_have(kind: str) -> None:
    # Three names were refused by the client, which plain processes with addresses did not show.
    (endpoint,) = tomllib.loads(settings(kind))["etcd_endpoints"]
    assert channel_target([endpoint]) == f"dns:///{endpoint}"
    name = endpoint.partition(":")[0]
    members = [service for service in FILE.services if service.startswith("etcd-")]
    assert FILE.sharing(name) == members
    assert {f"etcd:{member}={name}" for member in members} <= set(FILE.command("certificates"))


@pytest.mark.parametrize("name", OURS)
def test_commands_are_in_the_image(name: str) -> None:
    check = FILE.services[name].get("healthcheck", {}).get("test", [])
    for program in (FILE.command(name)[0], *check[1:2]):
        assert program in scripts() or program == "sleep"


@pytest.mark.parametrize("name", FILE.services)
def test_variables_are_settings_of_the_process(name: str) -> None:
    kind = name.rpartition("-")[0]
    known = {"SHOAL_GRPC", "SHOAL_CA"}
    if kind in KINDS:
        prefix = f"SHOAL_{kind}_".upper()
        known = {prefix + field.name.upper() for field in dataclasses.fields(KINDS[kind])}
    ours = {variable for variable in variables(name) if variable.startswith("SHOAL")}
    assert ours <= known


@pytest.mark.parametrize("name", OURS)
def test_every_path_is_in_a_volume_or_a_folder_of_the_container(name: str) -> None:
    places = [*FILE.mounts(name), *(each.partition(":")[0] for each in FILE.services[name]["tmpfs"])]
    for path in (match for word in words(name) for match in PATH.findall(word.partition("=")[2] or word)):
        assert any(path.startswith(place) for place in places), path


@pytest.mark.parametrize("name", OURS)
def test_volumes_are_mounted_at_folders_that_the_image_made_for_its_user(name: str) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    made = DOCKERFILE[DOCKERFILE.index("install --directory") :]
    for place, source in FILE.mounts(name).items():
        assert (source in FILE.volumes and place in made) or (ROOT / source).is_dir()
    assert f"/run/shoal:uid={user[1]},gid={user[2]},mode=0700" in FILE.services[name]["tmpfs"]


def test_settings_files_are_those_that_commands_name() -> None:
    named = {
        Path(word).name for name in OURS for word in FILE.command(name) if word.startswith("/etc/shoal/")
    }
    assert named == {path.name for path in (ROOT / "deploy" / "compose").iterdir()}


def test_ports_are_published_on_loopback_only_and_somebody_listens_there() -> None:
    for name in FILE.services:
        for port in FILE.services[name].get("ports", ()):
            address, _, inside = port.split(":")
            listening = [word for other in FILE.services if FILE.host(other) == name for word in words(other)]
            assert address == "127.0.0.1"
            assert any(f"{name}:{inside}" in word for word in listening)


def test_what_runs_for_long_has_a_health_check() -> None:
    for name, service in FILE.services.items():
        if service.get("restart") == "unless-stopped" and FILE.command(name)[0] != "sleep":
            assert service["healthcheck"]["test"][0] == "CMD", name


@pytest.mark.parametrize("number", NODES)
def test_a_gateway_shares_processes_and_files_with_its_target(number: str) -> None:
    target, gateway = FILE.services[f"target-{number}"], FILE.services[f"gateway-{number}"]
    assert target["pid"] == gateway["pid"] == f"service:node-{number}"
    assert target["volumes"] == gateway["volumes"]
    assert FILE.host(f"gateway-{number}") == "door"


def test_every_member_gets_its_certificate_for_the_cluster_of_the_settings() -> None:
    command = FILE.command("certificates")
    wishes = [re.fullmatch(r"[a-z]+:([a-z]+-\d)(=.*)?", word) for word in command]
    members = {wish[1] for wish in wishes if wish}
    folders = {
        match for name in FILE.services for match in re.findall(r"certificates/([a-z]+-\d)", str(words(name)))
    }
    assert members == folders
    clusters = {tomllib.loads(settings(kind))["cluster_id"] for kind in KINDS}
    assert {f"--cluster-id={cluster}" for cluster in clusters} <= set(command)


def test_whoever_listens_beyond_loopback_says_that_it_is_insecure() -> None:
    for name in OURS:
        if name.rpartition("-")[0] in KINDS:
            assert FILE.command(name)[-1] == "--insecure-anonymous"


def test_the_image_gets_all_packages_and_nothing_else_of_the_folder() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE))
    names = {name for words in copied for name in words.split()}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert {package.partition("/")[0] for package in packages} <= names
    assert names == allowed
    assert all((ROOT / name).exists() for name in names)


def test_variables_that_a_user_may_set_are_documented() -> None:
    text = (ROOT / "docs" / "compose.md").read_text()
    assert {name for name in FILE.variables if f"`{name}`" not in text} == set()


def test_docker_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    command = [docker, "compose", "--file", str(COMPOSE_FILE), "config", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
