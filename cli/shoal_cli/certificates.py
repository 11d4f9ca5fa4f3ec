"""`shoal certificates`: what the processes of a cluster must have in their hands before any of them starts.

`shoal up` does this for itself. Where something else starts the processes (Docker Compose), this runs once before
them, at every start: it makes what is missing, renews what is nearly over, and leaves the rest alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from cryptography import x509

from shoal_cli.output import complain, print_line
from shoal_core.certificates import (
    AUTHORITY_CERTIFICATE,
    AUTHORITY_KEY,
    NODE_CERTIFICATE,
    ROLES,
    ClusterAuthority,
    host_name,
    needs_renewal,
    read_certificate,
    read_file,
    write_file,
)
from shoal_core.errors import ConfigurationError
from shoal_core.s3_keys import random_key, read_key

EXIT_CONFIGURATION = 2
S3_KEY_FILE = "s3-administrator.json"

FolderOption = Annotated[
    Path, typer.Option("--folder", help="Where each member's certificate goes, as FOLDER/<name>/node.pem.")
]
AuthorityOption = Annotated[
    Path, typer.Option("--authority", help="Where the authority's key is kept; no other process needs it.")
]
ClusterOption = Annotated[
    str, typer.Option("--cluster-id", help="The cluster that the certificates are for.")
]
MembersArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="ROLE:NAME[=HOST,...]...",
        help=f"A member, and more host names that it answers to; roles are {', '.join(ROLES)}.",
    ),
]


@dataclass(frozen=True, slots=True)
class MemberWish:
    """One certificate: valid for the member's own name, because that is its host name, and for `hosts`."""

    role: str
    name: str
    hosts: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> MemberWish:
        member, _, hosts = text.partition("=")
        role, _, name = member.partition(":")
        if role not in ROLES or not name:
            raise ConfigurationError(
                f"{text!r} is not a member: write ROLE:NAME or ROLE:NAME=HOST,..., where ROLE is one of "
                f"{', '.join(ROLES)}"
            )
        return MemberWish(role, name, (name, *filter(None, hosts.split(","))))


def register(app: typer.Typer) -> None:
    app.command("certificates")(certificates)


def certificates(
    members: MembersArgument, folder: FolderOption, authority: AuthorityOption, cluster_id: ClusterOption
) -> None:
    """Make the authority, the members' certificates and the S3 administrator's key, where they are missing.

    For clusters that `shoal up` does not start. Run it again before every start: it renews certificates of which
    less than 30 days are left, and changes nothing else.
    """
    try:
        wishes = [MemberWish.parse(text) for text in members]
        made = settle(wishes, folder, authority=authority, cluster_id=cluster_id)
    except (ConfigurationError, OSError) as error:
        complain(error.message if isinstance(error, ConfigurationError) else str(error))
        raise typer.Exit(EXIT_CONFIGURATION) from error
    print_line(f"made {', '.join(made)}" if made else "nothing to do")


def settle(wishes: Sequence[MemberWish], folder: Path, *, authority: Path, cluster_id: str) -> list[str]:
    """Names of what was made. Raises ConfigurationError."""
    made = []
    if not (authority / AUTHORITY_KEY).exists():
        made.append("authority")
        ClusterAuthority.create(authority, cluster_id)
    signer = ClusterAuthority.load(authority)
    if signer.cluster_id != cluster_id:
        raise ConfigurationError(
            f"{authority} belongs to cluster {signer.cluster_id}, not to {cluster_id}: put the files of one "
            "cluster together"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    public = read_file(authority / AUTHORITY_CERTIFICATE)
    if not is_content(folder / AUTHORITY_CERTIFICATE, public):
        write_file(folder / AUTHORITY_CERTIFICATE, public, mode=0o644)
    for wish in wishes:
        place = folder / wish.name
        if (
            not is_content(place / AUTHORITY_CERTIFICATE, public)
            or needs_renewal(place)
            or lacks(place, wish)
        ):
            signer.issue(place, wish.role, wish.name, hosts=wish.hosts)
            made.append(wish.name)
    if settle_s3_key(folder / S3_KEY_FILE):
        made.append("S3 key")
    return made


def settle_s3_key(path: Path) -> bool:
    """Whether it was made now. One that cannot be read is an error: clients may have its copy."""
    if path.exists():
        read_key(path)
        return False
    write_file(path, msgspec.json.encode(random_key()), mode=0o600)
    return True


def lacks(place: Path, wish: MemberWish) -> bool:
    """Whether the certificate is of another member, or not valid for all of the wished hosts."""
    names = read_certificate(place / NODE_CERTIFICATE).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    identities = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    is_other = not any(uri.endswith(f"/{wish.role}/{wish.name}") for uri in identities)
    return is_other or any(host_name(host) not in names.value for host in wish.hosts)


def is_content(path: Path, content: bytes) -> bool:
    return os.path.exists(path) and read_file(path) == content
