"""S3 requests signed by botocore, the signer that most clients use."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shoal_gateway.s3.signature import Request

ACCESS_KEY, SECRET, REGION = "AKIDEXAMPLE000000000", "secretsecretsecretsecretsecretsecretsecr", "shoal"
HOST = "127.0.0.1:51080"


@dataclass
class Signer:
    """Signs as an unchanged client does."""

    region: str = REGION
    secret: str = SECRET
    headers: Mapping[str, str] = field(default_factory=dict)

    def signed(
        self, method: str, target: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Request:
        request = AWSRequest(method, f"http://{HOST}{target}", dict(headers or {}), body)
        S3SigV4Auth(Credentials(ACCESS_KEY, self.secret), "s3", self.region).add_auth(request)
        return as_received(request)

    def presigned(
        self, method: str, target: str, *, expires: int = 60, headers: Mapping[str, str] | None = None
    ) -> Request:
        request = AWSRequest(method, f"http://{HOST}{target}", dict(headers or {}))
        S3SigV4QueryAuth(Credentials(ACCESS_KEY, self.secret), "s3", self.region, expires).add_auth(request)
        return as_received(request)


def as_received(request: AWSRequest) -> Request:
    path, _, query = request.url.removeprefix(f"http://{HOST}").partition("?")
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    headers.setdefault("host", HOST)
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request(request.method, path.encode(), query.encode(), encoded)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
