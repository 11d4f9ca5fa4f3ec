"""Redirects that prove themselves: what one node answers with 307, another serves for the same caller.

Clients drop their credentials when a redirect leads to another host, so the node that verified the caller says in the
URL whom it verified and for which request, and signs that with a key that only nodes of the cluster can read.
The token is the last field of the query:

    shoal-redirect=<grant>.<signature>

    grant       base64url of JSON: [Unix seconds at which it ends, name, kind, role, permission bits]
    signature   base64url of HMAC-SHA256 over grant, method, raw path and raw query, each after its length
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from shoal_core.access import Permission, Principal
from shoal_core.errors import ConfigurationError, Conflict, ControlPlaneDown, PermissionDenied
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.values import ABSENT, KeyValue
from shoal_core.membership import ROOT

FIELD = "shoal-redirect"
"""Of the query, in front of the token."""
SECRET_KEY = f"{ROOT}secrets/redirect"
"""Where etcd keeps the cluster's key. Nodes alone have certificates for etcd."""
KEY_BYTES = 32
VALID_SECONDS = 60
"""From the signature on, by the clocks of both nodes. Longer than following takes, too short to be passed around."""
TOKEN_BYTES_MAX = 1024

_MARK = f"{FIELD}=".encode()


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a token is good for. Path and query as they were sent, still escaped; the query without the token."""

    method: str
    raw_path: bytes
    raw_query: bytes


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """Whom the first node verified, and until when its word holds."""

    ends_at: int
    name: str
    kind: Literal["user", "node", "anonymous"]
    role: str
    permissions: int


class RedirectSigner:
    """Makes tokens and verifies them, with the cluster's key."""

    def __init__(self, key: bytes, *, now: Callable[[], float] = time.time) -> None:
        """`now` gives Unix seconds."""
        assert len(key) == KEY_BYTES
        self._key = key
        self._now = now

    def token(self, request: SignedRequest, principal: Principal) -> bytes:
        grant = Grant(
            int(self._now()) + VALID_SECONDS,
            principal.name,
            principal.kind,
            principal.role,
            int(principal.permissions),
        )
        written = encoded(msgspec.json.encode(grant))
        return written + b"." + self._signature(written, request)

    def principal(self, request: SignedRequest, token: bytes) -> Principal:
        """Who was verified for exactly this request. Raises PermissionDenied."""
        written, _, signature = token.rpartition(b".")
        whole = len(token) <= TOKEN_BYTES_MAX
        if not whole or not hmac.compare_digest(signature, self._signature(written, request)):
            raise PermissionDenied(
                "this redirect was not made for this request: send the request, without the field "
                f"{FIELD!r}, to the address that you asked first"
            )
        # Signed, so it is what `token` wrote.
        grant = msgspec.json.decode(decoded(written), type=Grant)
        if self._now() >= grant.ends_at:
            raise PermissionDenied(
                f"this redirect is older than {VALID_SECONDS} s: repeat the request at the address that you asked first"
            )
        return Principal(grant.name, grant.kind, grant.role, Permission(grant.permissions))

    def _signature(self, grant: bytes, request: SignedRequest) -> bytes:
        fields = (grant, request.method.encode(), request.raw_path, request.raw_query)
        message = b"".join(b"%d:%b" % (len(field), field) for field in fields)
        return encoded(hmac.digest(self._key, message, hashlib.sha256))


def with_token(raw_query: bytes, token: bytes) -> bytes:
    return b"&".join(filter(None, (raw_query, _MARK + token)))


def split_token(raw_query: bytes) -> tuple[bytes, bytes | None]:
    """The query that the client sent first, and the token, if the last field is one."""
    before, _, last = raw_query.rpartition(b"&")
    if not last.startswith(_MARK):
        return raw_query, None
    return before, last[len(_MARK) :]


async def redirect_key(etcd: EtcdClient) -> bytes:
    """The cluster's key; whoever asks first makes it. Raises ControlPlaneDown, ConfigurationError."""
    found = await etcd.get(SECRET_KEY)
    if found is None:
        made = secrets.token_bytes(KEY_BYTES)
        try:
            await etcd.put_if(SECRET_KEY, made, expected_mod_revision=ABSENT)
            return made
        except Conflict:
            found = await etcd.get(SECRET_KEY)
    return checked_key(found)


def checked_key(found: KeyValue | None) -> bytes:
    if found is None:
        raise ControlPlaneDown(f"somebody deletes {SECRET_KEY} from etcd while this node reads it")
    if len(found.value) != KEY_BYTES:
        raise ConfigurationError(
            f"{SECRET_KEY} in etcd is no key of {KEY_BYTES} bytes: delete it, then restart all gateways"
        )
    return found.value


def encoded(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def decoded(value: bytes) -> bytes:
    return base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
