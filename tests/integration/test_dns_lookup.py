"""DNS lookups against a name server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from headwater.dns_lookup import DnsLookup, system_addresses
from headwater.errors import TransientError

ZONE = {
    ("pds.example.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("pds.example.", "AAAA"): ["2001:db8::1"],
    ("v4.example.", "A"): ["192.0.2.3"],
    ("v4.example.", "AAAA"): [],
    ("halfbroken.example.", "A"): ["192.0.2.4"],
    ("_atproto.alice.example.", "TXT"): ['"did=did:plc:" "abc"', '"unrelated"', '"\\255\\254"'],
    ("_atproto.many.example.", "TXT"): [f'"did=did:plc:{n}"' for n in range(70)],
}


class NameServer(asyncio.DatagramProtocol):
    """Answers from ZONE; SERVFAIL for the broken names, NXDOMAIN for the rest."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.asked: list[str] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        question = query.question[0]
        name, kind = question.name.to_text(), question.rdtype.name
        self.asked.append(name)
        if (name, kind) in ZONE:
            if ZONE[name, kind]:
                response.answer.append(dns.rrset.from_text_list(name, 60, "IN", kind, ZONE[name, kind]))
        elif "broken" in name:
            response.set_rcode(dns.rcode.SERVFAIL)
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(response.to_wire(max_size=65535), addr)


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


@pytest.fixture
def lookup(server: NameServer) -> DnsLookup:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = server.transport.get_extra_info("sockname")[1]
    resolver.domain = dns.name.from_text("corp.internal.")
    resolver.search = [dns.name.from_text("corp.internal.")]
    return DnsLookup(resolver)


async def test_addresses_of_both_families(lookup: DnsLookup) -> None:
    assert sorted(await lookup.addresses("pds.example")) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert await lookup.addresses("v4.example") == ["192.0.2.3"]
    assert await lookup.addresses("halfbroken.example") == ["192.0.2.4"]


@pytest.mark.parametrize("host", ["nowhere.example", "broken.example", "a" * 64 + ".example", "a..b"])
async def test_no_address_is_transient(lookup: DnsLookup, host: str) -> None:
    with pytest.raises(TransientError):
        await lookup.addresses(host)


async def test_names_are_absolute_so_no_search_domain_is_tried(lookup: DnsLookup, server: NameServer) -> None:
    with pytest.raises(TransientError):
        await lookup.addresses("db")
    assert set(server.asked) == {"db."}


async def test_txt_records_are_joined_and_bounded(lookup: DnsLookup) -> None:
    records = await lookup.txt("_atproto.alice.example")
    assert sorted(records) == sorted(["did=did:plc:abc", "unrelated", "\ufffd\ufffd"])
    assert len(await lookup.txt("_atproto.many.example")) == 64


async def test_no_txt_record_is_an_answer_and_a_broken_server_is_not(lookup: DnsLookup) -> None:
    assert await lookup.txt("_atproto.nobody.example") == []
    assert await lookup.txt("_atproto." + "a." * 124 + "example") == []
    with pytest.raises(TransientError):
        await lookup.txt("_atproto.broken.example")


async def test_localhost_is_loopback_without_a_lookup() -> None:
    assert await system_addresses("localhost", 80) == ["127.0.0.1", "::1"]
    assert await system_addresses("pds.localhost", 80) == ["127.0.0.1", "::1"]
    assert await system_addresses("127.0.0.1", 80) == ["127.0.0.1"]
    with pytest.raises(TransientError):
        await system_addresses("no-such-host.invalid", 80)
