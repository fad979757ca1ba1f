from __future__ import annotations

import pytest

from headwater.egress import EgressPolicy, egress_policy, is_public_address, parse_http_url
from headwater.errors import InvalidInputError, Reason

PUBLIC = egress_policy()
DEVELOPMENT = egress_policy(allow_private_hosts=True)


def refused(policy: EgressPolicy, url: str) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        policy.check_url(url)
    assert caught.value.reason is Reason.HOST_FORBIDDEN
    return caught.value


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "100.64.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.192", "192.0.0.9", "192.88.99.1", "168.63.129.16",
        "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:1.1.1.1", "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1",
        "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
        "2606:4700::1111%eth0", "", "localhost", "1.1.1", "0x7f.0.0.1", "01.1.1.1",
    ],
)  # fmt: skip
def test_addresses_off_the_public_internet(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "99.84.1.1", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "2a01::1"])
def test_public_addresses(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://pds.example.com/",  # not https
        "ftp://pds.example.com/",
        "file:///etc/passwd",
        "gopher://pds.example.com:443/",
        "//pds.example.com/",
        "https://",
        "https:///x",
        "",
        "https://pds.example.com:8443/",
        "https://pds.example.com:22/",
        "https://pds.example.com:0/",
        "https://pds.example.com:99999/",
        "https://user@pds.example.com/",
        "https://user:secret@pds.example.com/",
        "https://:@pds.example.com/",
        "https://pds.example.com\\@localhost/",
        "https://exa mple.com/",
        "https://exa%6dple.com/",
        "https://a..b/",
        "https://.a.b/",
        "https://foo.com./",
        "https://-a.com/",
        "https://a-.com/",
        f"https://{'a' * 64}.com/",
        f"https://{'a.' * 127}com/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127。0。0。1/",
        "https://１２７.0.0.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::127.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://example.0x7f/",
        "https://example.1/",
    ],
)
def test_refused_urls(url: str) -> None:
    refused(PUBLIC, url)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://pds.example.com", "pds.example.com", 443),
        ("https://PDS.Example.com:443/xrpc/x?did=did:plc:a#here", "pds.example.com", 443),
        ("https://pds.example.com:80/", "pds.example.com", 80),
        ("https://bücher.example.com/", "xn--bcher-kva.example.com", 443),
        ("https://1.1.1.1/", "1.1.1.1", 443),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443),
        ("https://my_pds.host-1.example/", "my_pds.host-1.example", 443),
    ],
)
def test_allowed_urls(url: str, host: str, port: int) -> None:
    checked = PUBLIC.check_url(url)
    assert (checked.raw_host, checked.port) == (host, port)
    assert not checked.raw_fragment


def test_query_survives() -> None:
    url = "https://pds.example.com/xrpc/com.atproto.sync.getRepo?did=did:plc:abc&since=3k"
    assert str(PUBLIC.check_url(url)) == url


@pytest.mark.parametrize(
    "url", ["http://localhost:2583/", "http://127.0.0.1:1/", "http://[::1]:80/", "http://10.0.0.1"]
)
def test_development_opens_private_hosts(url: str) -> None:
    assert DEVELOPMENT.check_url(url)
    refused(PUBLIC, url)


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/", "http://0.0.0.0/", "http://224.0.0.1/", "http://2130706433/", "http://u@localhost/"],
)
def test_development_keeps_what_is_never_a_host(url: str) -> None:
    refused(DEVELOPMENT, url)


def test_trusted_origins_are_exempt_exactly() -> None:
    policy = egress_policy(trusted_origins=["http://localhost:2582", "http://10.1.2.3"])
    assert policy.check_url("http://localhost:2582/did:plc:abc")
    assert policy.check_url("http://10.1.2.3/")
    assert policy.trusts("localhost", 2582)
    for url in ("http://localhost:2583/", "https://localhost:2582/", "http://10.1.2.3:8080/", "http://10.1.2.4/"):
        refused(policy, url)
    assert not policy.trusts("localhost", 2583)


@pytest.mark.parametrize("origin", ["localhost:2582", "ws://relay.example.com", "https://u:p@plc.example.com"])
def test_malformed_trusted_origin_is_a_settings_error(origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        egress_policy(trusted_origins=[origin])


@pytest.mark.parametrize(
    "location",
    [
        "https://other.example.com/",
        "//other.example.com/",
        "http://pds.example.com/",
        "https://pds.example.com:8443/",
        "https://127.0.0.1/",
        "https://user@pds.example.com/",
        "https://pds.example.com.evil.example/",
        "https://[::1",
        "javascript:alert(1)",
    ],
)
def test_refused_redirects(location: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        PUBLIC.check_redirect(parse_http_url("https://pds.example.com/a"), location)
    assert caught.value.reason is Reason.HOST_FORBIDDEN


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b?c=d", "https://pds.example.com/b?c=d"),
        ("b", "https://pds.example.com/x/b"),
        ("https://pds.example.com:443/b", "https://pds.example.com/b"),
    ],
)
def test_allowed_redirects(location: str, target: str) -> None:
    assert str(PUBLIC.check_redirect(parse_http_url("https://pds.example.com/x/a"), location)) == target


def test_development_does_not_downgrade_redirects() -> None:
    with pytest.raises(InvalidInputError):
        DEVELOPMENT.check_redirect(parse_http_url("https://pds.localhost/a"), "http://pds.localhost/a")
