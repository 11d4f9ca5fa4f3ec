"""The cluster's authority and node certificates: what they say, who may read them, when they are renewed."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from shoal_core.certificates import ClusterAuthority, NodeIdentity, TlsFiles, identity_of, needs_renewal
from shoal_core.errors import ConfigurationError


@pytest.fixture
def authority(tmp_path: Path) -> ClusterAuthority:
    return ClusterAuthority.create(tmp_path / "ca", "c-1")


def test_loaded_authority_is_the_one_created(authority: ClusterAuthority, tmp_path: Path) -> None:
    loaded = ClusterAuthority.load(tmp_path / "ca")
    assert loaded.cluster_id == "c-1"
    assert loaded.certificate == authority.certificate


def test_authority_is_never_replaced(authority: ClusterAuthority, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="load it instead"):
        ClusterAuthority.create(tmp_path / "ca", "c-2")


def test_keys_are_for_their_owner_only(authority: ClusterAuthority, tmp_path: Path) -> None:
    authority.issue(tmp_path / "t1", "target", "t1")
    for key in (tmp_path / "ca" / "ca.key", tmp_path / "t1" / "node.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "t1").stat().st_mode) == 0o700


def test_node_certificate_names_its_node_and_hosts(authority: ClusterAuthority, tmp_path: Path) -> None:
    files = authority.issue(tmp_path / "t1", "target", "t1", hosts=["store.example", "10.0.0.7"])
    assert files.certificate is not None
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["shoal://c-1/target/t1"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "store.example"]
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "::1", "10.0.0.7"]


def test_issuing_again_replaces_the_certificate(authority: ClusterAuthority, tmp_path: Path) -> None:
    first = authority.issue(tmp_path / "t1", "target", "t1")
    assert first.certificate is not None
    before = first.certificate.read_bytes()
    authority.issue(tmp_path / "t1", "target", "t1")
    assert first.certificate.read_bytes() != before
    assert not needs_renewal(tmp_path / "t1")


def test_renewal_is_due_thirty_days_before_the_end(authority: ClusterAuthority, tmp_path: Path) -> None:
    authority.issue(tmp_path / "t1", "target", "t1")
    now = datetime.now(UTC)
    assert not needs_renewal(tmp_path / "t1", now=now + timedelta(days=699))
    assert needs_renewal(tmp_path / "t1", now=now + timedelta(days=701))


def test_renewal_is_due_when_files_are_missing_or_broken(authority: ClusterAuthority, tmp_path: Path) -> None:
    assert needs_renewal(tmp_path / "t1")
    authority.issue(tmp_path / "t1", "target", "t1")
    (tmp_path / "t1" / "node.pem").write_text("nonsense")
    assert needs_renewal(tmp_path / "t1")


def test_renewal_is_due_when_another_authority_signed(authority: ClusterAuthority, tmp_path: Path) -> None:
    authority.issue(tmp_path / "t1", "target", "t1")
    other = ClusterAuthority.create(tmp_path / "other", "c-2").issue(tmp_path / "x", "target", "t1")
    (tmp_path / "t1" / "ca.pem").write_bytes(other.ca.read_bytes())
    assert needs_renewal(tmp_path / "t1")


@pytest.mark.parametrize(("role", "member_id"), [("king", "t1"), ("target", "T1"), ("target", "a/b")])
def test_impossible_node_is_refused(
    authority: ClusterAuthority, tmp_path: Path, role: str, member_id: str
) -> None:
    with pytest.raises(ConfigurationError):
        authority.issue(tmp_path / "t1", role, member_id)


def test_key_of_another_authority_is_refused(authority: ClusterAuthority, tmp_path: Path) -> None:
    ClusterAuthority.create(tmp_path / "other", "c-2")
    (tmp_path / "ca" / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(ConfigurationError, match="is not the key of"):
        ClusterAuthority.load(tmp_path / "ca")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        ClusterAuthority.load(tmp_path)
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        TlsFiles.node(tmp_path).channel_credentials()


@pytest.mark.parametrize(
    "names",
    [
        [],
        [b"https://example.org/target/t1"],
        [b"shoal://c-1/king/t1"],
        [b"shoal://c-1/target/t1/x"],
        [b"shoal://c-1/target/t1\n"],
        [b"shoal://c-1/target/t1", b"shoal://c-1/proxy/p1"],
        [b"\xff"],
    ],
)
def test_certificate_without_one_node_name_is_nobody(names: list[bytes]) -> None:
    assert identity_of({"peer_uri": names}) is None


def test_certificate_with_a_node_name_is_that_node() -> None:
    expected = NodeIdentity("c-1", "target", "t1")
    assert identity_of({"peer_uri": [b"shoal://c-1/target/t1"]}) == expected
    assert NodeIdentity.parse(expected.uri) == expected
