"""The key of a confidential client: made at the first start, kept in HEADWATER_HOME."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from api_gateway.oauth.jose import key_from_pem, key_to_pem, new_key
from api_gateway.secret_file import read_or_make
from headwater.errors import InvariantError

FILE_NAME: Final = "oauth-client-key.pem"


def load_client_key(home: Path) -> ec.EllipticCurvePrivateKey:
    """The key in ``home``/oauth-client-key.pem. All gateways of one public URL need the same file.

    Raises InvariantError for a file that holds no such key, OSError when it cannot be made or read.
    """
    path = home / FILE_NAME
    pem = read_or_make(path, lambda: key_to_pem(new_key()))
    try:
        return key_from_pem(pem)
    except ValueError as error:
        raise InvariantError(f"{path} holds no P-256 key; remove it, and the next start makes one") from error
