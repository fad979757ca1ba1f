"""Where and with what was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg
import psutil

_PACKAGES = ("asyncpg", "nats-py", "faststream", "msgspec", "orjson", "libipld", "aiohttp", "fastapi", "uvicorn")


async def describe(database: asyncpg.Connection, nats_version: str) -> dict[str, str]:
    """Names and values, for the head of the report."""
    return {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Commit": _commit(),
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB of memory",
        "System": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_version()}, {platform.python_compiler()}",
        "Postgres": str(await database.fetchval("SHOW server_version")),
        "NATS server": nats_version,
        "Packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        answer = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        return answer.stdout.strip()

    changed = " with uncommitted changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
