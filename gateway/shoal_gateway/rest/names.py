"""From the words of a request to a bucket: name from the path, provider and namespace from the query."""

from __future__ import annotations

from shoal_core.errors import BucketNotFound, InvalidName
from shoal_core.names import PROVIDERS, checked_namespace, checked_reference
from shoal_core.objects import BucketReference
from shoal_gateway.call import Call
from shoal_gateway.rest.bucket_properties import Json


def provider_of(call: Call) -> str:
    """`ais` unless the query names another one."""
    given = call.query.get("provider", "")
    if given not in PROVIDERS:
        raise InvalidName(f"provider {given[:40]!r} is not known: use one of ais, aws, gcp, azure, oci")
    return PROVIDERS[given]


def new_reference_of(call: Call, name: str) -> BucketReference:
    """The bucket to be made. Raises InvalidName."""
    return checked_reference(name, provider=provider_of(call), namespace=call.query.get("namespace", ""))


def reference_of(call: Call, name: str) -> BucketReference:
    """The bucket meant. A name that no bucket can have is the name of a bucket that does not exist."""
    provider, namespace = provider_of(call), checked_namespace(call.query.get("namespace", ""))
    try:
        return checked_reference(name, provider=provider, namespace=namespace)
    except InvalidName as error:
        call.bucket = BucketReference(name, provider, namespace)
        raise BucketNotFound(f"{call.bucket} does not exist: {error.message}") from error


def shown_reference(reference: BucketReference) -> dict[str, Json]:
    uuid, _, name = reference.namespace.removeprefix("@").partition("#")
    return {
        "name": reference.name,
        "provider": reference.provider,
        "namespace": {"uuid": uuid, "name": name},
    }
