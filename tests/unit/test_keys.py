from __future__ import annotations

import base64
from typing import Any

import coincurve
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from headwater.errors import InvalidInputError, Reason
from headwater.keys import Curve, PublicKey, parse_did_key, parse_multikey, parse_verification_method
from shared_inputs import needs_inputs, read_json

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ORDER_K256 = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECRET = coincurve.PrivateKey(b"\x07" * 32)
KEY = PublicKey.from_point(Curve.K256, SECRET.public_key.format(compressed=True))


def _multibase(point: bytes) -> str:
    number, digits = int.from_bytes(point, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = ALPHABET[digit] + digits
    return "z" + "1" * (len(point) - len(point.lstrip(b"\x00"))) + digits


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _unbase58(text: str) -> bytes:
    number = 0
    for character in text:
        number = number * 58 + ALPHABET.index(character)
    return number.to_bytes(32, "big")


@needs_inputs
@pytest.mark.parametrize("case", read_json("interop/crypto/signature-fixtures.json"), ids=lambda case: case["comment"])
def test_signature_fixtures(case: dict[str, Any]) -> None:
    message, signature = _unpadded(case["messageBase64"]), _unpadded(case["signatureBase64"])
    modern = parse_did_key(case["publicKeyDid"])
    legacy = parse_verification_method(case["didDocSuite"], case["publicKeyMultibase"])
    assert modern == legacy
    assert modern.verify(message, signature) is case["validSignature"]


@needs_inputs
@pytest.mark.parametrize(
    "case", read_json("interop/crypto/w3c_didkey_K256.json"), ids=lambda case: case["publicDidKey"]
)
def test_k256_did_keys(case: dict[str, str]) -> None:
    secret = coincurve.PrivateKey(bytes.fromhex(case["privateKeyBytesHex"]))
    assert parse_did_key(case["publicDidKey"]).point == secret.public_key.format(compressed=True)


@needs_inputs
@pytest.mark.parametrize(
    "case", read_json("interop/crypto/w3c_didkey_P256.json"), ids=lambda case: case["publicDidKey"]
)
def test_p256_did_keys(case: dict[str, str]) -> None:
    secret = ec.derive_private_key(int.from_bytes(_unbase58(case["privateKeyBytesBase58"]), "big"), ec.SECP256R1())
    point = secret.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    key = parse_did_key(case["publicDidKey"])
    assert (key.curve, key.point) == (Curve.P256, point)


def test_all_written_forms_of_a_key_are_equal() -> None:
    p256 = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    for curve, codec, legacy_type, compressed, uncompressed in (
        (
            Curve.K256,
            b"\xe7\x01",
            "EcdsaSecp256k1VerificationKey2019",
            SECRET.public_key.format(compressed=True),
            SECRET.public_key.format(compressed=False),
        ),
        (
            Curve.P256,
            b"\x80\x24",
            "EcdsaSecp256r1VerificationKey2019",
            p256.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
            p256.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        ),
    ):
        multikey = _multibase(codec + compressed)
        forms = {
            parse_multikey(multikey),
            parse_did_key("did:key:" + multikey),
            parse_verification_method("Multikey", multikey),
            parse_verification_method(legacy_type, _multibase(uncompressed)),
            parse_verification_method(legacy_type, _multibase(compressed)),
        }
        assert forms == {PublicKey(curve, compressed)}


def test_a_signature_is_for_one_message_and_one_key() -> None:
    signature = SECRET.sign_recoverable(b"message")[:64]
    other = PublicKey.from_point(Curve.K256, coincurve.PrivateKey(b"\x08" * 32).public_key.format())
    assert KEY.verify(b"message", signature)
    assert not KEY.verify(b"massage", signature)
    assert not other.verify(b"message", signature)


def test_numbers_of_every_length_and_sign() -> None:
    """Signing is deterministic: among these are numbers that begin with a zero byte, and with a high bit."""
    signatures = {message: SECRET.sign_recoverable(message)[:64] for message in (b"%d" % n for n in range(1500))}
    assert all(KEY.verify(message, signature) for message, signature in signatures.items())
    firsts = {(one[0] == 0, one[1] > 0x7F) for signature in signatures.values() for one in (signature, signature[32:])}
    assert len(firsts) == 4


def test_signatures_of_other_shapes_are_refused() -> None:
    recoverable = SECRET.sign_recoverable(b"message")
    r, s = recoverable[:32], recoverable[32:64]
    high = (ORDER_K256 - int.from_bytes(s, "big")).to_bytes(32, "big")
    order = ORDER_K256.to_bytes(32, "big")
    for signature in (
        b"",
        r + s[:-1],
        recoverable,
        SECRET.sign(b"message"),
        r + high,
        bytes(64),
        r + bytes(32),
        bytes(32) + s,
        order + s,
        r + order,
        b"\xff" * 64,
    ):
        assert not KEY.verify(b"message", signature)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "z",
        "did:key:",
        "did:key:z",
        "did:web:example.com",
        "did:key:u" + _multibase(b"\xe7\x01" + KEY.point)[1:],
        "did:key:" + _multibase(b"\xed\x01" + bytes(32)),
        "did:key:" + _multibase(b"\xe7\x01" + KEY.point[:-1]),
        "did:key:" + _multibase(b"\xe7\x01" + SECRET.public_key.format(compressed=False)),
        "did:key:" + _multibase(b"\xe7\x01\x02" + b"\xff" * 32),
        "did:key:" + _multibase(b"\x80\x24\x02" + b"\xff" * 32),
        "did:key:" + _multibase(b"\xe7\x01" + KEY.point) + "0",
        "did:key:z" + "2" * 1_000_000,
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_did_key(text)
    assert refused.value.reason is Reason.NO_KEY


@pytest.mark.parametrize(
    ("method_type", "point"),
    [
        ("Ed25519VerificationKey2020", KEY.point),
        ("EcdsaSecp256k1VerificationKey2019", b"\x06" + SECRET.public_key.format(compressed=False)[1:]),
        ("EcdsaSecp256k1VerificationKey2019", b""),
        ("Multikey", KEY.point),
    ],
)
def test_verification_methods_that_give_no_key(method_type: str, point: bytes) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_verification_method(method_type, _multibase(point))
    assert refused.value.reason is Reason.NO_KEY
