"""Keys, and a client that signs with them."""

from __future__ import annotations

import pytest

from shoal_core.access import LOCAL_ADMINISTRATOR
from shoal_core.s3_keys import AccessKey, AccessKeys
from support.s3_signing import ACCESS_KEY, SECRET, Signer


@pytest.fixture
def keys() -> AccessKeys:
    return AccessKeys([AccessKey(ACCESS_KEY, SECRET.encode(), LOCAL_ADMINISTRATOR)])


@pytest.fixture
def signer() -> Signer:
    return Signer()
