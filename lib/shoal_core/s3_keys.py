"""The access keys that S3 clients sign with."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shoal_core.access import LOCAL_ADMINISTRATOR, Principal
from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import ConfigurationError

DEFAULT_REGION = "shoal"
"""Any but `us-east-1`, for which boto3 presigns with Signature Version 2 (docs/decisions/0007)."""
ACCESS_KEY_CHARACTERS = 20
SECRET_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One pair. The secret never appears in a log, an error or `repr`."""

    access_key: str
    secret: bytes
    principal: Principal

    def __repr__(self) -> str:
        return f"AccessKey({self.access_key})"


class AccessKeys:
    """All keys of this gateway."""

    def __init__(self, keys: Iterable[AccessKey] = ()) -> None:
        self._keys = {key.access_key: key for key in keys}

    def find(self, access_key: str) -> AccessKey | None:
        return self._keys.get(access_key)

    @staticmethod
    def load(path: Path) -> AccessKeys:
        """The administrator's key, as `shoal up` wrote it. Raises ConfigurationError."""
        written = read_key(path)
        secret = written.secret_access_key.encode()
        return AccessKeys([AccessKey(written.access_key_id, secret, LOCAL_ADMINISTRATOR)])


class WrittenKey(msgspec.Struct, frozen=True):
    """The file: `{"access_key_id": ..., "secret_access_key": ...}`, readable by its owner alone."""

    access_key_id: str
    secret_access_key: str


def read_key(path: Path) -> WrittenKey:
    """Raises ConfigurationError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=WrittenKey)
    except (OSError, *UNDECODABLE) as error:
        raise ConfigurationError(f"the S3 key in {path} cannot be read: {error}") from error


def random_key() -> WrittenKey:
    """As AWS's look: 20 upper-case letters and digits, 40 characters."""
    upper, letters = string.ascii_uppercase + string.digits, string.ascii_letters + string.digits
    return WrittenKey(
        "".join(secrets.choice(upper) for _ in range(ACCESS_KEY_CHARACTERS)),
        "".join(secrets.choice(letters) for _ in range(SECRET_CHARACTERS)),
    )
