"""What the tests of the simulator ask of it."""

from __future__ import annotations

from typing import Any

import aiohttp


async def get_json(client: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, Any]:
    async with client.get(url, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def get_body(client: aiohttp.ClientSession, url: str) -> bytes:
    async with client.get(url) as response:
        return await response.read()
