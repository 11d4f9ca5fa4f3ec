"""`aws-chunked` bodies as AWS's documents describe their sender."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class ChunkSigner:
    key: bytes
    scope: str
    time: str
    seed: str
    """The signature of the request's head."""

    def body(self, chunks: Sequence[bytes], trailers: Mapping[str, str] | None = None) -> bytes:
        body, previous = b"", self.seed
        for chunk in [*chunks, b""]:
            digest = hashlib.sha256(chunk).hexdigest()
            previous = self._signature("AWS4-HMAC-SHA256-PAYLOAD", previous, f"{EMPTY_SHA256}\n{digest}")
            body += b"%x;chunk-signature=%s\r\n" % (len(chunk), previous.encode())
            body += chunk + b"\r\n" if chunk else b""
        if trailers is None:
            return body + b"\r\n"
        text = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        digest = hashlib.sha256(text.encode()).hexdigest()
        last = self._signature("AWS4-HMAC-SHA256-TRAILER", previous, digest)
        return body + text.replace("\n", "\r\n").encode() + f"x-amz-trailer-signature:{last}\r\n\r\n".encode()

    def _signature(self, algorithm: str, previous: str, text: str) -> str:
        to_sign = f"{algorithm}\n{self.time}\n{self.scope}\n{previous}\n{text}"
        return hmac.digest(self.key, to_sign.encode(), "sha256").hex()


def unsigned_body(chunks: Sequence[bytes], trailers: Mapping[str, str]) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n"
    return body + "".join(f"{name}:{value}\r\n" for name, value in trailers.items()).encode() + b"\r\n"
