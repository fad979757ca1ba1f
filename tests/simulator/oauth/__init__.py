"""The authorization server of a PDS: the OAuth profile of AT Protocol, strict about what it asks of clients.

It shares no code with the gateway's client. Source: https://atproto.com/specs/oauth
"""

from .server import AuthorizationServer

__all__ = ["AuthorizationServer"]
