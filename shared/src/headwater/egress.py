"""Where Headwater may connect to: the rules for URLs and addresses that strangers name.

The hosts of PDSes, did:web documents and handles come from other people. Without these rules they could
make Headwater call its own network (server-side request forgery). The rules are pure; `headwater.http`
applies them to the URL before a request, to every redirect, and to every address before it is dialled.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from yarl import URL

from headwater.errors import InvalidInputError, Reason

# A DNS name as RFC 1123 has it, with underscores, which some hosts use. The last label starts with a letter:
# that keeps out every numeric spelling of an IPv4 address (127.1, 2130706433, 0x7f.1), as the WHATWG URL
# standard's "ends in a number" check does.
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z"
)

# What `ipaddress` calls global but is not the public internet: 6to4 relays, the IETF's own block (which holds
# a cloud's metadata address, 192.0.0.192), and Azure's host agent.
_IPV4_HOLES = tuple(ipaddress.IPv4Network(n) for n in ("192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32"))

# Only 2000::/3 is handed out as global unicast (RFC 4291). That leaves out IPv4-mapped and IPv4-compatible
# addresses, NAT64 (64:ff9b::/96), unique-local, link-local and multicast; the holes in it are Teredo and
# the other IETF assignments, documentation, and 6to4, which embeds an IPv4 address.
_IPV6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_IPV6_HOLES = tuple(ipaddress.IPv6Network(n) for n in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))

_IPV4_PRIVATE = tuple(ipaddress.IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_IPV6_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")

_DEFAULT_PORTS = frozenset({443, 80})
_MAX_IP = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_ANY_PORT = frozenset(range(1, 65536))


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be requested: schemes, ports and addresses. Make one with `egress_policy`.

    ``trusted_origins`` are the operator's own settings (``http://localhost:2582``): they are exempt from
    the rules, whoever names them, so list only what anybody may send a GET to.
    """

    schemes: frozenset[str] = frozenset({"https"})
    ports: frozenset[int] = _DEFAULT_PORTS
    private_addresses: bool = False
    trusted_origins: frozenset[URL] = frozenset()

    def check_url(self, url: str | URL) -> URL:
        """The URL, parsed once so that what was checked is what is dialled; fragment removed.

        Raises InvalidInputError(HOST_FORBIDDEN) for whatever the policy does not allow.
        """
        parsed = parse_http_url(url)
        if parsed.origin() in self.trusted_origins:
            return parsed
        if parsed.scheme not in self.schemes:
            raise _forbidden(f"scheme {parsed.scheme}")
        if parsed.port not in self.ports:
            raise _forbidden(f"port {parsed.port}")
        host = parsed.raw_host or ""
        if _is_ip_literal(host) and not self.allows_address(host):
            raise _forbidden(f"address {host}")
        return parsed

    def check_redirect(self, source: URL, location: str) -> URL:
        """Where a redirect may lead: the same host, not from https to http, and within the policy."""
        try:
            target = source.join(URL(location))
        except ValueError as error:
            raise _forbidden("redirect to a malformed URL") from error
        checked = self.check_url(target)
        if checked.raw_host != source.raw_host:
            raise _forbidden(f"redirect from {source.raw_host} to {checked.raw_host}")
        if source.scheme == "https" and checked.scheme != "https":
            raise _forbidden("redirect from https to http")
        return checked

    def trusts(self, host: str, port: int) -> bool:
        """Whether host and port are those of one of the operator's own origins."""
        return any(origin.raw_host == host and origin.port == port for origin in self.trusted_origins)

    def allows_address(self, address: str) -> bool:
        """Whether a stranger's host may live at this IP address."""
        if is_public_address(address):
            return True
        return self.private_addresses and _is_private_address(address)


def egress_policy(*, allow_private_hosts: bool = False, trusted_origins: Iterable[str] = ()) -> EgressPolicy:
    """The policy for production, or, with ``allow_private_hosts``, the one for development and tests.

    Development opens loopback and private addresses, http and every port. Raises ValueError for a malformed
    origin among the operator's settings.
    """
    origins = frozenset(_operator_origin(origin) for origin in trusted_origins)
    if allow_private_hosts:
        return EgressPolicy(frozenset({"http", "https"}), _ANY_PORT, True, origins)
    return EgressPolicy(trusted_origins=origins)


def parse_http_url(url: str | URL) -> URL:
    """An absolute http or https URL with a sane host and no user information; fragment removed.

    Raises InvalidInputError(HOST_FORBIDDEN).
    """
    try:
        parsed = URL(url).with_fragment(None)
        port = parsed.port
    except ValueError as error:
        raise _forbidden("malformed URL") from error
    if parsed.scheme not in ("http", "https") or not port:
        raise _forbidden("not an http URL")
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise _forbidden("user information in a URL")
    host = parsed.raw_host or ""
    if not (_HOST_NAME.match(host) or _is_ip_literal(host)):
        raise _forbidden("malformed host")
    return parsed


def is_public_address(address: str) -> bool:
    """Whether a textual IP address is on the public internet; False for whatever does not parse."""
    ip = _parse_ip(address)
    if ip is None:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast and not _within(ip, _IPV4_HOLES)
    return ip in _IPV6_PUBLIC and not _within(ip, _IPV6_HOLES)


def _is_private_address(address: str) -> bool:
    ip = _parse_ip(address)
    if ip is None:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_loopback or _within(ip, _IPV4_PRIVATE)
    return ip.is_loopback or ip in _IPV6_UNIQUE_LOCAL


def _is_ip_literal(host: str) -> bool:
    return _parse_ip(host) is not None


def _parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if len(text) > _MAX_IP or "%" in text:  # a zone names an interface of this machine
        return None
    return _parse_short_ip(text)


# Every request asks several times, and mostly about the same hosts.
@lru_cache(4_096)
def _parse_short_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _within(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: Collection[ipaddress.IPv4Network] | Collection[ipaddress.IPv6Network],
) -> bool:
    return any(ip in network for network in networks)


def _operator_origin(text: str) -> URL:
    try:
        return parse_http_url(text).origin()
    except InvalidInputError as error:
        raise ValueError(f"{text!r} is not an http or https origin") from error


def _forbidden(detail: str) -> InvalidInputError:
    return InvalidInputError(Reason.HOST_FORBIDDEN, detail[:200])
