"""Calls between real servers and channels: identity, permission, errors, deadlines, retries, request ids."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import grpc
import grpc.aio
import pytest

from shoal.chunk.v1 import chunk_pb2, chunk_pb2_grpc
from shoal.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from shoal_core import errors
from shoal_core.access import LOCAL_ADMINISTRATOR
from shoal_core.certificates import ClusterAuthority, TlsFiles
from shoal_core.error_table import DETAILS_KEY, ERROR_TABLE
from shoal_core.etcd.connection import CHANNEL_OPTIONS as ETCD_OPTIONS
from shoal_core.rpc import (
    CHANNEL_OPTIONS,
    SERVER_OPTIONS,
    Channels,
    Context,
    Listener,
    add_listener,
    build_server,
    call,
    translate_errors,
)
from shoal_core.rpc_gate import is_loopback, peer_host
from shoal_core.telemetry import request_id
from support.rpc_servers import REQUEST, Behaviour, ClusterServicer, Raw, Start, get_map


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    # pytest's own folders may be too deep for a socket's path.
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        yield Path(folder)


@pytest.fixture
def open_folder(socket_folder: Path) -> Path:
    socket_folder.chmod(0o755)
    return socket_folder


def raising(error: BaseException) -> Behaviour:
    async def behaviour() -> None:
        raise error

    return behaviour


async def test_node_with_certificate_is_known_by_role_and_member(
    start: Start, node_channels: Channels
) -> None:
    address = await start(ClusterServicer())
    answer = await call(get_map(node_channels, address), REQUEST, timeout_seconds=10)
    assert answer.cluster_map.cluster_id == "target/t1"


async def test_internal_listener_refuses_caller_without_certificate(
    start: Start, user_channels: Channels
) -> None:
    servicer = ClusterServicer()
    address = await start(servicer)
    with pytest.raises(errors.OwnerUnreachable):
        await call(get_map(user_channels, address), REQUEST, timeout_seconds=10)
    assert servicer.calls == 0


async def test_internal_listener_refuses_node_of_another_authority(start: Start, tmp_path: Path) -> None:
    stranger = ClusterAuthority.create(tmp_path / "ca", "cluster-a").issue(tmp_path / "n", "target", "t1")
    servicer = ClusterServicer()
    address = await start(servicer)
    channels = Channels(stranger)
    with pytest.raises(errors.OwnerUnreachable):
        await call(get_map(channels, address), REQUEST, timeout_seconds=10)
    await channels.close()
    assert servicer.calls == 0


async def test_internal_listener_refuses_certificate_that_names_another_cluster(
    start: Start, authority: ClusterAuthority, tmp_path: Path
) -> None:
    other = ClusterAuthority("cluster-b", authority.certificate, authority.key)
    address = await start(ClusterServicer())
    channels = Channels(other.issue(tmp_path, "target", "t1"))
    with pytest.raises(errors.Unauthenticated, match="cluster-b"):
        await call(get_map(channels, address), REQUEST, timeout_seconds=10)
    await channels.close()


async def test_etcds_certificate_does_not_let_it_act_as_a_node(
    start: Start, authority: ClusterAuthority, tmp_path: Path
) -> None:
    address = await start(ClusterServicer())
    channels = Channels(authority.issue(tmp_path, "etcd", "e1"))
    with pytest.raises(errors.PermissionDenied):
        await call(get_map(channels, address), REQUEST, timeout_seconds=10)
    await channels.close()


async def test_public_caller_of_this_host_is_administrator(start: Start, user_channels: Channels) -> None:
    address = await start(ClusterServicer(), mode=Listener.PUBLIC)
    answer = await call(get_map(user_channels, address), REQUEST, timeout_seconds=10)
    assert answer.cluster_map.cluster_id == LOCAL_ADMINISTRATOR.name


async def test_public_caller_is_refused_on_node_only_rpc(start: Start, user_channels: Channels) -> None:
    address = await start(ClusterServicer(), mode=Listener.PUBLIC)
    stub = chunk_pb2_grpc.ChunkServiceStub(user_channels.get(address))
    with pytest.raises(errors.PermissionDenied, match="nodes of the cluster"), translate_errors("t1"):
        await stub.Commit(timeout=10).read()


async def test_node_certificate_on_public_listener_gives_no_node_rights(
    start: Start, node_channels: Channels
) -> None:
    address = await start(ClusterServicer(), mode=Listener.PUBLIC)
    stub = chunk_pb2_grpc.ChunkServiceStub(node_channels.get(address))
    with pytest.raises(errors.PermissionDenied), translate_errors("t1"):
        await stub.Commit(timeout=10).read()


async def test_commit_stream_runs_over_the_unix_socket(start: Start, socket_folder: Path) -> None:
    address = await start(
        ClusterServicer(), mode=Listener.LOCAL_SOCKET, address=f"unix:{socket_folder}/t.sock"
    )
    channels = Channels(None)
    stream = chunk_pb2_grpc.ChunkServiceStub(channels.get(address)).Commit(timeout=10)
    await stream.write(chunk_pb2.CommitRequest())
    assert isinstance(await stream.read(), chunk_pb2.CommitResponse)
    stream.cancel()
    await channels.close()


async def test_socket_in_folder_open_to_others_is_refused(start: Start, open_folder: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="chmod 700"):
        await start(ClusterServicer(), mode=Listener.LOCAL_SOCKET, address=f"unix:{open_folder}/t.sock")


async def test_socket_path_too_long_is_refused(start: Start, socket_folder: Path) -> None:
    address = f"unix:{socket_folder}/{'x' * 108}"
    with pytest.raises(errors.ConfigurationError, match="107 bytes"):
        await start(ClusterServicer(), mode=Listener.LOCAL_SOCKET, address=address)


async def test_public_listener_beyond_loopback_is_refused(start: Start) -> None:
    with pytest.raises(errors.ConfigurationError, match="loopback"):
        await start(ClusterServicer(), mode=Listener.PUBLIC, address="0.0.0.0:0")


async def test_told_so_a_public_listener_goes_beyond_loopback(node_files: TlsFiles) -> None:
    """As far as binding, which fails: the address is of a range for documentation, and tests stay on this host."""
    with pytest.raises(errors.ConfigurationError, match="not an address of this host"):
        add_listener(
            grpc.aio.server(),
            "192.0.2.1:0",
            tls=node_files,
            mode=Listener.PUBLIC,
            insecure_anonymous=True,
        )


async def test_taken_port_is_one_sentence(start: Start) -> None:
    address = await start(ClusterServicer())
    with pytest.raises(errors.ConfigurationError, match=f"cannot listen on {address}"):
        await start(ClusterServicer(), address=address)


@pytest.mark.parametrize("kind", ERROR_TABLE, ids=lambda kind: kind.__name__)
async def test_error_arrives_as_the_class_that_was_raised(
    start: Start, node_channels: Channels, kind: type[errors.ShoalError]
) -> None:
    address = await start(ClusterServicer(raising(kind("what — and why", name="ä/b"))))
    with pytest.raises(errors.ShoalError) as caught:
        await call(get_map(node_channels, address), REQUEST, timeout_seconds=10, peer="t1")
    assert type(caught.value) is kind
    assert caught.value.message == "what — and why"
    assert caught.value.metadata["name"] == "ä/b"
    assert caught.value.metadata["node"] == "t1"


async def test_error_with_very_long_name_still_arrives(start: Start, node_channels: Channels) -> None:
    name = "ü" * 512
    error = errors.ObjectNotFound(f"no object {name}", bucket=name, name=name)
    address = await start(ClusterServicer(raising(error)))
    with pytest.raises(errors.ObjectNotFound, match="no object ü"):
        await call(get_map(node_channels, address), REQUEST, timeout_seconds=10)


async def test_unexpected_exception_is_internal_without_its_text(
    start: Start, node_channels: Channels
) -> None:
    address = await start(ClusterServicer(raising(RuntimeError("password=hunter2"))))
    request_id.set("r-1")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await get_map(node_channels, address)(REQUEST, metadata=(("shoal-request-id", "r-1"),))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "internal error, request id r-1: please report it"
    assert b"hunter2" not in dict(caught.value.trailing_metadata())[DETAILS_KEY]


async def test_error_of_a_task_group_arrives_as_itself(start: Start, node_channels: Channels) -> None:
    group = ExceptionGroup("tasks", [errors.LeaseLost("no lease")])
    address = await start(ClusterServicer(raising(group)))
    with pytest.raises(errors.LeaseLost):
        await call(get_map(node_channels, address), REQUEST, timeout_seconds=10)


async def test_bytes_that_are_no_request_are_an_invalid_argument(
    start: Start, node_channels: Channels
) -> None:
    address = await start(ClusterServicer())
    method: Raw = node_channels.get(address).unary_unary("/shoal.cluster.v1.ClusterService/GetClusterMap")
    with pytest.raises(errors.InvalidArgument, match="not the protobuf message"), translate_errors("t1"):
        await method(b"\xff\xff\xff", timeout=10)


async def test_unlisted_rpc_is_denied(node_files: TlsFiles, node_channels: Channels) -> None:
    async def secret(request: bytes, context: Context) -> bytes:
        return b"secret"

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Read": grpc.unary_unary_rpc_method_handler(secret)
    }
    server = build_server(
        node="t1",
        cluster_id="cluster-a",
        mode=Listener.INTERNAL,
        services=[lambda server: server.add_registered_method_handlers("shoal.New", handlers)],
    )
    address = add_listener(server, "127.0.0.1:0", tls=node_files, mode=Listener.INTERNAL)
    await server.start()
    method: Raw = node_channels.get(address).unary_unary("/shoal.New/Read")
    with pytest.raises(errors.PermissionDenied, match="no rule"), translate_errors("t1"):
        await method(b"", timeout=10)
    await server.stop(0)


async def test_request_id_travels_there_and_back(start: Start, node_channels: Channels) -> None:
    seen: list[str] = []

    async def remember() -> None:
        seen.append(request_id.get())

    address = await start(ClusterServicer(remember))
    answer = get_map(node_channels, address)(REQUEST, metadata=(("shoal-request-id", "r-77"),))
    await answer
    assert ("shoal-request-id", "r-77") in tuple(await answer.trailing_metadata())
    assert seen == ["r-77"]


async def test_request_id_of_the_task_is_passed_on(start: Start, node_channels: Channels) -> None:
    seen: list[str] = []

    async def remember() -> None:
        seen.append(request_id.get())

    address = await start(ClusterServicer(remember))
    request_id.set(identity := secrets.token_hex(4))
    await call(get_map(node_channels, address), REQUEST, timeout_seconds=10)
    assert seen == [identity]


async def test_request_id_that_is_unfit_for_logs_is_replaced(start: Start, node_channels: Channels) -> None:
    address = await start(ClusterServicer())
    answer = get_map(node_channels, address)(REQUEST, metadata=(("shoal-request-id", "a b <script>"),))
    await answer
    identity = dict(await answer.trailing_metadata())["shoal-request-id"]
    assert len(identity) == 16


async def test_call_ends_at_the_callers_deadline(start: Start, node_channels: Channels) -> None:
    address = await start(ClusterServicer(asyncio.Event().wait))  # type: ignore[arg-type]
    with pytest.raises(errors.DeadlineExceeded, match="t1 gave no answer"):
        await call(get_map(node_channels, address), REQUEST, timeout_seconds=0.2, peer="t1")


async def test_call_without_deadline_ends_at_the_servers_ceiling(
    start: Start, node_channels: Channels
) -> None:
    servicer = ClusterServicer(asyncio.Event().wait)  # type: ignore[arg-type]
    address = await start(servicer, unary_seconds_max=0.05)
    with pytest.raises(errors.DeadlineExceeded, match="could not finish"), translate_errors("t1"):
        await get_map(node_channels, address)(REQUEST)


async def test_refused_calls_do_not_use_up_the_limit(start: Start, user_channels: Channels) -> None:
    address = await start(ClusterServicer(), mode=Listener.PUBLIC, concurrent_calls_max=1)
    stub = chunk_pb2_grpc.ChunkServiceStub(user_channels.get(address))
    for _ in range(3):
        with pytest.raises(errors.PermissionDenied), translate_errors("t1"):
            await stub.Commit(timeout=10).read()
    await call(get_map(user_channels, address), REQUEST, timeout_seconds=10)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def count_tries(channels: Channels, *, idempotent: bool) -> int:
    """How often `call` invokes the method while the peer cannot be reached."""
    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    host, number = listener.sockets[0].getsockname()
    method = get_map(channels, f"{host}:{number}")
    tries = 0

    def counted(*arguments: object, **options: object) -> object:
        nonlocal tries
        tries += 1
        return method(*arguments, **options)  # type: ignore[arg-type]

    with pytest.raises(errors.OwnerUnreachable):
        await call(counted, REQUEST, timeout_seconds=10, idempotent=idempotent)  # type: ignore[arg-type]
    listener.close()
    await listener.wait_closed()
    return tries


async def test_idempotent_call_is_tried_again_within_its_budget(node_channels: Channels) -> None:
    assert await count_tries(node_channels, idempotent=True) == 4


async def test_call_that_is_not_idempotent_is_tried_once(node_channels: Channels) -> None:
    assert await count_tries(node_channels, idempotent=False) == 1


async def test_answer_of_the_peer_is_not_asked_for_again(start: Start, node_channels: Channels) -> None:
    servicer = ClusterServicer(raising(errors.LeaseLost("no lease")))
    address = await start(servicer)
    with pytest.raises(errors.LeaseLost):
        await call(get_map(node_channels, address), REQUEST, timeout_seconds=10, idempotent=True)
    assert servicer.calls == 1


async def test_error_after_the_first_message_of_a_stream_arrives(
    start: Start, node_channels: Channels
) -> None:
    address = await start(ClusterServicer(raising(errors.DataCorrupt("block 3"))))
    stub = cluster_pb2_grpc.ClusterServiceStub(node_channels.get(address))
    stream = stub.WatchClusterMap(cluster_pb2.WatchClusterMapRequest(), timeout=10)
    assert isinstance(await stream.read(), cluster_pb2.WatchClusterMapResponse)
    with pytest.raises(errors.DataCorrupt, match="block 3"), translate_errors("t1"):
        await stream.read()


async def test_cancelled_stream_closes_the_handlers_generator(start: Start, node_channels: Channels) -> None:
    servicer = ClusterServicer()
    address = await start(servicer)
    stub = cluster_pb2_grpc.ClusterServiceStub(node_channels.get(address))
    stream = stub.WatchClusterMap(cluster_pb2.WatchClusterMapRequest(), timeout=10)
    await stream.read()
    stream.cancel()
    async with asyncio.timeout(10):
        await servicer.ended.wait()


async def test_channel_closed_during_a_call_is_unavailable(start: Start, node_channels: Channels) -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        entered.set()
        await asyncio.Event().wait()

    address = await start(ClusterServicer(hold))
    running = asyncio.create_task(call(get_map(node_channels, address), REQUEST, timeout_seconds=10))
    await entered.wait()
    await node_channels.retain(())
    with pytest.raises(errors.Unavailable, match="closed during the call"):
        await running


async def test_cancelled_task_stays_cancelled(start: Start, node_channels: Channels) -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        entered.set()
        await asyncio.Event().wait()

    address = await start(ClusterServicer(hold))
    running = asyncio.create_task(call(get_map(node_channels, address), REQUEST, timeout_seconds=10))
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_killed_server_is_an_unreachable_owner(start: Start, node_channels: Channels) -> None:
    with pytest.raises(errors.OwnerUnreachable, match="t9"):
        await call(get_map(node_channels, "127.0.0.1:1"), REQUEST, timeout_seconds=10, peer="t9")


async def test_tcp_without_tls_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError, match="TLS"):
        Channels(None).get("127.0.0.1:1")


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:127.0.0.1:4711", True),
        ("ipv6:%5B::1%5D:4711", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:4711", True),
        ("ipv4:10.0.0.7:4711", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", False),
        ("unix:", False),
        ("", False),
    ],
)
def test_peer_is_on_loopback_only_when_its_address_says_so(peer: str, expected: bool) -> None:
    assert is_loopback(peer_host(peer)) is expected


@pytest.mark.parametrize("options", [SERVER_OPTIONS, CHANNEL_OPTIONS, ETCD_OPTIONS])
def test_grpc_knows_every_option_that_is_set(options: Sequence[tuple[str, object]]) -> None:
    """It overlooks unknown ones: a misspelt one let servers cut idle connections for "too many pings"."""
    library = Path(str(import_module("grpc._cython.cygrpc").__file__)).read_bytes()
    assert [name for name, _ in options if name.encode() + b"\0" not in library] == []
