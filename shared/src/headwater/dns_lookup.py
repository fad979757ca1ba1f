"""DNS without threads: the addresses of strangers' hosts, and the TXT records of handles."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.resolver

from headwater.errors import TransientError

_LIFETIME = 5.0
_MAX_ADDRESSES = 16
_MAX_TXT_RECORDS = 64


class NameLookup(Protocol):
    """What the HTTP client and handle resolution ask of DNS."""

    async def addresses(self, host: str) -> list[str]:
        """IPv4 and IPv6 addresses of a public name, as text. Raises TransientError when there is none."""

    async def txt(self, name: str) -> list[str]:
        """The TXT records at a name, each joined to one string; empty when there are none.

        Raises TransientError when DNS did not answer.
        """


class DnsLookup:
    """NameLookup on the name servers of /etc/resolv.conf, or on those of the given resolver.

    Names are looked up as absolute: neither /etc/hosts nor a search domain can turn a stranger's name into
    a host of the operator's network. One lookup takes at most five seconds, and no thread.
    """

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self._resolver = resolver

    async def addresses(self, host: str) -> list[str]:
        """See `NameLookup.addresses`."""
        queries = (self._query(host, dns.rdatatype.A), self._query(host, dns.rdatatype.AAAA))
        answers = await asyncio.gather(*queries, return_exceptions=True)
        found: list[str] = []
        for answer in answers:
            if isinstance(answer, list):
                found.extend(record.to_text() for record in answer[:_MAX_ADDRESSES])
            elif not isinstance(answer, TransientError):
                raise answer
        if not found:
            raise TransientError(f"DNS: no address for {host}")
        return found

    async def txt(self, name: str) -> list[str]:
        """See `NameLookup.txt`."""
        records = await self._query(name, dns.rdatatype.TXT)
        return [
            b"".join(record.strings).decode("utf-8", "replace")
            for record in records[:_MAX_TXT_RECORDS]
            if isinstance(record, dns.rdtypes.ANY.TXT.TXT)
        ]

    async def _query(self, name: str, kind: dns.rdatatype.RdataType) -> list[dns.rdata.Rdata]:
        try:
            absolute = dns.name.from_text(name, origin=dns.name.root)
        except (dns.exception.DNSException, UnicodeError):
            return []  # no record can exist at what is not a name
        try:
            if self._resolver is None:
                self._resolver = dns.asyncresolver.Resolver()
            answer = await self._resolver.resolve(absolute, kind, raise_on_no_answer=False, lifetime=_LIFETIME)
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise TransientError(f"DNS: {type(error).__name__} for {name}") from error
        return list(answer.rrset or ())


async def system_addresses(host: str, port: int) -> list[str]:
    """The addresses that this machine's own resolver gives, /etc/hosts included; for the operator's hosts.

    ``localhost`` and names below it are loopback (RFC 6761 section 6.3), which glibc does not know.
    Raises TransientError when the name does not resolve.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1", "::1"]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TransientError(f"no address for {host}") from error
    return [str(address[0]) for *_, address in found]
