"""A public https address for a gateway under test: Caddy in front of it, with a certificate that trustme has made.

Nothing of it is public. ``NAME`` is a name that a PDS takes a client at; who has to find it is told the port: the
browser by a flag, the PDS by ``pds/names.mjs``.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from headwater_local.ports import free_port, take_port

NAME = "gateway.headwater.internal"
ORIGIN = f"https://{NAME}"
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class PublicAddress:
    """Where ``ORIGIN`` really is: ``port`` on loopback, in front of ``gateway_port``."""

    directory: Path
    port: int
    gateway_port: int

    @property
    def authority(self) -> Path:
        """The certificate of the authority that vouches for it, PEM."""
        return self.directory / "authority.pem"

    def trust(self) -> ssl.SSLContext:
        """What a client in Python has to trust."""
        return ssl.create_default_context(cafile=self.authority)

    @property
    def browser_flags(self) -> list[str]:
        """What Chromium has to know: where the name is, and that it may trust this one key."""
        certificate = load_pem_x509_certificate((self.directory / "certificate.pem").read_bytes())
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        pin = base64.b64encode(sha256(key).digest()).decode()
        return [
            f"--host-resolver-rules=MAP {NAME} 127.0.0.1:{self.port}",
            f"--ignore-certificate-errors-spki-list={pin}",
        ]

    @property
    def node_variables(self) -> dict[str, str]:
        """What a PDS has to know, with ``names.mjs``."""
        return {
            "HEADWATER_TEST_NAMES": json.dumps({NAME: self.port}),
            "NODE_EXTRA_CA_CERTS": str(self.authority),
        }

    def requests(self) -> list[dict[str, Any]]:
        """What came in, from Caddy's access log: ``request`` with ``uri`` and ``headers``, ``status``, …"""
        lines = (self.directory / "access.log").read_text().splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def public_address(directory: Path) -> Iterator[PublicAddress]:
    """A certificate and two free ports; ``serving`` puts Caddy there."""
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    authority.cert_pem.write_to_path(directory / "authority.pem")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
    yield PublicAddress(directory, take_port(), free_port())


@contextmanager
def serving(address: PublicAddress) -> Iterator[None]:
    """Caddy in front of the gateway, as an operator would put it there."""
    caddyfile = address.directory / "Caddyfile"
    caddyfile.write_text(
        f"""{{
    admin off
    auto_https off
    persist_config off
    servers {{
        protocols h1 h2
    }}
}}
https://{NAME}:{address.port} {{
    bind 127.0.0.1
    tls {address.directory}/certificate.pem {address.directory}/key.pem
    log {{
        output file {address.directory}/access.log
    }}
    reverse_proxy 127.0.0.1:{address.gateway_port}
}}
"""
    )
    caddy = shutil.which("caddy", path=str(Path(sys.executable).parent)) or "caddy"
    home = {"XDG_DATA_HOME": str(address.directory), "XDG_CONFIG_HOME": str(address.directory)}
    with (address.directory / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            [caddy, "run", "--adapter", "caddyfile", "--config", caddyfile],
            stdout=log,
            stderr=log,
            env={**os.environ, **home},
        )
    try:
        _wait(address, process)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait(address: PublicAddress, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with httpx.Client(verify=address.trust(), trust_env=False) as client:
                client.get(
                    f"https://127.0.0.1:{address.port}/healthz",
                    headers={"Host": NAME},
                    extensions={"sni_hostname": NAME},
                ).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"Caddy does not serve:\n{(address.directory / 'caddy.log').read_text()[-4000:]}")
