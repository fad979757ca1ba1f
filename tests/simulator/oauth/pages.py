"""The pages on which a person signs in and consents: plain HTML, without a script."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from urllib.parse import urlsplit

from simulator.reply import Reply

from .grants import Request

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 12vh auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
label { display: block; margin: 1rem 0 .25rem; }
input, button { font: inherit; padding: .5rem .75rem; border: 1px solid GrayText; border-radius: .4rem; }
input { width: 100%; box-sizing: border-box; }
p.buttons { display: flex; gap: .75rem; margin-top: 1.5rem; }
button.main { background: #0b57a4; border-color: #0b57a4; color: #fff; }
code { overflow-wrap: anywhere; }
[role=alert] { border-left: .25rem solid #b3261e; padding-left: .75rem; }
"""
_STYLE_HASH = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()


def sign_in(request: Request, request_uri: str, host: str, wrong: str = "", status: int = 200) -> Reply:
    """Asks who is there; `wrong` says why the last try was none."""
    handle = request.form.get("login_hint", "")
    body = f"""
<p>{_client(request)} asks who you are.</p>
{_alert(wrong)}
<form method="post" action="/oauth/authorize">
{_hidden(request, request_uri)}
<label for="identifier">Handle</label>
<input id="identifier" name="identifier" value="{escape(handle)}" autocomplete="username" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
<p class="buttons"><button class="main" name="step" value="sign-in">Sign in</button>
<button name="step" value="deny" formnovalidate>Cancel</button></p>
</form>"""
    return _page(f"Sign in to {host}", body, status, request)


def consent(request: Request, request_uri: str, handle: str, did: str) -> Reply:
    """Asks whether the client may know."""
    body = f"""
<p>{_client(request)} wants to know that you are <b>{escape(handle)}</b>. It gets nothing else: it cannot read
what is private, and cannot write.</p>
<p><small><code>{escape(did)}</code></small></p>
<form method="post" action="/oauth/authorize">
{_hidden(request, request_uri)}
<p class="buttons"><button class="main" name="step" value="authorize">Authorize</button>
<button name="step" value="deny">Deny</button></p>
</form>"""
    return _page("Authorize", body, 200, request)


def failure(words: str, status: int = 400) -> Reply:
    """Says that a login cannot go on here, where nobody can be sent back."""
    return _page("This login cannot go on", f'<p role="alert">{escape(words)}. Go back to the app.</p>', status, None)


def _page(title: str, body: str, status: int, request: Request | None) -> Reply:
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{_STYLE}</style></head>
<body><main><h1>{escape(title)}</h1>{body}</main></body></html>
"""
    return Reply(text.encode(), "text/html; charset=utf-8", status, dict(_headers(request)))


def _headers(request: Request | None) -> Mapping[str, str]:
    # Browsers hold a form's redirects against form-action, too.
    back = "" if request is None else "{0.scheme}://{0.netloc}".format(urlsplit(request.form["redirect_uri"]))
    policy = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self' {back}"
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'; base-uri 'none'",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _client(request: Request) -> str:
    host = urlsplit(request.form["redirect_uri"]).netloc
    return f"<b>{escape(request.client_name)}</b> ({escape(host)})"


def _hidden(request: Request, request_uri: str) -> str:
    fields = {"client_id": request.client_id, "request_uri": request_uri}
    return "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in fields.items())


def _alert(words: str) -> str:
    return f'<p role="alert">{escape(words)}</p>' if words else ""
