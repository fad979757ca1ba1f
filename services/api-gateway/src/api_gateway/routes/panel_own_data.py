"""The parts of a user's page about their own rows: reading and searching them, and deciding about them."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api_gateway.gateway import GatewayDep
from api_gateway.indexer_client import account_stats, records_page
from api_gateway.panel.figures_view import pretty, text_of
from api_gateway.panel.templates import page
from api_gateway.panel.words import words_of
from api_gateway.privacy import delete_data, set_excluded, set_opted_out
from api_gateway.problems import Problem
from api_gateway.record_format import cursor_of, parse_cursor
from api_gateway.routes.forms import form_of
from api_gateway.routes.panel import SessionDep, show_panel
from headwater.bus.queries import RecordsQuery
from headwater.bus.records import RecordsPage
from headwater.errors import InvalidInputError
from headwater.syntax import is_nsid

router = APIRouter(include_in_schema=False)

_PAGE = 30
_MAX_TEXT = 200
_SOON_MS = 1_000
"""The names of collections are a help in filling in the form; nobody waits long for them."""


@router.get("/user/records")
async def read_records(
    request: Request, gateway: GatewayDep, session: SessionDep, collection: str = "", text: str = "", cursor: str = ""
) -> Response:
    """A page of one collection, the newest first, or of what a search has found in it."""
    found, problem = RecordsPage([], None), None
    if collection:
        try:
            query = _query(session.did, collection, text, cursor)
            found = await records_page(gateway.bus, query)
        except Problem as error:
            problem = error
    try:
        known = [count.collection for count in (await account_stats(gateway.bus, session.did, _SOON_MS)).collections]
    except Problem:
        known = []
    following = {"collection": collection, "text": text, "cursor": cursor_of(found.next) if found.next else ""}
    return page(
        "records.html",
        HTTPStatus.OK if problem is None else problem.status,
        None if problem is None else problem.headers,
        session=session,
        collection=collection,
        collections=known,
        text=text,
        records=[(record, text_of(record), pretty(record)) for record in found.records],
        next=f"/user/records?{urlencode(following)}" if found.next else None,
        problem_words=None if problem is None else words_of(problem.reason, problem.detail),
    )


def _query(did: str, collection: str, text: str, cursor: str) -> RecordsQuery:
    """Raises Problem 422 for what nobody can have chosen on the page."""
    try:
        if not is_nsid(collection) or len(text) > _MAX_TEXT or "\0" in text:
            raise _no_collection()
        after = parse_cursor(cursor) if cursor else None
    except InvalidInputError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "no_such_page", "there is no such page of records") from error
    return RecordsQuery(did=did, collection=collection, newest_first=True, text=text or None, limit=_PAGE, after=after)


def _no_collection() -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "not_a_collection", "a collection is an NSID, the text short")


@router.post("/user/privacy/indexing")
async def change_indexing(request: Request, gateway: GatewayDep, session: SessionDep) -> Response:
    """Stop indexing, or start again."""
    opted_out = (await form_of(request)).get("opted_out") == "yes"
    return await _decide(set_opted_out(gateway.bus, session.did, opted_out), gateway, session)


@router.post("/user/privacy/collection")
async def change_collection(request: Request, gateway: GatewayDep, session: SessionDep) -> Response:
    """Keep a collection out, or let it in again."""
    form = await form_of(request)
    collection = form.get("collection", "").strip()
    if not is_nsid(collection):
        return await show_panel(gateway, session, privacy_problem=_no_collection())
    change = set_excluded(gateway.bus, session.did, collection, form.get("excluded") == "yes")
    return await _decide(change, gateway, session)


@router.post("/user/privacy/delete")
async def delete_everything(request: Request, gateway: GatewayDep, session: SessionDep) -> Response:
    """Delete all that is held, where the form's user has typed who they are."""
    typed = (await form_of(request)).get("confirm", "")
    return await _decide(delete_data(gateway.bus, gateway.resolver, session.did, typed), gateway, session)


async def _decide(change: Awaitable[object], gateway: GatewayDep, session: SessionDep) -> Response:
    try:
        await change
    except Problem as problem:
        return await show_panel(gateway, session, privacy_problem=problem)
    return RedirectResponse("/user#privacy", HTTPStatus.SEE_OTHER)
