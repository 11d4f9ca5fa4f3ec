"""Who may talk to this gateway at all, and who they are.

In local mode the cluster trusts its own machine, so a web page in the user's browser must not be able to use
it: a request is refused unless it comes from a loopback address, names us in `Host` (which stops DNS
rebinding), and carries no foreign `Origin`. With `insecure_anonymous` other machines are trusted too, and only
the first of the three checks falls away: browsers are as dangerous as before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import Scope

from shoal_core.access import LOCAL_ADMINISTRATOR, Principal
from shoal_core.errors import PermissionDenied, Unauthenticated

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
HTTP_PORT = 80


class LocalGuard:
    """Admits callers of this host (or, if told so, of any) as administrators, as AIStore does without AuthN."""

    def __init__(self, *, port: int, hosts: Iterable[str] = (), insecure_anonymous: bool = False) -> None:
        self._insecure_anonymous = insecure_anonymous
        named = [host.lower() for host in (*LOOPBACK_NAMES, *hosts)]
        with_port = frozenset(name if has_port(name) else f"{name}:{port}" for name in named)
        at_default_port = frozenset(named) if port == HTTP_PORT else frozenset()
        # Browsers name the port unless it is 80, so the bare loopback names admit no page; plain clients may
        # leave it out.
        self._hosts = with_port | at_default_port | frozenset(LOOPBACK_NAMES)
        self._origins = frozenset(f"http://{host}" for host in with_port | at_default_port)
        self._encoded_hosts = frozenset(host.encode() for host in self._hosts)
        self.principal = LOCAL_ADMINISTRATOR
        """Whom everybody who is trusted acts as."""

    def authenticate(self, scope: Scope) -> Principal:
        """The verified caller. Raises PermissionDenied for everybody whom local mode does not trust."""
        self.admit(scope)
        return self.principal

    def trusts(self, peer: str, host: bytes) -> bool:
        """Whether `admit` would let a request without Origin pass that came from `peer` (an address) to `host`, and
        names it in the usual letters."""
        return host in self._encoded_hosts and (self._insecure_anonymous or is_loopback(peer))

    def admit(self, scope: Scope) -> None:
        """Raises PermissionDenied for those who may not even prove who they are."""
        self._check_peer(scope)
        self._check_host(scope)
        self._check_origin(scope)

    def _check_peer(self, scope: Scope) -> None:
        if self._insecure_anonymous:
            return
        client = scope.get("client")
        if client is None or not is_loopback(client[0]):
            raise Unauthenticated("this cluster runs in local mode: it answers callers of its own host only")

    def _check_host(self, scope: Scope) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in self._hosts:
            raise PermissionDenied(
                "the Host header does not name this gateway: use the address that `shoal up` printed, "
                "or add the name to `hosts` in the gateway's configuration"
            )

    def _check_origin(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"origin" and value.decode("latin-1").lower() not in self._origins:
                raise PermissionDenied(
                    "pages of other sites may not use this cluster (foreign Origin header)"
                )


def has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not host.endswith("]")


@lru_cache(64)
def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
