"""The formats of archives, by the names that AIStore gives them."""

from __future__ import annotations

from enum import Enum

from shoal_core.errors import InvalidArgument


class ArchiveFormat(Enum):
    """Its value is the extension."""

    TAR = ".tar"
    TAR_GZIP = ".tgz"
    TAR_LZ4 = ".tar.lz4"
    ZIP = ".zip"

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self]

    @property
    def is_compressed_tar(self) -> bool:
        """Its members can be found only by reading all that is before them."""
        return self in (ArchiveFormat.TAR_GZIP, ArchiveFormat.TAR_LZ4)


MEDIA_TYPES = {
    ArchiveFormat.TAR: "application/x-tar",
    ArchiveFormat.TAR_GZIP: "application/gzip",
    ArchiveFormat.TAR_LZ4: "application/x-lz4",
    ArchiveFormat.ZIP: "application/zip",
}

EXTENSIONS = {
    ".tar.gz": ArchiveFormat.TAR_GZIP,
    ".tar.lz4": ArchiveFormat.TAR_LZ4,
    ".tgz": ArchiveFormat.TAR_GZIP,
    ".tar": ArchiveFormat.TAR,
    ".zip": ArchiveFormat.ZIP,
}
KNOWN = ", ".join(sorted(EXTENSIONS))

SNIFFED_BYTES = 512
"""Of the beginning of an archive, what tells its format."""
_MAGICS = (
    (0, b"\x1f\x8b", ArchiveFormat.TAR_GZIP),
    (0, b"\x04\x22\x4d\x18", ArchiveFormat.TAR_LZ4),
    (0, b"PK\x03\x04", ArchiveFormat.ZIP),
    (0, b"PK\x05\x06", ArchiveFormat.ZIP),
    (257, b"ustar", ArchiveFormat.TAR),
)


def format_of_mime(mime: str) -> ArchiveFormat:
    """`.tar`, `tar` or `application/x-tar`. Raises InvalidArgument."""
    given = mime.strip().lower()
    for format, media_type in MEDIA_TYPES.items():
        if given == media_type:
            return format
    found = EXTENSIONS.get(given if given.startswith(".") else f".{given}")
    if found is None:
        raise InvalidArgument(f"archive format {mime[:40]!r} is not known: use one of {KNOWN}")
    return found


def format_of_name(name: str) -> ArchiveFormat | None:
    """By the extension; None when that says nothing."""
    lower = name.lower()
    return next((found for extension, found in EXTENSIONS.items() if lower.endswith(extension)), None)


def format_of_bytes(beginning: bytes) -> ArchiveFormat | None:
    """By the first SNIFFED_BYTES of an archive whose name does not tell."""
    return next((found for at, magic, found in _MAGICS if beginning[at : at + len(magic)] == magic), None)
