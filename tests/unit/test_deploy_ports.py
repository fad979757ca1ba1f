"""Ports: the usual one when nobody has it, and never one for two stacks that start at the same moment."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from headwater_local.ports import LOOPBACK, free_port, take_port

_TAKE = """
import sys
from headwater_local.ports import take_port
print(take_port(int(sys.argv[1])), flush=True)
input()
"""


def test_a_port_that_somebody_listens_on_is_not_chosen() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_one_that_another_process_has_chosen_but_not_yet_opened_is_not_chosen_either() -> None:
    port = free_port()
    other = subprocess.Popen([sys.executable, "-c", _TAKE, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    try:
        assert int(other.stdout.readline()) == port
        assert take_port(port) != port
    finally:
        other.communicate(b"\n")
    # With the process its claim is gone.
    assert take_port(port) == port
    assert take_port(port) != port


def _lowest_given() -> int:
    known = Path("/proc/sys/net/ipv4/ip_local_port_range")
    return int(known.read_text().split()[0]) if known.exists() else 49_152


def test_a_server_that_is_down_for_a_moment_finds_its_port_again() -> None:
    """What connects, or asks for any port, never gets one of those that servers take."""
    if _lowest_given() < 30_000:
        pytest.skip("this machine gives away ports that are usually left to servers")
    with socket.create_server((LOOPBACK, 0)) as server:
        given = {server.getsockname()[1]}
        for _ in range(50):
            with socket.create_connection(server.getsockname()) as client, socket.socket() as other:
                other.bind((LOOPBACK, 0))
                given |= {client.getsockname()[1], other.getsockname()[1]}
    taken = {take_port() for _ in range(50)}
    assert len(taken) == 50
    assert max(taken) < min(given)
