"""A local AT Protocol network for tests, the demo and the benchmarks.

Independent of Headwater's protocol code on purpose: it is the oracle that Headwater is compared with.
"""

from .account import Account
from .expect import ExpectedRepo, Row
from .faults import Answer, Endless, Fault, FlipBit, Gate, GzipBomb, Hang, Redirect, Reset, Slow, Truncate
from .jwt import service_auth
from .pds import Pds
from .plc import PlcDirectory
from .relay import Relay
from .repo import Write
from .stream import Stream
from .tid import DEFAULT_NOW_US, Clock
from .world import World

__all__ = [
    "DEFAULT_NOW_US",
    "Account",
    "Answer",
    "Clock",
    "Endless",
    "ExpectedRepo",
    "Fault",
    "FlipBit",
    "Gate",
    "GzipBomb",
    "Hang",
    "Pds",
    "PlcDirectory",
    "Redirect",
    "Relay",
    "Reset",
    "Row",
    "Slow",
    "Stream",
    "Truncate",
    "World",
    "Write",
    "service_auth",
]
