"""What an authorization server says when it refuses."""

from __future__ import annotations

from simulator.host import as_json
from simulator.reply import Reply


class OAuthError(Exception):
    """A refusal: an error code of RFC 6749 section 5.2, RFC 9126 or RFC 9449, and words for developers."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.status = status

    def reply(self, headers: dict[str, str]) -> Reply:
        """The refusal as JSON."""
        return as_json({"error": self.code, "error_description": self.description}, self.status, headers)
