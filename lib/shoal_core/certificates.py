"""The cluster's own certificate authority, and the certificates by which nodes know each other.

A node's certificate names cluster, role and member in a URI of its SAN, `shoal://<cluster>/<role>/<member>`.
Only nodes have certificates: users get the authority's public part and check whom they talk to.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shoal_core.errors import ConfigurationError

AUTHORITY_CERTIFICATE = "ca.pem"
AUTHORITY_KEY = "ca.key"
NODE_CERTIFICATE = "node.pem"
NODE_KEY = "node.key"
AUTHORITY_VALIDITY = timedelta(days=3652)
NODE_VALIDITY = timedelta(days=730)
RENEWAL_MARGIN = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)
ROLES = ("proxy", "target", "gateway", "etcd", "supervisor")

_CLUSTER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MEMBER_ID = re.compile(r"[a-z0-9-]{1,32}")
_IDENTITY = re.compile(rf"shoal://({_CLUSTER_ID.pattern})/({'|'.join(ROLES)})/({_MEMBER_ID.pattern})")
_AUTHORITY_IDENTITY = re.compile(rf"shoal://({_CLUSTER_ID.pattern})")


@dataclass(frozen=True, slots=True)
class ClusterAuthority:
    """Signs the certificates of one cluster. The key stays in the folder that the supervisor owns."""

    cluster_id: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @staticmethod
    def create(folder: Path, cluster_id: str) -> ClusterAuthority:
        """Make `ca.pem` and `ca.key` in `folder`. Never replaces a key: all certificates would be void."""
        require(_CLUSTER_ID, cluster_id, "cluster id")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / AUTHORITY_KEY).exists():
            raise ConfigurationError(f"{folder} holds a certificate authority already; load it instead")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = signed_authority(cluster_id, key)
        write_file(folder / AUTHORITY_CERTIFICATE, pem(certificate), mode=0o644)
        write_file(folder / AUTHORITY_KEY, key_pem(key), mode=0o600)
        return ClusterAuthority(cluster_id, certificate, key)

    @staticmethod
    def load(folder: Path) -> ClusterAuthority:
        certificate = read_certificate(folder / AUTHORITY_CERTIFICATE)
        key_file = folder / AUTHORITY_KEY
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(f"cannot read the key of the certificate authority: {error}") from error
        identities = [_AUTHORITY_IDENTITY.fullmatch(uri) for uri in uris(certificate)]
        if len(identities) != 1 or identities[0] is None or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"{folder} does not hold the certificate authority of a Shoal cluster")
        if key.public_key() != certificate.public_key():
            raise ConfigurationError(f"{key_file} is not the key of {folder / AUTHORITY_CERTIFICATE}")
        return ClusterAuthority(identities[0].group(1), certificate, key)

    def issue(self, folder: Path, role: str, member_id: str, *, hosts: Sequence[str] = ()) -> TlsFiles:
        """Write `ca.pem`, `node.pem` and `node.key` for one node, valid on loopback and for `hosts`."""
        if role not in ROLES:
            raise ConfigurationError(f"there is no role {role!r}; roles are {', '.join(ROLES)}")
        require(_MEMBER_ID, member_id, "member id")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        identity = NodeIdentity(self.cluster_id, role, member_id)
        certificate = signed_node(self, identity, key, hosts=hosts)
        write_file(folder / AUTHORITY_CERTIFICATE, pem(self.certificate), mode=0o644)
        write_file(folder / NODE_KEY, key_pem(key), mode=0o600)
        write_file(folder / NODE_CERTIFICATE, pem(certificate), mode=0o644)
        return TlsFiles.node(folder)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side of a connection. A user has only `ca`, and checks the server by it."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    @staticmethod
    def node(folder: Path) -> TlsFiles:
        return TlsFiles(folder / AUTHORITY_CERTIFICATE, folder / NODE_CERTIFICATE, folder / NODE_KEY)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        if self.certificate is None or self.key is None:
            return grpc.ssl_channel_credentials(read_file(self.ca))
        return grpc.ssl_channel_credentials(
            read_file(self.ca), read_file(self.key), read_file(self.certificate)
        )

    def server_credentials(self, *, demand_node_certificate: bool) -> grpc.ServerCredentials:
        if self.certificate is None or self.key is None:
            raise ConfigurationError("a server needs a certificate and a key, not only the authority's")
        pair = (read_file(self.key), read_file(self.certificate))
        authority = read_file(self.ca) if demand_node_certificate else None
        return grpc.ssl_server_credentials(
            [pair], root_certificates=authority, require_client_auth=demand_node_certificate
        )


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What a node's certificate says."""

    cluster_id: str
    role: str
    member_id: str

    @property
    def uri(self) -> str:
        return f"shoal://{self.cluster_id}/{self.role}/{self.member_id}"

    @staticmethod
    def parse(uri: str) -> NodeIdentity | None:
        match = _IDENTITY.fullmatch(uri)
        return NodeIdentity(*match.groups()) if match else None


def identity_of(auth_context: Mapping[str, Iterable[bytes]]) -> NodeIdentity | None:
    """The node at the other end of a mutual-TLS connection; None without a verified certificate of a node."""
    names = list(auth_context.get("peer_uri", ()))
    if len(names) != 1:
        return None
    return NodeIdentity.parse(names[0].decode(errors="replace"))


def needs_renewal(folder: Path, *, now: datetime | None = None) -> bool:
    """Whether the node certificate in `folder` is missing, not signed by the `ca.pem` there, or soon over."""
    try:
        certificate = read_certificate(folder / NODE_CERTIFICATE)
        certificate.verify_directly_issued_by(read_certificate(folder / AUTHORITY_CERTIFICATE))
        read_file(folder / NODE_KEY)
    except Exception:
        # Whatever is wrong with a file that we can write anew, the remedy is to write it anew.
        return True
    return certificate.not_valid_after_utc - (now or datetime.now(UTC)) < RENEWAL_MARGIN


def signed_authority(cluster_id: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Shoal cluster authority")])
    identity = x509.UniformResourceIdentifier(f"shoal://{cluster_id}")
    return (
        certificate_builder(name, key, AUTHORITY_VALIDITY)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([identity]), critical=False)
        .sign(key, hashes.SHA256())
    )


def signed_node(
    authority: ClusterAuthority,
    identity: NodeIdentity,
    key: ec.EllipticCurvePrivateKey,
    *,
    hosts: Sequence[str],
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{identity.role} {identity.member_id}")])
    every_host = dict.fromkeys(("localhost", "127.0.0.1", "::1", *hosts))
    names = [x509.UniformResourceIdentifier(identity.uri), *map(host_name, every_host)]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        certificate_builder(name, key, NODE_VALIDITY)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def certificate_builder(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, validity: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        require(re.compile(r"[A-Za-z0-9.-]{1,253}"), host, "host name")
        return x509.DNSName(host)


def uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


def require(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise ConfigurationError(f"{value!r} cannot be a {what}; it must match {pattern.pattern}")


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(read_file(path))
    except ValueError as error:
        raise ConfigurationError(f"{path} is not a PEM certificate: {error}") from error


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read TLS file {path}: {error.strerror}") from error


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Replace atomically; the file never exists with a wider mode than `mode`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
