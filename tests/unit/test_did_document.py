from __future__ import annotations

import json

import pytest

from headwater import keys
from headwater.did_document import Identity, is_plc, parse_did_document, web_document_url
from headwater.errors import InvalidInputError, Reason

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
# The example keys of https://atproto.com/specs/cryptography and of the legacy form in the DID specification.
K256 = "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"
P256 = "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo"


def document(**changes: object) -> bytes:
    whole: dict[str, object] = {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": DID,
        "alsoKnownAs": ["at://Alice.Example.com"],
        "verificationMethod": [
            {"id": f"{DID}#atproto", "type": "Multikey", "controller": DID, "publicKeyMultibase": K256}
        ],
        "service": [
            {
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "https://pds.example.com",
            }
        ],
    } | changes
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def parsed(**changes: object) -> Identity:
    return parse_did_document(DID, document(**changes))


def service(**changes: object) -> list[object]:
    entry = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example.com"}
    return [entry | changes]


def method(**changes: object) -> list[object]:
    entry = {"id": "#atproto", "type": "Multikey", "controller": DID, "publicKeyMultibase": P256}
    return [entry | changes]


def test_a_common_document() -> None:
    assert parsed() == Identity(
        did=DID,
        handle="alice.example.com",
        pds="https://pds.example.com",
        signing_key=keys.parse_multikey(K256),
        document=document(),
    )


@pytest.mark.parametrize(
    ("names", "handle"),
    [
        (None, None),
        ("at://alice.example.com", None),
        ([], None),
        ([7, {"a": 1}, None], None),
        (["https://alice.example.com"], None),
        (["https://x.example", "at://alice.example.com", "at://bob.example.com"], "alice.example.com"),
        (["at://not a handle", "at://bob.example.com"], None),
        (["at://alice.example.com/path"], None),
        (["at://" + "a." * 200 + "com"], None),
    ],
)
def test_handle(names: object, handle: str | None) -> None:
    assert parsed(alsoKnownAs=names).handle == handle


@pytest.mark.parametrize(
    ("services", "pds"),
    [
        (None, None),
        ({}, None),
        ("#atproto_pds", None),
        (["#atproto_pds", 7, None, []], None),
        (service(id=f"{DID}#atproto_pds"), "https://pds.example.com"),
        (service(id="did:plc:other#atproto_pds"), None),
        (service(id="#bsky_chat"), None),
        (service(type="SomethingElse"), None),
        (service(serviceEndpoint=["https://pds.example.com"]), None),
        (service(serviceEndpoint={"uri": "https://pds.example.com"}), None),
        (service(serviceEndpoint="https://PDS.example.com:443/"), "https://pds.example.com"),
        (service(serviceEndpoint="http://localhost:2583"), "http://localhost:2583"),
        (service(serviceEndpoint="https://pds.example.com/path"), None),
        (service(serviceEndpoint="https://pds.example.com?x=y"), None),
        (service(serviceEndpoint="https://user@pds.example.com"), None),
        (service(serviceEndpoint="ftp://pds.example.com"), None),
        (service(serviceEndpoint="pds.example.com"), None),
        (service(serviceEndpoint="https://pds.example.com\r\nHost: x"), None),
        (service(serviceEndpoint="https://"), None),
        (service(serviceEndpoint=""), None),
        (service(id="#other") + service(), "https://pds.example.com"),
    ],
)
def test_pds(services: object, pds: str | None) -> None:
    assert parsed(service=services).pds == pds


@pytest.mark.parametrize(
    "methods",
    [
        None,
        {},
        ["#atproto", 3],
        method(id="#other"),
        method(id="did:plc:other#atproto"),
        method(controller="did:plc:other"),
        method(type="Ed25519VerificationKey2020"),
        method(type=None),
        method(publicKeyMultibase=None),
        method(publicKeyMultibase=""),
        method(publicKeyMultibase="z" + "1" * 100_000),
        method(publicKeyMultibase=P256[:-1]),
    ],
)
def test_no_usable_key(methods: object) -> None:
    assert parsed(verificationMethod=methods).signing_key is None


def test_keys_of_both_curves_and_the_legacy_type() -> None:
    assert parsed(verificationMethod=method()).signing_key == keys.parse_multikey(P256)
    legacy = parsed(
        verificationMethod=method(
            type="EcdsaSecp256k1VerificationKey2019",
            publicKeyMultibase="zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR",
        )
    ).signing_key
    assert legacy is not None
    assert legacy.curve is keys.Curve.K256


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"{", b"{}", b"[" * 200_000, document(id="did:plc:other")]
)
def test_useless_documents(body: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_did_document(DID, body)
    assert caught.value.reason is Reason.UNRESOLVABLE
    assert len(caught.value.detail) < 300


def test_plc_syntax() -> None:
    assert is_plc(DID)
    for did in ("did:plc:", DID + "a", DID[:-1], DID.upper(), DID[:-1] + "1", "did:web:plc.example", DID + "/../x"):
        assert not is_plc(did)


def test_web_document_urls() -> None:
    assert web_document_url("did:web:alice.example.com") == "https://alice.example.com/.well-known/did.json"
    assert (
        web_document_url("did:web:localhost%3A2583", development=True) == "http://localhost:2583/.well-known/did.json"
    )
    assert web_document_url("did:web:a.b%3a9", development=True) == "https://a.b:9/.well-known/did.json"


@pytest.mark.parametrize(
    "did",
    [
        "did:web:alice.example.com%3A8443",
        "did:web:alice.example.com:users:alice",
        "did:web:alice.example.com%2Fpath",
        "did:web:user%40alice.example.com",
        "did:web:",
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        "did:plc:tooshort",
        "did:web:alice.example.com\n",
    ],
)
def test_other_dids_have_no_document(did: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        web_document_url(did)
    assert caught.value.reason is Reason.UNRESOLVABLE
