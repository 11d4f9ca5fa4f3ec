"""Which requests are sent on to the gateway beside the object's owner, and which came here that way.

A redirected request is served here whatever the map says by now, so that two gateways with different maps cannot send a
client back and forth. Without the cluster's key (etcd was away since the start) a gateway redirects nobody.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable

from shoal_core.access import Principal
from shoal_core.cluster_map import ClusterMap, Member, MemberRole
from shoal_core.errors import ControlPlaneDown, PermissionDenied, ShoalError
from shoal_core.etcd.client import EtcdClient
from shoal_core.objects import Bucket
from shoal_core.redirects import FIELD, RedirectSigner, SignedRequest, redirect_key, split_token, with_token
from shoal_core.telemetry import get_logger
from shoal_gateway.call import Call, parse_query

LEARN_PAUSE_SECONDS = 5.0

# Clients write these differently in a `Location` that they follow, and then it is not what was signed.
_REWRITTEN = re.compile(rb"[^!-~]|/\.\.?(?:/|$)")


class Redirecting:
    """One for each worker."""

    def __init__(
        self,
        cluster_map: Callable[[], ClusterMap],
        *,
        host_id: str,
        redirect_clients: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Without `redirect_clients` it sends nobody away, and serves whom others sent. `now` gives Unix seconds."""
        self._cluster_map = cluster_map
        self._host_id = host_id
        self._redirect_clients = redirect_clients
        self._now = now
        self._signer: RedirectSigner | None = None

    def use_key(self, key: bytes) -> None:
        self._signer = RedirectSigner(key, now=self._now)

    async def learn_key(self, etcd: EtcdClient) -> None:
        """Get the cluster's key, however long that takes: gateways serve without it."""
        while self._signer is None:
            try:
                self.use_key(await redirect_key(etcd))
            except ShoalError as error:
                get_logger().warning("no-redirect-key", reason=error.message)
                await asyncio.sleep(LEARN_PAUSE_SECONDS)

    def caller(self, call: Call, token: bytes) -> Principal:
        """Whom another gateway verified. Raises PermissionDenied for a token that was not made for this call,
        ControlPlaneDown without the key."""
        if self._signer is None:
            raise ControlPlaneDown("this gateway has no key for redirects from etcd yet: repeat shortly")
        principal = self._signer.principal(signed_part(call), token)
        call.redirected = True
        return principal

    def location(self, call: Call, bucket: Bucket) -> bytes | None:
        """Where this request is served better; None to serve it here."""
        if not self._redirect_clients or self._signer is None or call.redirected or not may_be_sent_on(call):
            return None
        gateway = self._gateway_beside_owner(bucket, call.object_name)
        if gateway is None:
            return None
        token = self._signer.token(signed_part(call), call.principal)
        return gateway.http_url.encode() + call.raw_path + b"?" + with_token(call.raw_query, token)

    def _gateway_beside_owner(self, bucket: Bucket, name: str) -> Member | None:
        """None also when the owner is on this host."""
        cluster = self._cluster_map()
        host_id = cluster.target_of(bucket.id, name).host_id
        if host_id == self._host_id:
            return None
        beside = [
            member
            for member in cluster.members
            if member.role is MemberRole.GATEWAY and member.alive and member.host_id == host_id
        ]
        return random.choice(beside) if beside else None


def take_query(call: Call) -> bytes | None:
    """Fill the call's query; the token of a redirect, which is no part of it. Raises PermissionDenied."""
    call.raw_query, token = split_token(call.raw_query)
    call.query = parse_query(call.raw_query)
    if FIELD in call.query:
        raise PermissionDenied(f"the field {FIELD!r} may stand in a query once, and last")
    return token


def may_be_sent_on(call: Call) -> bool:
    """A body is sent on only while the client waits to be asked for it; one under way would be sent twice."""
    waits = call.headers.get("expect", "").lower() == "100-continue"
    return (call.method == "GET" or waits) and not _REWRITTEN.search(call.raw_path)


def signed_part(call: Call) -> SignedRequest:
    return SignedRequest(call.method, call.raw_path, call.raw_query)
