"""Service-auth tokens: what is refused before any key is asked for."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import pytest

from api_gateway.auth.service_token import TokenError, check_claims, parse_token
from headwater.keys import Curve, parse_did_key
from simulator.jwt import service_auth
from simulator.keys import signing_key

NOW = 1_700_000_000
AUD = "did:web:gateway.test"
LXM = "app.headwater.user.getStats"
ISS = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
KEY = signing_key("k256", Random(1))


def token(**changes: Any) -> str:
    given = {"key": KEY, "iss": ISS, "aud": AUD, "lxm": LXM, "iat": NOW, "exp": NOW + 60} | changes
    return service_auth(**given)


def raw(header: object, claims: object, signature: bytes = b"s" * 64) -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def refused(text: str) -> str:
    with pytest.raises(TokenError) as caught:
        check_claims(parse_token(text), audience=AUD, method=LXM, now=NOW)
    assert len(text) < 20 or text not in caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(("curve", "kind"), [("k256", Curve.K256), ("p256", Curve.P256)])
def test_a_good_token_is_read(curve: str, kind: Curve) -> None:
    key = signing_key(curve, Random(2))
    parsed = parse_token(token(key=key))
    check_claims(parsed, audience=AUD, method=LXM, now=NOW)
    assert (parsed.curve, parsed.did, parsed.method) == (kind, ISS, LXM)
    assert parse_did_key(key.did_key).verify(parsed.signed, parsed.signature)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "did:web:other.test"}, "token_audience"),
        ({"aud": AUD + "#other"}, "token_audience"),
        ({"lxm": "app.headwater.user.requestBackfill"}, "token_method"),
        ({"lxm": "*"}, "token_method"),
        ({"lxm": None}, "token_malformed"),
        ({"exp": NOW}, "token_expired"),
        ({"exp": NOW - 3600, "iat": NOW - 7200}, "token_expired"),
        ({"exp": NOW + 3600 + 61}, "token_lifetime"),
        ({"iat": NOW + 61, "exp": NOW + 120}, "token_not_yet_valid"),
        ({"iss": "did:plc:"}, "token_issuer"),
        ({"iss": "alice.test"}, "token_issuer"),
        ({"iss": ISS + "#atproto_labeler"}, "token_issuer"),
        ({"algorithm": "none"}, "token_algorithm"),
        ({"algorithm": "HS256"}, "token_algorithm"),
        ({"algorithm": "RS256"}, "token_algorithm"),
        ({"algorithm": "es256k"}, "token_algorithm"),
    ],
)
def test_a_claim_that_is_wrong_refuses_the_token(changes: dict[str, Any], reason: str) -> None:
    assert refused(token(**changes)) == reason


@pytest.mark.parametrize("changes", [{"aud": AUD + "#headwater"}, {"iss": ISS + "#atproto"}, {"exp": NOW + 3600}])
def test_what_the_specification_leaves_open_is_taken(changes: dict[str, Any]) -> None:
    parsed = parse_token(token(**changes))
    check_claims(parsed, audience=AUD, method=LXM, now=NOW)
    assert parsed.did == ISS


GOOD_HEADER = {"alg": "ES256K", "typ": "JWT"}
GOOD_CLAIMS = {"iss": ISS, "aud": AUD, "lxm": LXM, "iat": NOW, "exp": NOW + 60}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a.b.c.d",
        "!.!.!",
        "e30.e30.",
        token() + "=",
        token() + "\n",
        token().replace(".", ". "),
        "A" * 5000,
        raw([], GOOD_CLAIMS),
        raw(GOOD_HEADER, []),
        raw(GOOD_HEADER, "x"),
        raw(GOOD_HEADER | {"crit": ["exp"]}, GOOD_CLAIMS),
        raw(GOOD_HEADER | {"typ": "at+jwt"}, GOOD_CLAIMS),
        raw(GOOD_HEADER | {"typ": "dpop+jwt"}, GOOD_CLAIMS),
        raw(GOOD_HEADER, GOOD_CLAIMS | {"exp": "soon"}),
        raw(GOOD_HEADER, GOOD_CLAIMS | {"exp": True}),
        raw(GOOD_HEADER, GOOD_CLAIMS | {"exp": 1e300}),
        raw(GOOD_HEADER, GOOD_CLAIMS | {"iat": None}),
        raw(GOOD_HEADER, GOOD_CLAIMS | {"aud": [AUD]}),
        raw(GOOD_HEADER, GOOD_CLAIMS | {"iss": 7}),
        "e30." + base64.urlsafe_b64encode(b"[" * 2000).decode().rstrip("=") + ".e30",
    ],
)
def test_a_token_of_another_form_is_refused(text: str) -> None:
    assert refused(text) == "token_malformed"


@pytest.mark.parametrize("algorithm", [7, None, ["ES256K"], {"a": 1}])
def test_an_algorithm_that_is_no_name_is_refused(algorithm: object) -> None:
    assert refused(raw(GOOD_HEADER | {"alg": algorithm}, GOOD_CLAIMS)) == "token_algorithm"


def test_the_fingerprint_does_not_change_with_the_spelling_of_the_signature() -> None:
    """Base64url leaves bits unused at the end: sixteen texts are one signature, and must be one token."""
    text = token()
    # 64 bytes are 86 digits, of whose last only two bits count.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(text[-1])
    spellings = [text[:-1] + alphabet[(last & 0b110000) | low] for low in range(16)]
    parsed = [parse_token(spelling) for spelling in spellings]
    assert {one.signature for one in parsed} == {parse_token(text).signature}
    assert {one.fingerprint for one in parsed} == {parse_token(text).fingerprint}
    assert parse_token(token(jti="other")).fingerprint != parse_token(text).fingerprint
