"""Who may read beside the target: only processes of its own boot and PID namespace, and only its own mountpaths."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from shoal_core.errors import ConfigurationError
from shoal_core.host import host_id
from shoal_store.engine import open_reader
from shoal_store.identity import Identity, prepare_mountpath
from shoal_store.owner import FILE, Owner, check_owner, write_owner


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return prepare_mountpath(tmp_path, cluster="c1", target="t1", mountpath="mp1")


def test_a_process_of_the_same_host_may_read(tmp_path: Path, identity: Identity) -> None:
    write_owner(tmp_path)
    check_owner(tmp_path, identity, cluster="c1", target="t1")
    owner = msgspec.json.decode((tmp_path / FILE).read_bytes(), type=Owner)
    assert owner == Owner(os.getpid(), host_id())


@pytest.mark.parametrize(("cluster", "target"), [("c2", "t1"), ("c1", "t2")])
def test_a_mountpath_of_another_target_or_cluster_is_refused(
    tmp_path: Path, identity: Identity, cluster: str, target: str
) -> None:
    write_owner(tmp_path)
    with pytest.raises(ConfigurationError, match="belongs to target t1 of cluster c1"):
        check_owner(tmp_path, identity, cluster=cluster, target=target)


def test_a_mountpath_whose_target_lives_in_another_boot_is_left_to_rpc(
    tmp_path: Path, identity: Identity
) -> None:
    (tmp_path / FILE).write_bytes(msgspec.json.encode(Owner(1, "another boot")))
    with pytest.raises(ConfigurationError, match="RPC"):
        check_owner(tmp_path, identity, cluster="c1", target="t1")


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"pid": "one"}'])
def test_a_mountpath_without_a_readable_owner_says_to_start_the_target(
    tmp_path: Path, identity: Identity, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ConfigurationError, match="start its target first"):
        check_owner(tmp_path, identity, cluster="c1", target="t1")


def test_a_reader_is_not_opened_where_the_target_never_ran(tmp_path: Path, identity: Identity) -> None:
    with pytest.raises(ConfigurationError, match="start its target first"):
        open_reader({"mp1": tmp_path}, cluster="c1", target="t1")


def test_a_changed_byte_of_the_owner_is_told_as_such(tmp_path: Path, identity: Identity) -> None:
    write_owner(tmp_path)
    whole = (tmp_path / "owner.json").read_bytes()
    digits = range(whole.index(b":") + 1, whole.index(b","))
    for position in sorted(set(range(len(whole))) - set(digits)):
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        (tmp_path / "owner.json").write_bytes(changed)
        with pytest.raises(ConfigurationError):
            check_owner(tmp_path, identity, cluster=identity.cluster, target=identity.target)
