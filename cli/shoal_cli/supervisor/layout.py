"""`shoal.json`: what a data folder was laid out for, written at the first start and kept."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.ports import PortChooser, trouble_with
from shoal_core.errors import ConfigurationError

FORMAT = 1
DEFAULT_PORTS = {"gateway": 51080, "proxy": 51081}
SOCKET_PATH_BYTES_MAX = 100
MEMBERS_MAX = 32
"""Targets, and gateways, on one host."""
DEFAULT_MOUNTPATHS = 2
"""In the data folder; a second one holds the copy of the first one's index."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What stays the same from start to start."""

    format: int
    cluster_id: str
    targets: int
    ports: dict[str, int]
    """Port by listener, `gateway`, `proxy`, `t1-public` ...: the same ones again keep cached maps true."""
    socket_folder: str
    """Where the targets' Unix sockets are."""
    disks: tuple[str, ...] = ()
    """Absolute folders, one a disk, with a mountpath of each target in it; none means the data folder."""

    def target_names(self) -> list[str]:
        return [f"t{number}" for number in range(1, self.targets + 1)]

    def mountpaths_of(self, folder: DataFolder, target: str) -> dict[str, Path]:
        """Path by identifier, `mp1` ..., of one target."""
        if self.disks:
            return {f"mp{number}": Path(disk) / target for number, disk in enumerate(self.disks, 1)}
        names = [f"mp{number}" for number in range(1, DEFAULT_MOUNTPATHS + 1)]
        return {name: folder.mountpath(target, name) for name in names}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for; None means as before, or the default."""

    targets: int | None = None
    gateway_port: int | None = None
    proxy_port: int | None = None
    disks: tuple[str, ...] = ()


def settle_layout(folder: DataFolder, wishes: Wishes) -> Layout:
    """The layout to start with, checked and written. Raises ConfigurationError; call with the lock held."""
    if len(set(wishes.disks)) < len(wishes.disks):
        raise ConfigurationError("the same --mountpath was given twice; give each disk once")
    recorded = read_layout(folder)
    layout = recorded or Layout(FORMAT, str(uuid.uuid4()), wishes.targets or 1, {}, "", wishes.disks)
    if wishes.disks and wishes.disks != layout.disks:
        raise ConfigurationError(
            f"{folder.root} was made with its mountpaths in {', '.join(layout.disks) or 'the data folder'}; adding "
            "or moving disks is not built yet; leave --mountpath out, or use another --data"
        )
    if wishes.targets is not None and wishes.targets != layout.targets:
        raise ConfigurationError(
            f"{folder.root} was made with --targets {layout.targets} and cannot become {wishes.targets}: moving "
            "objects to other targets (rebalance) is not built yet; leave --targets out, or use another --data"
        )
    settled = replace(
        layout,
        ports=settle_ports(layout, wishes),
        socket_folder=str(settle_socket_folder(folder, layout)),
    )
    if settled != recorded:
        write_atomically(folder.layout_file, json.dumps(asdict(settled), indent=2) + "\n")
    return settled


def read_layout(folder: DataFolder) -> Layout | None:
    """None when there is none yet."""
    path = folder.layout_file
    try:
        text = path.read_bytes()
        found = msgspec.json.decode(text, type=dict[str, object]).get("format")
        if found == FORMAT:
            return msgspec.json.decode(text, type=Layout)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}); restore it, or choose another folder with --data"
        ) from error
    raise ConfigurationError(
        f"{folder.root} is of format {found!r} and this version of Shoal knows {FORMAT} only; start it with the "
        "version that made it, or choose another folder with --data"
    )


def settle_ports(layout: Layout, wishes: Wishes) -> dict[str, int]:
    """A free port for every listener. Ports that a user typed or copied are kept or refused, others may move."""
    wished = {"gateway": wishes.gateway_port, "proxy": wishes.proxy_port}
    chooser = PortChooser()
    ports: dict[str, int] = {}
    for name, default in DEFAULT_PORTS.items():
        wish = wished[name]
        port = layout.ports.get(name, default) if wish is None else wish
        if port == 0:
            recorded = layout.ports.get(name, 0)
            ports[name] = chooser.choose(preferred=recorded)
            continue
        option = "--port" if name == "gateway" else "--grpc-port"
        require_free(port, option)
        ports[name] = port
    if ports["gateway"] == ports["proxy"]:
        raise ConfigurationError(
            f"--port and --grpc-port are both {ports['proxy']}; give each a port of its own"
        )
    inner = ["etcd-client", "etcd-peer", "proxy-internal"]
    inner += [f"{target}-{face}" for target in layout.target_names() for face in ("public", "internal")]
    chooser.taken.update(ports.values())
    for name in inner:
        ports[name] = chooser.choose(preferred=layout.ports.get(name, 0))
    return ports


def require_free(port: int, option: str) -> None:
    trouble = trouble_with(port)
    if trouble is None:
        return
    if trouble.errno != errno.EADDRINUSE:
        raise ConfigurationError(
            f"cannot listen on port {port} of 127.0.0.1: {trouble.strerror}; choose another port with {option}"
        )
    raise ConfigurationError(
        f"port {port} on 127.0.0.1 is taken by another program; stop it (`ss -ltnp 'sport = :{port}'` "
        f"names it) or choose another port with {option} (0 finds a free one)"
    )


def settle_socket_folder(folder: DataFolder, layout: Layout) -> Path:
    """`<data>/run` when the sockets' paths are short enough for the kernel there, else a private folder elsewhere."""
    longest = folder.run / f"{max(layout.target_names(), key=len)}.sock"
    if len(os.fsencode(longest)) <= SOCKET_PATH_BYTES_MAX:
        return folder.run
    remembered = Path(layout.socket_folder)
    if layout.socket_folder and is_private(remembered):
        return remembered
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    parent = runtime if runtime and len(runtime) < 60 and os.access(runtime, os.W_OK) else "/tmp"
    return Path(tempfile.mkdtemp(prefix="shoal-", dir=parent))


def is_private(path: Path) -> bool:
    """A folder in a shared place may have been made by somebody else since."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.getuid()
        and stat.S_IMODE(status.st_mode) & 0o077 == 0
    )


def write_atomically(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
