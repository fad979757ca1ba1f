"""Public keys of accounts: the forms in which DID documents write them, and what a signature has to look like.

Two curves (https://atproto.com/specs/cryptography): secp256k1 ("k256") and NIST P-256 ("p256"). A signature is the
64 bytes r, s over sha256(message), with s in the lower half of the order: a second valid signature that anybody
could compute from the first is refused, and so is DER.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import coincurve
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from headwater.errors import InvalidInputError, Reason


class Curve(StrEnum):
    """The elliptic curve of a key."""

    K256 = "k256"
    P256 = "p256"


SIGNATURE_BYTES: Final = 64
_COMPRESSED_BYTES: Final = 33
_UNCOMPRESSED: Final = 4
# First byte and length of a SEC1 point; the hybrid forms 6 and 7, which libsecp256k1 would take, are left out.
_POINT_FORMS: Final = {(b"\x02", 33), (b"\x03", 33), (b"\x04", 65)}
# https://github.com/multiformats/multicodec: secp256k1-pub 0xe7 and p256-pub 0x1200, as varints.
_MULTICODEC: Final = {b"\xe7\x01": Curve.K256, b"\x80\x24": Curve.P256}
_K256_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# Numbers of 32 bytes are in the order of their bytes. Of each curve what r is below, and what s is at most.
_NONE: Final = bytes(32)
_K256_BOUNDS: Final = _K256_ORDER.to_bytes(32, "big"), (_K256_ORDER // 2).to_bytes(32, "big")
_P256_BOUNDS: Final = _P256_ORDER.to_bytes(32, "big"), (_P256_ORDER // 2).to_bytes(32, "big")
# Tags and lengths of DER integers and of a sequence of two, by their length.
_INTEGER: Final = tuple(bytes((0x02, length)) for length in range(34))
_SEQUENCE: Final = tuple(bytes((0x30, length)) for length in range(71))
# Verification methods from before Multikey: the type names the curve, the key has no multicodec prefix.
_LEGACY_METHODS: Final = {
    "EcdsaSecp256k1VerificationKey2019": Curve.K256,
    "EcdsaSecp256r1VerificationKey2019": Curve.P256,
}
_BASE58: Final = {
    character: index for index, character in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
# An uncompressed key is 65 bytes, so 90 characters; what is longer is no key, and base58 costs quadratic time.
_MAX_MULTIBASE_LENGTH: Final = 100
_ECDSA_SHA256: Final = ec.ECDSA(SHA256())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: the curve and the point in its 33-byte compressed form, equal when both are."""

    curve: Curve
    point: bytes
    _k256: coincurve.PublicKey | None = field(default=None, compare=False, repr=False)
    _p256: ec.EllipticCurvePublicKey | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_point(cls, curve: Curve, point: bytes) -> PublicKey:
        """Make a key of a compressed or uncompressed SEC1 point.

        Raises InvalidInputError(NO_KEY) when it is not a point of the curve.
        """
        if (point[:1], len(point)) not in _POINT_FORMS:
            raise InvalidInputError(Reason.NO_KEY, f"no SEC1 point: {len(point)} bytes")
        compressed = bytes((2 + (point[-1] & 1),)) + point[1:33] if point[0] == _UNCOMPRESSED else point
        try:
            if curve is Curve.K256:
                return cls(curve, compressed, _k256=coincurve.PublicKey(point))
            return cls(curve, compressed, _p256=ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
        except ValueError:
            raise InvalidInputError(Reason.NO_KEY, f"no point of {curve}") from None

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes, low s) is this key's over sha256 of ``message``."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        r, s = signature[:32], signature[32:]
        order, half = _P256_BOUNDS if self._k256 is None else _K256_BOUNDS
        if not _NONE < r < order or not _NONE < s <= half:
            return False
        numbers = _der_integer(r) + _der_integer(s)
        der = _SEQUENCE[len(numbers)] + numbers
        if self._k256 is not None:
            return self._k256.verify(der, message)
        return self._p256 is not None and _verify_p256(self._p256, der, message)


def _der_integer(number: bytes) -> bytes:
    """A number above 0 in its one DER encoding: as short as can be, without a sign (ITU-T X.690, 8.3)."""
    digits = number.lstrip(b"\0")
    if digits[0] > 0x7F:
        digits = b"\0" + digits
    return _INTEGER[len(digits)] + digits


def _verify_p256(key: ec.EllipticCurvePublicKey, der: bytes, message: bytes) -> bool:
    try:
        key.verify(der, message, _ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True


def parse_did_key(text: str) -> PublicKey:
    """Parse ``did:key:z…`` (https://w3c-ccg.github.io/did-key-spec/).

    Raises InvalidInputError(NO_KEY).
    """
    if not text.startswith("did:key:"):
        raise InvalidInputError(Reason.NO_KEY, "not a did:key")
    return parse_multikey(text.removeprefix("did:key:"))


def parse_multikey(text: str) -> PublicKey:
    """Parse a ``publicKeyMultibase`` of a Multikey: base58btc of a multicodec prefix and a compressed point.

    Raises InvalidInputError(NO_KEY).
    """
    decoded = _decode_base58btc(text)
    curve = _MULTICODEC.get(decoded[:2])
    if curve is None or len(decoded) != 2 + _COMPRESSED_BYTES:
        raise InvalidInputError(Reason.NO_KEY, "neither a compressed k256 nor p256 key")
    return PublicKey.from_point(curve, decoded[2:])


def parse_verification_method(method_type: str, public_key_multibase: str) -> PublicKey:
    """The key of a DID document's verification method, in today's or the legacy form.

    Legacy methods (https://atproto.com/specs/did#public-key-format) carry a bare point, mostly uncompressed.
    Raises InvalidInputError(NO_KEY) for other types and for what is no key.
    """
    if method_type == "Multikey":
        return parse_multikey(public_key_multibase)
    curve = _LEGACY_METHODS.get(method_type)
    if curve is None:
        raise InvalidInputError(Reason.NO_KEY, f"verification method type {method_type[:60]!r}")
    return PublicKey.from_point(curve, _decode_base58btc(public_key_multibase))


def _decode_base58btc(text: str) -> bytes:
    if not text.startswith("z") or len(text) > _MAX_MULTIBASE_LENGTH:
        raise InvalidInputError(Reason.NO_KEY, "not multibase base58btc")
    digits = text[1:]
    number = 0
    for character in digits:
        digit = _BASE58.get(character)
        if digit is None:
            raise InvalidInputError(Reason.NO_KEY, "not base58")
        number = number * 58 + digit
    zeros = len(digits) - len(digits.lstrip("1"))
    return b"\x00" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
