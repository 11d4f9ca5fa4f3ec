"""The systems that are compared: how each is started on a folder, and what it is asked by."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import which

from shoal_bench.load import BenchFailed
from shoal_bench.presign import Signer
from shoal_bench.processes import cpu_of_modules, cpu_seconds

START_SECONDS_MAX = 60.0
COMMANDS = Path(sys.executable).parent


@dataclass(frozen=True)
class Running:
    """A system that answers. `pid` is the root of all its processes."""

    name: str
    signer: Signer
    pid: int
    folder: Path = Path()
    environment: Mapping[str, str] = field(default_factory=dict)
    """What `shoal env` exports; empty for the others."""
    set_properties: Callable[[str, Mapping[str, str]], None] | None = None
    """Gives a bucket properties of ours; None where there are none."""

    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    def sides(self) -> dict[str, float]:
        """CPU of what serves and of what stores, where they are processes of their own."""
        modules = {"shoal_gateway": "gateways", "shoal_target": "target"} if self.environment else {}
        return {modules[name]: spent for name, spent in cpu_of_modules(self.pid, modules).items()}


@contextmanager
def shoal(folder: Path, *, local_reads: bool = True) -> Iterator[Running]:
    """As `shoal up` starts it on one disk: one target of one mountpath, a gateway a core, etcd."""
    command = [str(COMMANDS / "shoal"), "up", "--data", str(folder), "--port", "0", "--grpc-port", "0"]
    command += ["--mountpath", str(folder / "disk")]
    command += [] if local_reads else ["--no-local-reads"]
    with started(command, folder.parent / "shoal.log") as process:
        environment = dict[str, str]()
        wait_until(lambda: environment.update(shoal_environment(folder)) or bool(environment), "Shoal serves")
        signer = Signer(
            environment["AWS_ENDPOINT_URL"],
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment["AWS_REGION"],
        )
        name = "shoal" if local_reads else "shoal, remote owner"
        yield Running(
            name,
            signer,
            process.pid,
            folder=folder,
            environment=environment,
            set_properties=partial(set_properties, signer.endpoint),
        )


def set_properties(endpoint: str, bucket: str, properties: Mapping[str, str]) -> None:
    message = {"action": "set-bprops", "value": {"shoal": dict(properties)}}
    url, body = f"{endpoint}/v1/buckets/{bucket}", json.dumps(message).encode()
    urllib.request.urlopen(urllib.request.Request(url, data=body, method="PATCH")).close()


def shoal_environment(folder: Path) -> dict[str, str]:
    """What `shoal env` exports; empty while the cluster is not ready."""
    status = [str(COMMANDS / "shoal"), "status", "--data", str(folder)]
    if subprocess.run(status, capture_output=True, check=False).returncode:
        return {}
    script = f'eval "$({COMMANDS}/shoal env --data "$1")" && env -0'
    command = ["bash", "-c", script, "bench", str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in output.split("\0") if "=" in line)


@contextmanager
def this_process() -> Iterator[Running]:
    """For rows that need no server."""
    yield Running("engine", Signer(""), os.getpid())


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Running]:
    """All its parts in one process, as its `server` command starts them. It does not sync what it acknowledges."""
    folder.mkdir(parents=True, exist_ok=True)
    credentials = [{"accessKey": "K" * 20, "secretKey": "S" * 40}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "admin", "credentials": credentials, "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = iter(free_ports(9))
    s3 = next(ports)
    command = [
        str(COMMANDS / "weed"), "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={next(ports)}", f"-master.port.grpc={next(ports)}", f"-volume.port={next(ports)}",
        f"-volume.port.grpc={next(ports)}", "-filer", f"-filer.port={next(ports)}", f"-filer.port.grpc={next(ports)}",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={next(ports)}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-s3.config={folder}/s3.json", "-volume.max=500", "-master.volumeSizeLimitMB=1024", "-volume.preStopSeconds=1",
    ]  # fmt: skip
    with started(command, folder.parent / "seaweedfs.log") as process:
        signer = Signer(f"http://127.0.0.1:{s3}", "K" * 20, "S" * 40, "us-east-1")
        wait_until(lambda: answers(signer.endpoint), "SeaweedFS serves")
        # Its volumes come a little later than its port.
        time.sleep(8)
        yield Running("seaweedfs", signer, process.pid)


@contextmanager
def rclone(folder: Path) -> Iterator[Running]:
    """`rclone serve s3` over a folder. It does not sync, and walks the whole bucket for every page of a list."""
    (folder / "root").mkdir(parents=True)
    port = free_ports(1)[0]
    command = [
        str(COMMANDS / "rclone"), "serve", "s3", f"--addr=127.0.0.1:{port}", f"--auth-key={'K' * 20},{'S' * 40}",
        "--config=/dev/null", f":local:{folder}/root",
    ]  # fmt: skip
    with started(command, folder.parent / "rclone.log") as process:
        signer = Signer(f"http://127.0.0.1:{port}", "K" * 20, "S" * 40, "us-east-1")
        wait_until(lambda: answers(signer.endpoint), "rclone serves")
        yield Running("rclone", signer, process.pid)


CONFIGURATION = """
daemon off; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream;
  client_body_temp_path {folder}/temporary; proxy_temp_path {folder}/temporary; fastcgi_temp_path {folder}/temporary;
  uwsgi_temp_path {folder}/temporary; scgi_temp_path {folder}/temporary;
  server {{ listen 127.0.0.1:{port}; root {folder}/root; }} }}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[Running]:
    """Static files: what a file server can do at most. No signature, no checksum, no list."""
    (folder / "root").mkdir(parents=True, exist_ok=True)
    port = free_ports(1)[0]
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=port))
    command = [which("nginx") or "/usr/sbin/nginx", "-c", str(folder / "nginx.conf")]
    # Its workers run as another user, who must reach the files.
    for path in (folder, *folder.parents[:1]):
        path.chmod(0o755)
    with started(command, folder.parent / "nginx.log") as process:
        signer = Signer(f"http://127.0.0.1:{port}")
        wait_until(lambda: answers(signer.endpoint), "nginx serves")
        yield Running("nginx", signer, process.pid)


def missing_commands() -> list[str]:
    places = {"wrk": which("wrk"), "nginx": which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")}
    places |= {name: which(name, path=str(COMMANDS)) for name in ("weed", "rclone")}
    return [name for name, place in places.items() if place is None]


@contextmanager
def started(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise BenchFailed(f"not within {START_SECONDS_MAX:g} s: {what}")
        time.sleep(0.2)


def answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=2)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """That nothing listens on now; distinct, because all are held until the last is found."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports
