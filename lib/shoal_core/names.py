"""Names that users give: which buckets, namespaces and objects may be called what."""

from __future__ import annotations

import re

from shoal_core.errors import InvalidName
from shoal_core.objects import OBJECT_NAME_BYTES_MAX, BucketReference

PROVIDERS = {"": "ais", "ais": "ais", "s3": "aws", "aws": "aws", "gs": "gcp", "gcp": "gcp"} | {
    "az": "azure",
    "azure": "azure",
    "oc": "oci",
    "oci": "oci",
}
"""What users write, and the provider that it means."""
BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
NAMESPACE = re.compile(r"(@[A-Za-z0-9_-]{1,64})?(#[A-Za-z0-9_-]{1,64})?")


def checked_reference(name: str, *, provider: str = "", namespace: str = "") -> BucketReference:
    """Raises InvalidName with the rule that is broken."""
    if provider not in PROVIDERS:
        raise InvalidName(f"provider {provider[:40]!r} is not known: use one of ais, aws, gcp, azure, oci")
    if not BUCKET_NAME.fullmatch(name) or ".." in name:
        raise InvalidName(
            f"bucket name {name[:80]!r} is not allowed: 1 to 63 letters, digits, '.', '_' and '-', "
            "starting with a letter or digit, without '..'",
            name=name[:80],
        )
    return BucketReference(name, PROVIDERS[provider], checked_namespace(namespace))


def checked_namespace(namespace: str) -> str:
    """AIStore's `@uuid#name`, in its shortest form: the official SDK writes `@#name` for `#name`, and the global one,
    which is "" here, in four ways."""
    if namespace.startswith("@#"):
        namespace = namespace[1:]
    namespace = namespace.removesuffix("#")
    if namespace in ("", "@"):
        return ""
    if not NAMESPACE.fullmatch(namespace):
        raise InvalidName(
            f"namespace {namespace[:80]!r} is not allowed: write '#name' or '@cluster#name' with letters, "
            "digits, '_' and '-'",
            name=namespace[:80],
        )
    return namespace


def checked_object_name(name: str) -> str:
    """Byte-exact otherwise: `..`, a leading `/` and `//` are just characters, names never become paths."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidName("an object name must be valid UTF-8") from error
    if not 1 <= length <= OBJECT_NAME_BYTES_MAX:
        raise InvalidName(
            f"an object name has 1 to {OBJECT_NAME_BYTES_MAX} bytes of UTF-8, this one {length}"
        )
    if "\0" in name:
        raise InvalidName("an object name must not contain NUL")
    return name
