"""`aws-chunked` bodies: signed or not, with trailers or not, decoded from whatever pieces the network delivers.

Format: `<hex length>[;chunk-signature=<64 hex>]\\r\\n<data>\\r\\n`, ended by a chunk of length 0, then trailers
`name:value\\r\\n` (with `x-amz-trailer-signature` when signed) and an empty line. From AWS's "Signature Calculations:
Transferring Payload in Multiple Chunks" and "... with trailing headers".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator

from shoal_gateway.s3.errors import S3Error
from shoal_gateway.s3.signature import Verified

CHUNK_BYTES_MAX = 16 << 20
LINE_BYTES_MAX = 4096
TRAILERS_MAX = 8
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class ChunkedBody:
    """An async iterator of the decoded bytes; `trailers` is filled when it has ended."""

    def __init__(self, source: AsyncIterator[bytes], verified: Verified) -> None:
        self._source = source
        self._verified = verified
        self._signed = not verified.payload.startswith("STREAMING-UNSIGNED")
        self._with_trailers = verified.payload.endswith("-TRAILER")
        self._previous = verified.signature
        self._buffer = bytearray()
        self.trailers: dict[str, str] = {}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while length := await self._chunk_header():
            data = await self._exactly(length)
            self._check_chunk(data)
            if await self._exactly(2) != b"\r\n":
                raise incomplete("a chunk does not end where its length says")
            yield data
        self._check_chunk(b"")
        await self._read_trailers()
        if self._buffer or await self._more():
            raise incomplete("bytes follow its end")

    async def _chunk_header(self) -> int:
        line = await self._line()
        size, _, extension = line.partition(";")
        if not size or len(size) > 8 or any(c not in "0123456789abcdefABCDEF" for c in size):
            raise incomplete("a chunk's length is not a hexadecimal number")
        if (length := int(size, 16)) > CHUNK_BYTES_MAX:
            raise S3Error("InvalidRequest", f"A chunk may have at most {CHUNK_BYTES_MAX} bytes.")
        self._claimed = extension.removeprefix("chunk-signature=") if self._signed else ""
        return length

    def _check_chunk(self, data: bytes) -> None:
        if self._signed:
            digest = hashlib.sha256(data).hexdigest()
            self._check("AWS4-HMAC-SHA256-PAYLOAD", f"{EMPTY_SHA256}\n{digest}", self._claimed)

    def _check(self, algorithm: str, text: str, claimed: str) -> None:
        to_sign = f"{algorithm}\n{self._verified.timestamp}\n{self._verified.scope}\n{self._previous}\n{text}"
        expected = hmac.digest(self._verified.signing_key, to_sign.encode(), "sha256").hex()
        if not hmac.compare_digest(expected.encode(), claimed.encode()):
            raise S3Error("SignatureDoesNotMatch", "The signature of a chunk does not match its bytes.")
        self._previous = expected

    async def _read_trailers(self) -> None:
        """AWS's clients end the trailers by an empty line; some end the body after the last chunk's line."""
        signed_text, signature = "", ""
        while line := await self._line(last=True):
            name, colon, value = line.partition(":")
            name = name.strip(" \t").lower()
            if not colon or len(self.trailers) >= TRAILERS_MAX:
                raise S3Error("MalformedTrailerError", "A trailer must be `name:value`.")
            if name == "x-amz-trailer-signature":
                signature = value.strip(" \t")
            else:
                self.trailers[name] = value.strip(" \t")
                signed_text += f"{name}:{self.trailers[name]}\n"
        if self._signed and self._with_trailers:
            digest = hashlib.sha256(signed_text.encode()).hexdigest()
            self._check("AWS4-HMAC-SHA256-TRAILER", digest, signature)

    async def _line(self, *, last: bool = False) -> str:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LINE_BYTES_MAX:
                raise S3Error("InvalidRequest", "A chunk header or trailer is too long.")
            if not await self._more():
                if last and not self._buffer:
                    return ""
                raise incomplete("the body ended inside a chunk header")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if not line.endswith(b"\r"):
            raise incomplete("a line does not end with CR and LF")
        return line[:-1].decode("latin-1")

    async def _exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            if not await self._more():
                raise incomplete("the body ended inside a chunk")
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data

    async def _more(self) -> bool:
        piece = await anext(self._source, None)
        if piece is None:
            return False
        self._buffer += piece
        return True


def incomplete(what: str) -> S3Error:
    return S3Error("IncompleteBody", f"The aws-chunked body is not what its headers say: {what}.")
