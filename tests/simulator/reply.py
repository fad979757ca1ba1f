"""An answer as a value, before it becomes bytes on a connection: what faults spoil."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

_CHUNK = 256 * 1024
#: Files of no more are read at once: to send from disk takes the event loop and three visits of a thread.
_SMALL = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer; a body on disk is sent from there."""

    body: bytes | Path
    content_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else self.body.read_bytes()

    def all_headers(self) -> dict[str, str]:
        return {"Content-Type": self.content_type} | self.headers


async def send(request: web.Request, reply: Reply, *, chunked: bool = False) -> web.StreamResponse:
    """Send a reply; large files go from disk to socket without passing through here, unless chunked."""
    if isinstance(reply.body, bytes):
        return web.Response(body=reply.body, status=reply.status, headers=reply.all_headers())
    if not chunked and reply.body.stat().st_size <= _SMALL:
        return web.Response(body=reply.body.read_bytes(), status=reply.status, headers=reply.all_headers())
    if not chunked:
        return web.FileResponse(reply.body, chunk_size=_CHUNK, status=reply.status, headers=reply.all_headers())
    response = web.StreamResponse(status=reply.status, headers=reply.all_headers())
    response.enable_chunked_encoding()
    await response.prepare(request)
    with reply.body.open("rb") as file:
        while chunk := file.read(_CHUNK):
            await response.write(chunk)
    return response
