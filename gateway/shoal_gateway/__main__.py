"""One gateway worker, from its settings to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shoal_client.batch import streams_of
from shoal_client.routed import RoutedObjectStore
from shoal_core.certificates import TlsFiles
from shoal_core.cluster_map import Member, MemberRole
from shoal_core.host import host_id
from shoal_core.node import Node, background, open_node
from shoal_core.process import ready_file, run_service
from shoal_core.rpc import Channels
from shoal_core.s3_keys import AccessKeys
from shoal_core.telemetry import configure_logging, get_logger
from shoal_gateway.app import GatewayApplication
from shoal_gateway.config import GatewayConfiguration
from shoal_gateway.control import Proxies, ProxyBuckets
from shoal_gateway.guard import LocalGuard
from shoal_gateway.http_server import HttpServer, listening_socket
from shoal_gateway.parts import Parts
from shoal_gateway.redirecting import Redirecting
from shoal_gateway.stores import MemberStores

REFRESH_SECONDS_MAX = 2.0


def main() -> None:
    run_service("shoal-gateway", serve, settings=GatewayConfiguration)


async def serve(path: Path, stop: asyncio.Event) -> None:
    config = GatewayConfiguration.load(path)
    configure_logging("gateway", config.id, level=config.log_level)
    tls = TlsFiles.node(config.certificate_folder)
    listener = listening_socket(config.address, insecure_anonymous=config.insecure_anonymous)
    # The name as it was given: others may reach a container by it after it has got another address.
    host, port = config.address.rpartition(":")[0], listener.getsockname()[1]
    me = Member(config.id, MemberRole.GATEWAY, http_url=f"http://{host}:{port}", host_id=host_id())

    async with (
        open_node(
            cluster_id=config.cluster_id,
            etcd_endpoints=config.etcd_endpoints,
            tls=tls,
            state_folder=config.state_folder,
        ) as node,
        connected_parts(config, node, tls, host_id=me.host_id) as parts,
        node.member(me) as membership,
        background(node.report(membership)),
    ):
        redirecting = Redirecting(
            parts.cluster_map, host_id=me.host_id, redirect_clients=config.redirect_clients
        )
        application = GatewayApplication(
            parts,
            LocalGuard(port=port, hosts=(host, *config.hosts), insecure_anonymous=config.insecure_anonymous),
            requests_max=config.requests_max,
            request_bytes_max=config.request_bytes_max,
            idle_timeout_seconds=config.idle_timeout_seconds,
            keys=AccessKeys.load(config.s3_key_file) if config.s3_key_file else None,
            region=config.s3_region,
            redirecting=redirecting,
        )
        started = asyncio.Event()
        server = HttpServer(
            application,
            listener,
            on_started=started.set,
            fast_lane=config.fast_lane,
            connections_max=config.connections_max,
        )
        async with background(stopping(server, stop), redirecting.learn_key(node.etcd), parts.load.follow()):
            running = asyncio.create_task(server.run_until_stopped())
            await started.wait()
            where = {"id": config.id, "address": f"{host}:{port}", "http_url": me.http_url}
            with ready_file(config.ready_file, where):
                get_logger().info("ready", http_url=me.http_url)
                await running


@asynccontextmanager
async def connected_parts(
    config: GatewayConfiguration, node: Node, tls: TlsFiles, *, host_id: str
) -> AsyncIterator[Parts]:
    """The handlers' collaborators: the whole cluster as one store, and the control plane."""
    view = node.view
    channels = Channels(tls)
    stores = MemberStores(
        channels,
        cluster_id=config.cluster_id,
        host_id=host_id,
        local_reads=config.local_reads,
        epoch=lambda: view.current.placement_epoch,
        freshness=node.freshness,
    )
    try:
        yield Parts(
            objects=RoutedObjectStore(
                lambda: view.current,
                stores.store_of,
                refresh=lambda: view.refresh(REFRESH_SECONDS_MAX),
            ),
            buckets=node.buckets,
            control=ProxyBuckets(channels, lambda: view.current),
            cluster_map=lambda: view.current,
            node_id=config.id,
            host_id=host_id,
            proxy=Proxies(channels, lambda: view.current).choose,
            member_channel=lambda member: channels.get(member.internal_address),
            local_store=lambda name: stores.local_of(view.current.primary(name.slot)),
            local_stores=lambda: stores.locals_of(view.current),
            batch_missing_max=config.batch_missing_max,
            promote_folder=config.promote_folder,
            batches_elsewhere=lambda items: streams_of(items, view.current, stores.channel_elsewhere),
        )
    finally:
        await stores.close()
        await channels.close()


async def stopping(server: HttpServer, stop: asyncio.Event) -> None:
    await stop.wait()
    get_logger().info("stopping")
    server.stop()


if __name__ == "__main__":
    main()
