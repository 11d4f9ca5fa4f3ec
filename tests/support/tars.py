"""Tars as Python's own `tarfile` makes them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def tar_of(
    members: Mapping[str, bytes], *, mode: str = "w", format: int = tarfile.PAX_FORMAT, folder: str = ""
) -> bytes:
    """Of files in this order, behind an entry of a folder if one is named. `mode` as for `tarfile.open`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=format) as archive:  # type: ignore[call-overload]
        if folder:
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
