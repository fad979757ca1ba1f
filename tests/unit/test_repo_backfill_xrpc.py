"""What a PDS's error responses mean."""

from __future__ import annotations

import pytest

from headwater.errors import Reason
from repo_backfill.xrpc import refusal


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, {"error": "RepoNotFound", "message": "Could not find root"}, Reason.NOT_FOUND),
        (400, {"error": "RepoDeactivated"}, Reason.DEACTIVATED),
        (400, {"error": "RepoSuspended"}, Reason.SUSPENDED),
        (400, {"error": "RepoTakendown"}, Reason.TAKEN_DOWN),
        (400, {"error": "AccountTakedown"}, Reason.TAKEN_DOWN),
        (400, {"error": "InvalidRequest"}, Reason.REFUSED_BY_HOST),
        (401, {"error": "AuthMissing"}, Reason.REFUSED_BY_HOST),
        (404, None, Reason.REFUSED_BY_HOST),
        (204, None, Reason.REFUSED_BY_HOST),
        (400, ["RepoNotFound"], Reason.REFUSED_BY_HOST),
        (400, {"error": 7, "message": {}}, Reason.REFUSED_BY_HOST),
    ],
)
def test_the_reason_in_a_response(status: int, body: object, reason: Reason):
    assert refusal(status, body).reason is reason


def test_what_is_quoted_is_bounded():
    error = refusal(400, {"error": "x" * 10_000, "message": "y" * 10_000})
    assert len(error.detail) < 300
