"""The PLC directory, and the hosts of did:web documents.

Source: https://web.plc.directory/spec/v0.1/did-plc, https://atproto.com/specs/did
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from aiohttp import web

from .host import Host, as_json
from .reply import Reply

_CONTEXT = [
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/multikey/v1",
    "https://w3id.org/security/suites/secp256k1-2019/v1",
]


class HasMultibase(Protocol):
    """What a document says of a signing key."""

    @property
    def multibase(self) -> str: ...


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key whose secret is elsewhere."""

    multibase: str


def did_document(did: str, handle: str, key: HasMultibase, pds_url: str) -> dict[str, Any]:
    """A DID document as the PLC directory writes it."""
    return {
        "@context": _CONTEXT,
        "id": did,
        "alsoKnownAs": [f"at://{handle}"],
        "verificationMethod": [
            {"id": f"{did}#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": key.multibase}
        ],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds_url}],
    }


class PlcDirectory(Host):
    """Serves the newest document of each did:plc; `documents` may be changed at will, None is a tombstone."""

    def __init__(self, port: int = 0) -> None:
        super().__init__("plc", port)
        self.documents: dict[str, dict[str, Any] | None] = {}

    def register(self, did: str, document: dict[str, Any] | None) -> None:
        self.documents[did] = document

    async def respond(self, request: web.Request) -> Reply:
        did = unquote(request.path.removeprefix("/"))
        if did == "_health":
            return as_json({"version": "simulator"})
        if did not in self.documents:
            return as_json({"message": f"DID not registered: {did}"}, 404)
        document = self.documents[did]
        if document is None:
            return as_json({"message": f"DID not available: {did}"}, 410)
        return Reply(as_json(document).content(), "application/did+ld+json; charset=utf-8")


class WebDidHost(Host):
    """The one host that a did:web names: it serves this document and the DID of its handle."""

    def __init__(self, port: int = 0) -> None:
        super().__init__("did-web", port)
        self.did = f"did:web:localhost%3A{self.port}"
        self.document: dict[str, Any] | None = None

    def register(self, did: str, document: dict[str, Any] | None) -> None:
        if did != self.did:
            raise ValueError(f"this host is {self.did}, not {did}")
        self.document = document

    async def respond(self, request: web.Request) -> Reply:
        if request.path == "/.well-known/did.json" and self.document is not None:
            return as_json(self.document)
        if request.path == "/.well-known/atproto-did":
            return Reply(self.did.encode(), "text/plain")
        return as_json({"message": "Not Found"}, 404)
