"""Local mode: callers of this host, our own Host, no foreign Origin."""

from __future__ import annotations

import pytest
from starlette.types import Scope

from shoal_core.access import LOCAL_ADMINISTRATOR
from shoal_core.errors import PermissionDenied, Unauthenticated
from shoal_gateway.guard import LocalGuard

GUARD = LocalGuard(port=51080, hosts=("Shoal.example", "other.example:8080"))


def scope(*headers: tuple[str, str], client: tuple[str, int] | None = ("127.0.0.1", 40000)) -> Scope:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "headers": encoded, "client": client}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:51080",
        "localhost:51080",
        "LOCALHOST:51080",
        "[::1]:51080",
        "shoal.example:51080",
        "other.example:8080",
    ],
)
def test_own_hosts_are_admitted_as_administrators(host: str) -> None:
    assert GUARD.authenticate(scope(("host", host))) is LOCAL_ADMINISTRATOR


@pytest.mark.parametrize("host", ["evil.example", "shoal.example", "127.0.0.1:80", "other.example:51080", ""])
def test_foreign_hosts_are_refused(host: str) -> None:
    with pytest.raises(PermissionDenied, match="Host"):
        GUARD.authenticate(scope(("host", host)))


def test_a_missing_or_repeated_host_is_refused() -> None:
    for headers in ([], [("host", "localhost:51080")] * 2):
        with pytest.raises(PermissionDenied, match="Host"):
            GUARD.authenticate(scope(*headers))


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://localhost:51080", "http://localhost"]
)
def test_foreign_origins_are_refused(origin: str) -> None:
    with pytest.raises(PermissionDenied, match="Origin"):
        GUARD.authenticate(scope(("host", "localhost:51080"), ("origin", origin)))


def test_the_own_origin_is_admitted() -> None:
    request = scope(("host", "localhost:51080"), ("origin", "http://localhost:51080"))
    assert GUARD.authenticate(request) is LOCAL_ADMINISTRATOR


@pytest.mark.parametrize("client", [("10.0.0.7", 5), ("testclient", 5), None])
def test_callers_of_other_hosts_are_refused(client: tuple[str, int] | None) -> None:
    with pytest.raises(Unauthenticated):
        GUARD.authenticate(scope(("host", "localhost:51080"), client=client))


def test_told_so_it_trusts_other_hosts_but_no_page_of_another_site() -> None:
    guard = LocalGuard(port=51080, insecure_anonymous=True)
    far = ("10.0.0.7", 5)
    assert guard.authenticate(scope(("host", "localhost:51080"), client=far)) is LOCAL_ADMINISTRATOR
    with pytest.raises(PermissionDenied, match="Host"):
        guard.authenticate(scope(("host", "evil.example"), client=far))
    with pytest.raises(PermissionDenied, match="Origin"):
        guard.authenticate(scope(("host", "localhost:51080"), ("origin", "http://evil.example"), client=far))


def test_the_default_port_may_be_left_out() -> None:
    assert LocalGuard(port=80).authenticate(scope(("host", "localhost"))) is LOCAL_ADMINISTRATOR
