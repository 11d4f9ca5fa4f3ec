"""How much of what was sent on a connection its client has not taken yet, as the kernel counts it."""

from __future__ import annotations

import fcntl
import struct
import termios

COUNT = struct.Struct("i")


def unsent_in_kernel(descriptor: int) -> int:
    """Bytes that the other side has not acknowledged; 0 when the connection is gone.

    A full socket becomes writable again only when a good part of its buffer is free, some megabytes: a client that is
    slow and steady seems to stand still for minutes to who only looks at what can be written.
    """
    if descriptor < 0:
        return 0
    try:
        (count,) = COUNT.unpack(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(COUNT.size)))
    except OSError:
        return 0
    return int(count)
