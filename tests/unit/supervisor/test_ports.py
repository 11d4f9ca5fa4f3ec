"""Which ports count as free, and which are chosen."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from shoal_cli.supervisor.ports import EPHEMERAL_RANGE, PortChooser, first_ephemeral_port, is_free
from shoal_core.errors import ConfigurationError


@pytest.fixture(params=["plain", "reuse_port", "any_address"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket() as listening:
        if request.param == "reuse_port":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("0.0.0.0" if request.param == "any_address" else "127.0.0.1", 0))
        listening.listen()
        yield listening


def test_a_port_with_a_listener_is_not_free(listener: socket.socket) -> None:
    assert not is_free(listener.getsockname()[1])


def test_a_port_whose_listener_closed_with_connections_left_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listening.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
            assert client.recv(1) == b""
    assert is_free(port)


def test_a_preferred_port_is_kept_while_it_is_free() -> None:
    free = PortChooser().choose(preferred=0)
    assert PortChooser().choose(preferred=free) == free


def test_a_preferred_port_that_is_taken_moves(listener: socket.socket) -> None:
    taken = listener.getsockname()[1]
    assert PortChooser().choose(preferred=taken) != taken


def test_no_port_is_given_twice() -> None:
    chooser = PortChooser()
    first = chooser.choose(preferred=0)
    assert chooser.choose(preferred=first) != first


def test_chosen_ports_lie_below_those_of_outgoing_connections() -> None:
    assert PortChooser().choose(preferred=0) < max(first_ephemeral_port(), 22_000)
    assert first_ephemeral_port() == int(EPHEMERAL_RANGE.read_text().split()[0])


def test_without_a_free_port_the_user_is_told() -> None:
    chooser = PortChooser()
    chooser.taken.update(range(65536))
    with pytest.raises(ConfigurationError, match="no free port"):
        chooser.choose(preferred=0)
