"""What is settled at the first start, kept at the next ones, and refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import (
    FORMAT,
    SOCKET_PATH_BYTES_MAX,
    Layout,
    Wishes,
    is_private,
    read_layout,
    settle_layout,
    settle_socket_folder,
)
from shoal_core.errors import ConfigurationError

ANY_PORTS = Wishes(gateway_port=0, proxy_port=0)
NOBODY = 65_534


def unprivileged_from() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_the_first_start_settles_one_target_and_a_port_for_every_listener(folder: DataFolder) -> None:
    layout = settle_layout(folder, ANY_PORTS)
    assert (layout.format, layout.target_names()) == (FORMAT, ["t1"])
    listeners = {"gateway", "proxy", "etcd-client", "etcd-peer", "proxy-internal", "t1-public", "t1-internal"}
    assert set(layout.ports) == listeners
    assert len(set(layout.ports.values())) == len(listeners)


def test_the_next_start_settles_the_same(folder: DataFolder) -> None:
    first = settle_layout(folder, Wishes(3, 0, 0))
    assert settle_layout(folder, Wishes()) == first
    assert settle_layout(folder, Wishes(3, 0, 0)) == first
    assert read_layout(folder) == first


def test_another_number_of_targets_is_refused(folder: DataFolder) -> None:
    settle_layout(folder, ANY_PORTS)
    with pytest.raises(ConfigurationError, match="made with --targets 1 and cannot become 3"):
        settle_layout(folder, Wishes(3, 0, 0))


def test_mountpaths_are_two_in_the_data_folder_unless_disks_are_named(folder: DataFolder) -> None:
    layout = settle_layout(folder, ANY_PORTS)
    assert layout.mountpaths_of(folder, "t1") == {
        "mp1": folder.root / "targets/t1/mp1",
        "mp2": folder.root / "targets/t1/mp2",
    }


def test_named_disks_hold_a_mountpath_of_each_target_and_are_kept(folder: DataFolder) -> None:
    layout = settle_layout(folder, Wishes(2, 0, 0, ("/disk1", "/disk2", "/disk3")))
    assert layout.mountpaths_of(folder, "t2") == {
        f"mp{number}": Path(f"/disk{number}/t2") for number in (1, 2, 3)
    }
    assert settle_layout(folder, ANY_PORTS).disks == layout.disks
    assert settle_layout(folder, Wishes(disks=layout.disks)).disks == layout.disks


@pytest.mark.parametrize("disks", [("/disk1",), ("/disk2", "/disk1")])
def test_other_disks_are_refused_later(folder: DataFolder, disks: tuple[str, ...]) -> None:
    settle_layout(folder, Wishes(1, 0, 0, ("/disk1", "/disk2")))
    with pytest.raises(ConfigurationError, match=r"mountpaths in /disk1, /disk2; adding or moving disks"):
        settle_layout(folder, Wishes(disks=disks))


def test_a_disk_named_twice_is_refused(folder: DataFolder) -> None:
    with pytest.raises(ConfigurationError, match="given twice"):
        settle_layout(folder, Wishes(1, 0, 0, ("/disk1", "/disk1")))
    assert not folder.layout_file.exists()


@pytest.mark.parametrize(("name", "option"), [("gateway", "--port"), ("proxy", "--grpc-port")])
def test_a_taken_port_is_refused_with_the_option_that_chooses_another(
    folder: DataFolder, taken_port: int, name: str, option: str
) -> None:
    wishes = (
        Wishes(gateway_port=taken_port)
        if name == "gateway"
        else Wishes(gateway_port=0, proxy_port=taken_port)
    )
    with pytest.raises(ConfigurationError, match=f"port {taken_port} .* taken .* another port with {option}"):
        settle_layout(folder, wishes)
    assert not folder.layout_file.exists()


@pytest.mark.skipif(
    os.geteuid() != 0 or unprivileged_from() < 81, reason="needs root, and ports that need root"
)
def test_a_port_that_this_user_may_not_use_is_not_called_taken() -> None:
    code = (
        "import os; from shoal_cli.supervisor.layout import require_free; "
        f"os.setuid({NOBODY}); require_free(80, '--port')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "cannot listen on port 80 of 127.0.0.1: Permission denied; choose another" in answer.stderr


def test_one_port_for_two_listeners_is_refused(folder: DataFolder) -> None:
    port = settle_layout(folder, ANY_PORTS).ports["gateway"]
    with pytest.raises(ConfigurationError, match=f"--port and --grpc-port are both {port}"):
        settle_layout(folder, Wishes(gateway_port=port, proxy_port=port))


def test_inner_ports_move_when_another_program_took_them(folder: DataFolder, taken_port: int) -> None:
    first = settle_layout(folder, ANY_PORTS)
    changed = first.ports | {"etcd-client": taken_port}
    write(folder, {"ports": changed})
    assert settle_layout(folder, Wishes()).ports["etcd-client"] != taken_port


@pytest.mark.parametrize("found", [FORMAT + 1, 0, "1", None])
def test_another_format_is_refused(folder: DataFolder, found: object) -> None:
    settle_layout(folder, ANY_PORTS)
    write(folder, {"format": found})
    with pytest.raises(ConfigurationError, match="start it with the version that made it"):
        settle_layout(folder, Wishes())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "targets": "x"}', "\xff"])
def test_a_damaged_layout_is_refused_with_its_path(folder: DataFolder, text: str) -> None:
    folder.layout_file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=f"{folder.layout_file} cannot be read"):
        settle_layout(folder, Wishes())


def write(folder: DataFolder, changes: dict[str, object]) -> None:
    document = json.loads(folder.layout_file.read_text())
    folder.layout_file.write_text(json.dumps(document | changes))


def test_sockets_lie_in_the_data_folder_while_their_paths_are_short() -> None:
    folder = DataFolder(Path("/srv/shoal-data"))
    assert settle_socket_folder(folder, Layout(FORMAT, "id", 32, {}, "")) == folder.run


def test_sockets_of_a_deep_data_folder_lie_in_a_private_one_that_is_remembered(tmp_path: Path) -> None:
    root = tmp_path / ("deep" * 25)
    root.mkdir()
    layout = settle_layout(DataFolder(root), ANY_PORTS)
    place = Path(layout.socket_folder)
    assert is_private(place)
    assert len(str(place / "t32.sock")) <= SOCKET_PATH_BYTES_MAX
    assert settle_layout(DataFolder(root), Wishes()).socket_folder == str(place)
    place.rmdir()


def test_a_socket_folder_that_others_may_enter_is_not_used_again(tmp_path: Path) -> None:
    root = tmp_path / ("deep" * 25)
    root.mkdir()
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    place = settle_socket_folder(DataFolder(root), Layout(FORMAT, "id", 1, {}, str(shared)))
    assert place != shared
    place.rmdir()
