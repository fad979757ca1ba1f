"""The pure parts of the OAuth client, each held against another implementation or the specification's own example."""

from __future__ import annotations

import base64
import stat
import time
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from pydantic import ValidationError

from api_gateway.auth.login_limits import LoginLimits, network_of
from api_gateway.auth.same_origin import is_own_page
from api_gateway.oauth import jose
from api_gateway.oauth.client import OAuthClient
from api_gateway.oauth.client_key import FILE_NAME, load_client_key
from api_gateway.oauth.errors import OAuthError, OAuthReason
from api_gateway.oauth.server_metadata import issuer_of_resource, parse_issuer, parse_server
from api_gateway.problems import Problem
from api_gateway.settings import GatewaySettings
from api_gateway.token_buckets import TokenBuckets
from headwater.errors import InvariantError

ISSUER = "https://auth.example"
SERVER: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/oauth/authorize",
    "token_endpoint": f"{ISSUER}/oauth/token",
    "pushed_authorization_request_endpoint": f"{ISSUER}/oauth/par",
    "revocation_endpoint": f"{ISSUER}/oauth/revoke",
    "response_types_supported": ["code"],
    "grant_types_supported": ["authorization_code", "refresh_token"],
    "code_challenge_methods_supported": ["S256"],
    "dpop_signing_alg_values_supported": ["ES256", "ES384"],
    "scopes_supported": ["atproto", "transition:generic"],
    "authorization_response_iss_parameter_supported": True,
    "require_pushed_authorization_requests": True,
}


def test_the_challenge_is_the_one_of_the_rfc() -> None:
    # RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert jose.challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert len({jose.new_verifier() for _ in range(8)}) == 8
    assert len(jose.new_verifier()) >= 43


def test_a_proof_is_signed_by_the_key_that_it_names() -> None:
    key = jose.new_key()
    proof = jose.dpop_proof(key, "POST", f"{ISSUER}/oauth/token", "a-nonce", time.time())
    header = jwt.get_unverified_header(proof)
    assert (header["typ"], header["alg"], set(header["jwk"])) == ("dpop+jwt", "ES256", {"kty", "crv", "x", "y"})
    claims = jwt.decode(proof, jwt.PyJWK(header["jwk"]).key, algorithms=["ES256"])
    assert (claims["htm"], claims["htu"], claims["nonce"]) == ("POST", f"{ISSUER}/oauth/token", "a-nonce")
    assert "nonce" not in jwt.decode(
        jose.dpop_proof(key, "POST", ISSUER, None, time.time()), key.public_key(), algorithms=["ES256"]
    )


def test_a_confidential_client_proves_itself_by_its_published_key(tmp_path: Path) -> None:
    client = OAuthClient("https://headwater.example", load_client_key(tmp_path))
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    (published,) = client.jwks()["keys"]
    assert "d" not in published
    fields = client.credentials(ISSUER)
    assertion = fields["client_assertion"]
    assert jwt.get_unverified_header(assertion)["kid"] == published["kid"]
    claims = jwt.decode(assertion, jwt.PyJWK(published).key, algorithms=["ES256"], audience=ISSUER)
    assert claims["iss"] == claims["sub"] == client.client_id == client.metadata()["client_id"] == fields["client_id"]
    assert load_client_key(tmp_path).private_numbers() == client.key.private_numbers()  # type: ignore[union-attr]
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{published["x"]}","y":"{published["y"]}"}}'
    digest = base64.urlsafe_b64encode(sha256(canonical.encode()).digest()).rstrip(b"=").decode()
    assert published["kid"] == digest
    (tmp_path / FILE_NAME).write_text("nothing")
    with pytest.raises(InvariantError, match=FILE_NAME):
        load_client_key(tmp_path)


def test_a_loopback_client_says_all_in_its_id() -> None:
    client = OAuthClient("http://127.0.0.1:8080")
    parts = urlsplit(client.client_id)
    assert (parts.scheme, parts.netloc, parts.path) == ("http", "localhost", "")
    assert parse_qs(parts.query) == {"redirect_uri": ["http://127.0.0.1:8080/oauth/callback"], "scope": ["atproto"]}
    assert client.credentials(ISSUER) == {"client_id": client.client_id}


def test_a_server_of_the_profile_is_understood() -> None:
    server = parse_server(SERVER, ISSUER)
    assert (server.token, server.revocation) == (f"{ISSUER}/oauth/token", f"{ISSUER}/oauth/revoke")


@pytest.mark.parametrize("name", [name for name in SERVER if name != "revocation_endpoint"])
def test_a_server_that_lacks_something_is_refused(name: str) -> None:
    for document in ({k: v for k, v in SERVER.items() if k != name}, {**SERVER, name: 7}, {**SERVER, name: []}):
        with pytest.raises(OAuthError) as caught:
            parse_server(document, ISSUER)
        mismatch = OAuthReason.ISSUER_MISMATCH if name == "issuer" else OAuthReason.NO_OAUTH
        assert caught.value.reason is mismatch


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"authorization_servers": []},
        {"authorization_servers": [ISSUER, "https://other.example"]},
        {"authorization_servers": [ISSUER], "resource": "https://other.example"},
        {"authorization_servers": [f"{ISSUER}/"]},
        {"authorization_servers": [f"{ISSUER}/path"]},
        {"authorization_servers": ["file:///etc/passwd"]},
        {"authorization_servers": ["https://user:secret@auth.example"]},
        {"authorization_servers": [{}]},
    ],
)
def test_a_pds_that_names_no_issuer_is_refused(document: object) -> None:
    with pytest.raises(OAuthError):
        issuer_of_resource(document, "https://pds.example")
    assert issuer_of_resource({"authorization_servers": [ISSUER]}, "https://pds.example") == parse_issuer(ISSUER)


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "https://own.example"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "https://own.example"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_our_own_pages_change_something(headers: dict[str, str], own: bool) -> None:
    assert is_own_page(headers, frozenset({"https://own.example"})) is own


def test_logins_are_limited_and_come_back() -> None:
    buckets = TokenBuckets(2, 10.0)
    assert [buckets.wait("a", 0.0) for _ in range(3)] == [0.0] * 3, "looking takes none"
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 5.0]
    assert buckets.wait("a", 2.0) == pytest.approx(3.0)
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 5.0) == 0.0
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:1::1")
    limits = LoginLimits()
    for n in range(10):
        limits.check(f"192.0.2.{n}", "Alice.example")
    with pytest.raises(Problem) as caught:
        limits.check("192.0.2.99", "alice.example")
    assert caught.value.reason == "too_many_logins"
    assert int(caught.value.headers["Retry-After"]) >= 1


def test_the_public_url_is_one_that_oauth_takes() -> None:
    settings = GatewaySettings(_env_file=None, gateway_public_url="https://headwater.example/")
    assert settings.gateway_public_url == "https://headwater.example"
    assert settings.did == "did:web:headwater.example"
    for wrong in ("http://headwater.example", "https://a.example:8443", "https://a.example/path", "https://1.2.3.4"):
        with pytest.raises(ValidationError, match="gateway_public_url"):
            GatewaySettings(_env_file=None, gateway_public_url=wrong)
