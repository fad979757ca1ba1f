"""What two or more Headwater services need: the protocol, the bus contract, identity and settings."""

import headwater.wait_for  # noqa: F401 - for what it does
