"""S3 requests that no client would send: signed by botocore, then bent, and sent byte for byte as they are."""

from __future__ import annotations

import hmac
import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.aws_chunks import ChunkSigner
from support.cluster import Cluster


@dataclass
class Answer:
    status: int
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def code(self) -> str:
        """Of S3's error document."""
        return ElementTree.fromstring(self.body).findtext("Code") or ""


@dataclass
class Sent:
    """A signed request that can still be changed."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class RawS3:
    cluster: Cluster
    bucket: str
    secret: str = ""
    region: str = ""
    variables: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.variables = self.cluster.environment()
        self.secret = self.secret or self.variables["AWS_SECRET_ACCESS_KEY"]
        self.region = self.region or self.variables["AWS_REGION"]

    def signed(
        self, method: str, key: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Sent:
        request = AWSRequest(method, self._url(key), dict(headers or {}), body)
        signer = S3SigV4Auth(self._credentials(), "s3", self.region)
        if given := request.headers.get("x-amz-content-sha256"):
            # Left to itself, it signs the digest of the body in its place.
            signer.payload = lambda _: given
        signer.add_auth(request)
        return self._sent(request, body)

    def presigned(
        self, method: str, key: str, *, expires: int = 60, headers: Mapping[str, str] | None = None
    ) -> Sent:
        request = AWSRequest(method, self._url(key), dict(headers or {}))
        S3SigV4QueryAuth(self._credentials(), "s3", self.region, expires).add_auth(request)
        return self._sent(request, b"")

    def chunked(self, key: str, *, length: int, payload: str, trailer: str = "") -> tuple[Sent, ChunkSigner]:
        """The head of an aws-chunked PUT of `length` bytes, and who signs its chunks."""
        headers = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(length),
            "x-amz-content-sha256": payload,
        }
        if trailer:
            headers["x-amz-trailer"] = trailer
        sent = self.signed("PUT", key, headers=headers)
        authorization = sent.headers["Authorization"]
        credential = authorization.split("Credential=")[1].split(",")[0]
        scope, seed = credential.split("/", 1)[1], authorization.split("Signature=")[1]
        signing_key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            signing_key = hmac.digest(signing_key, part.encode(), "sha256")
        return sent, ChunkSigner(signing_key, scope, sent.headers["X-Amz-Date"], seed)

    def send(self, sent: Sent) -> Answer:
        place = urlsplit(self.variables["AWS_ENDPOINT_URL"])
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        try:
            connection.request(sent.method, sent.target, sent.body or None, sent.headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.headers)
        finally:
            connection.close()

    def _url(self, key: str) -> str:
        return f"{self.variables['AWS_ENDPOINT_URL']}/{self.bucket}{key}"

    def _credentials(self) -> Credentials:
        return Credentials(self.variables["AWS_ACCESS_KEY_ID"], self.secret)

    def _sent(self, request: AWSRequest, body: bytes) -> Sent:
        headers = {name: str(value) for name, value in request.headers.items()}
        target = request.url.removeprefix(self.variables["AWS_ENDPOINT_URL"])
        return Sent(request.method, target, headers, body)
