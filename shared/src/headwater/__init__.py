"""What two or more Headwater services need: the protocol, the bus contract, identity and settings."""
