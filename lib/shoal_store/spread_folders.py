"""Folders for new files that ext4 lays far from each other.

ext4 makes a file's inode where its folder lies, and does not use one again that was freed in the last 35 seconds, but
looks at each of them every time. Where a thousand files a second come and go in one folder, that takes ten times as
long as everything else that makes a file; spread over many places of the disk it is not noticed.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

FOLDERS = 64
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_FLAGS = struct.Struct("L")
_TOP_OF_TREE = 0x00020000
"""What is made in such a folder does not belong together (`chattr +T`)."""


def spread_folders(parent: Path) -> list[Path]:
    """New ones in `parent`; it alone where the file system knows no such thing. Raises OSError."""
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        (flags,) = _FLAGS.unpack(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_FLAGS.size)))
        fcntl.ioctl(descriptor, _SET_FLAGS, _FLAGS.pack(flags | _TOP_OF_TREE))
    except OSError:
        return [parent]
    finally:
        os.close(descriptor)
    folders = [parent / f"{number:02x}" for number in range(FOLDERS)]
    for folder in folders:
        folder.mkdir()
    return folders
