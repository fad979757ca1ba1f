"""Signing keys of accounts: k256 and p256, deterministic signatures with low S.

Source: https://atproto.com/specs/cryptography
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from hashlib import sha256
from random import Random

import coincurve
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_K256_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class SigningKey(ABC):
    """A private key; `algorithm` is its name in a JWT."""

    algorithm: str
    _multicodec: bytes

    @abstractmethod
    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature (r, then a low s) of the message's sha-256."""

    @abstractmethod
    def _public(self) -> bytes:
        """The compressed public key, 33 bytes."""

    @property
    def multibase(self) -> str:
        """The public key as a DID document's publicKeyMultibase holds it."""
        return "z" + _base58(self._multicodec + self._public())

    @property
    def did_key(self) -> str:
        return "did:key:" + self.multibase


class K256Key(SigningKey):
    algorithm = "ES256K"
    _multicodec = b"\xe7\x01"

    def __init__(self, secret: bytes) -> None:
        self._key = coincurve.PrivateKey(secret)

    def sign(self, message: bytes) -> bytes:
        # libsecp256k1 signs with RFC 6979 nonces and a low s by itself.
        return self._key.sign_recoverable(message, hasher=lambda text: sha256(text).digest())[:64]

    def _public(self) -> bytes:
        return self._key.public_key.format(compressed=True)


class P256Key(SigningKey):
    algorithm = "ES256"
    _multicodec = b"\x80\x24"

    def __init__(self, secret: bytes) -> None:
        self._key = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())

    def sign(self, message: bytes) -> bytes:
        der = self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(der)
        return r.to_bytes(32, "big") + min(s, _P256_ORDER - s).to_bytes(32, "big")

    def _public(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


_CURVES = {"k256": (K256Key, _K256_ORDER), "p256": (P256Key, _P256_ORDER)}


def signing_key(curve: str, rng: Random) -> SigningKey:
    """A key of the curve (`k256` or `p256`), the same for the same state of `rng`."""
    kind, order = _CURVES[curve]
    return kind(rng.randrange(1, order).to_bytes(32, "big"))


def _base58(content: bytes) -> str:
    number = int.from_bytes(content, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(content) - len(content.lstrip(b"\0"))) + text
