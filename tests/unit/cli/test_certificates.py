"""`shoal certificates`: made once, made again where needed, refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from shoal_cli.app import build_app
from shoal_core.certificates import ClusterAuthority, TlsFiles, read_certificate
from shoal_core.s3_keys import read_key

MEMBERS = ("etcd:etcd-1", "target:t1", "gateway:g1=door,10.0.0.7")


def run(folder: Path, *members: str, cluster: str = "c1") -> tuple[int, str]:
    place = ["--folder", str(folder / "files"), "--authority", str(folder / "authority")]
    result = CliRunner().invoke(build_app(), ["certificates", *place, "--cluster-id", cluster, *members])
    return result.exit_code, result.output


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hosts(folder: Path, name: str) -> list[str]:
    certificate = read_certificate(folder / "files" / name / "node.pem")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName) + [
        str(address) for address in names.get_values_for_type(x509.IPAddress)
    ]


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, *MEMBERS) == (0, "made authority, etcd-1, t1, g1, S3 key\n")
    before = content(tmp_path)
    assert run(tmp_path, *MEMBERS) == (0, "nothing to do\n")
    assert content(tmp_path) == before


def test_certificates_are_valid_for_the_members_own_name_and_more(tmp_path: Path) -> None:
    run(tmp_path, *MEMBERS)
    assert hosts(tmp_path, "etcd-1") == ["localhost", "etcd-1", "127.0.0.1", "::1"]
    assert {"g1", "door", "10.0.0.7"} <= set(hosts(tmp_path, "g1"))


def test_a_new_host_name_makes_that_certificate_anew(tmp_path: Path) -> None:
    run(tmp_path, *MEMBERS)
    assert run(tmp_path, "etcd:etcd-1", "target:t1=shelf") == (0, "made t1\n")
    assert "shelf" in hosts(tmp_path, "t1")


def test_a_member_of_another_role_gets_a_certificate_of_its_own(tmp_path: Path) -> None:
    run(tmp_path, *MEMBERS)
    assert run(tmp_path, "proxy:t1") == (0, "made t1\n")


def test_a_new_authority_makes_all_certificates_anew(tmp_path: Path) -> None:
    run(tmp_path, *MEMBERS)
    (tmp_path / "authority" / "ca.key").unlink()
    assert run(tmp_path, *MEMBERS) == (0, "made authority, etcd-1, t1, g1\n")
    TlsFiles.node(tmp_path / "files" / "t1").server_credentials(demand_node_certificate=True)


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    run(tmp_path, *MEMBERS)
    secret = [tmp_path / "authority/ca.key", tmp_path / "files/s3-administrator.json"]
    for path in (*secret, *(tmp_path / "files").glob("*/node.key")):
        assert path.stat().st_mode & 0o077 == 0
    assert len(read_key(tmp_path / "files/s3-administrator.json").secret_access_key) == 40


@pytest.mark.parametrize("member", ["t1", "king:t1", "target:", "target:T_1"])
def test_a_wrong_member_is_one_sentence(tmp_path: Path, member: str) -> None:
    code, output = run(tmp_path, member)
    assert code == 2
    assert len(output.splitlines()) == 1


def test_an_authority_of_another_cluster_is_refused(tmp_path: Path) -> None:
    ClusterAuthority.create(tmp_path / "authority", "other")
    code, output = run(tmp_path, *MEMBERS)
    assert (code, len(output.splitlines())) == (2, 1)
    assert "belongs to cluster other" in output
