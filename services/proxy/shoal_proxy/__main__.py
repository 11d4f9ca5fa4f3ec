"""The proxy process, from its settings to its end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from shoal_core.certificates import NodeIdentity, TlsFiles
from shoal_core.cluster_map import Member, MemberRole, state_of
from shoal_core.host import host_id
from shoal_core.jobs import JobBoard
from shoal_core.load import Load
from shoal_core.node import background, open_node, require_certificate
from shoal_core.node_service import node_service
from shoal_core.process import ready_file, run_service
from shoal_core.rpc import Channels, Listener
from shoal_core.serving import Servers
from shoal_core.telemetry import configure_logging, get_logger
from shoal_proxy.config import ProxyConfiguration
from shoal_proxy.housekeeping import keep_history_short
from shoal_proxy.observers import open_observers
from shoal_proxy.relay import Relay
from shoal_proxy.server import services


def main() -> None:
    run_service("shoal-proxy", serve, settings=ProxyConfiguration)


async def serve(path: Path, stop: asyncio.Event) -> None:
    config = ProxyConfiguration.load(path)
    configure_logging("proxy", config.id, level=config.log_level)
    tls = TlsFiles.node(config.certificate_folder)
    require_certificate(tls, NodeIdentity(config.cluster_id, "proxy", config.id))

    async with AsyncExitStack() as stack:
        opening = open_node(
            cluster_id=config.cluster_id,
            etcd_endpoints=config.etcd_endpoints,
            tls=tls,
            state_folder=config.state_folder,
        )
        node = await stack.enter_async_context(opening)
        observers = await stack.enter_async_context(open_observers(node.etcd))
        channels = Channels(tls)
        stack.push_async_callback(channels.close)
        relay = Relay(node.view, channels)

        load = Load()
        servers = Servers(
            node=config.id,
            cluster_id=config.cluster_id,
            tls=tls,
            insecure_anonymous=config.insecure_anonymous,
            load=load,
        )
        served = services(
            node,
            observers,
            channels,
            store=relay.store,
            elsewhere=relay.batches,
            stopping=servers.stopping,
        )
        public = servers.listen(Listener.PUBLIC, config.public_address, served)
        status = node_service(lambda: state_of(node.view.current, config.id))
        internal = servers.listen(Listener.INTERNAL, config.internal_address, [*served, status])
        me = Member(
            config.id,
            MemberRole.PROXY,
            public_address=public,
            internal_address=internal,
            host_id=host_id(),
        )
        membership = await stack.enter_async_context(node.member(me))
        stack.push_async_callback(servers.stop)
        await servers.start()

        work = (relay.follow(), node.report(membership), keep_history_short(JobBoard(node.etcd), node.etcd))
        await stack.enter_async_context(background(*work, load.follow()))
        addresses = {"public_address": public, "internal_address": internal}
        stack.enter_context(ready_file(config.ready_file, addresses))
        get_logger().info("ready", **addresses)
        await stop.wait()
        get_logger().info("stopping")


if __name__ == "__main__":
    main()
