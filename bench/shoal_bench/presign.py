"""Presigned URLs in bulk, by botocore, as any S3 user would make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

EXPIRES_SECONDS = 6 * 3600


@dataclass(frozen=True)
class Signer:
    """`endpoint` such as http://127.0.0.1:51080. Without a key the paths are left unsigned (nginx)."""

    endpoint: str
    access_key: str = ""
    secret: str = ""
    region: str = ""

    def path(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> str:
        """What follows host and port in a URL for this request."""
        target = f"{path}?{urlencode(query)}" if query else path
        if not self.access_key:
            return target
        request = AWSRequest(method, f"{self.endpoint}{target}")
        credentials = Credentials(self.access_key, self.secret)
        S3SigV4QueryAuth(credentials, "s3", self.region, EXPIRES_SECONDS).add_auth(request)
        return str(request.url).removeprefix(self.endpoint)

    def paths(self, method: str, paths: Iterable[str]) -> list[str]:
        return [self.path(method, path) for path in paths]


@dataclass(frozen=True)
class Plain(Signer):
    """Paths as they are, under `prefix`."""

    prefix: str = ""

    def path(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> str:
        return f"{self.prefix}{path}" + (f"?{urlencode(query)}" if query else "")
