"""Permissions: the table lists every RPC there is, and nobody passes who should not."""

from __future__ import annotations

import importlib.resources

import pytest
from google.protobuf import descriptor_pb2

from shoal_core.access import (
    ANONYMOUS,
    CLUSTER_READ_ONLY,
    EVERYTHING,
    LOCAL_ADMINISTRATOR,
    READ_ONLY,
    READ_WRITE,
    RPC_PERMISSIONS,
    NodeOnly,
    Permission,
    Principal,
    authorize,
    authorize_rpc,
    node_principal,
)
from shoal_core.certificates import ROLES
from shoal_core.errors import PermissionDenied, Unauthenticated
from shoal_core.objects import BucketReference

READER = Principal("reader", "user", "guest", READ_ONLY)
# The services that are not Shoal's own are called, never served.
NOT_SERVED = {"shoal.etcd.v1"}


def every_rpc() -> set[str]:
    data = importlib.resources.files("shoal").joinpath("descriptors.binpb").read_bytes()
    return {
        f"/{file.package}.{service.name}/{method.name}"
        for file in descriptor_pb2.FileDescriptorSet.FromString(data).file
        if file.package not in NOT_SERVED
        for service in file.service
        for method in service.method
    }


def test_every_rpc_of_the_contract_is_listed_and_no_other() -> None:
    assert set(RPC_PERMISSIONS) == every_rpc()


def test_bits_are_aistores() -> None:
    assert [permission.value for permission in Permission] == [1 << bit for bit in range(18)]
    assert (READ_ONLY, CLUSTER_READ_ONLY) == (771, 12288)
    assert Permission.ADMIN == 1 << 17
    assert READ_WRITE == 771 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5


@pytest.mark.parametrize("method", sorted(RPC_PERMISSIONS))
def test_anonymous_caller_passes_nowhere(method: str) -> None:
    with pytest.raises((Unauthenticated, PermissionDenied)):
        authorize_rpc(ANONYMOUS, method)


@pytest.mark.parametrize("method", sorted(RPC_PERMISSIONS))
def test_etcd_passes_nowhere(method: str) -> None:
    with pytest.raises(PermissionDenied):
        authorize_rpc(node_principal("etcd", "e1"), method)


@pytest.mark.parametrize("method", sorted(RPC_PERMISSIONS))
def test_reader_passes_where_reading_is_enough(method: str) -> None:
    demanded = RPC_PERMISSIONS[method]
    if not isinstance(demanded, NodeOnly) and demanded in READ_ONLY:
        authorize_rpc(READER, method)
    else:
        with pytest.raises(PermissionDenied):
            authorize_rpc(READER, method)


@pytest.mark.parametrize("role", ROLES)
def test_commit_stream_is_for_gateways_and_targets(role: str) -> None:
    method = "/shoal.chunk.v1.ChunkService/Commit"
    if role in ("gateway", "target"):
        authorize_rpc(node_principal(role, "x1"), method)
    else:
        with pytest.raises(PermissionDenied):
            authorize_rpc(node_principal(role, "x1"), method)


def test_administrator_is_no_node() -> None:
    with pytest.raises(PermissionDenied):
        authorize_rpc(LOCAL_ADMINISTRATOR, "/shoal.chunk.v1.ChunkService/Commit")


def test_unlisted_rpc_is_denied_to_everybody() -> None:
    with pytest.raises(PermissionDenied, match="no rule"):
        authorize_rpc(LOCAL_ADMINISTRATOR, "/shoal.object.v1.ObjectService/Format")


def test_denial_names_the_missing_permission_and_the_bucket() -> None:
    with pytest.raises(PermissionDenied, match=r"on ais://b \(PUT is missing\)") as caught:
        authorize(READER, Permission.PUT | Permission.GET, BucketReference("b"))
    assert caught.value.metadata == {"permission": "PUT"}


def test_everything_holds_every_permission() -> None:
    assert all(permission in EVERYTHING for permission in Permission)
