"""What users may do with the rows that are held of them. Each route names the ``lxm`` that its token needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from starlette.responses import Response, StreamingResponse

from api_gateway.auth.account import Account, account_for
from api_gateway.auth.methods import Method
from api_gateway.export import WRITERS, ExportFormat, export
from api_gateway.gateway import GatewayDep
from api_gateway.indexer_client import records_page
from api_gateway.privacy import delete_data, set_excluded, set_opted_out
from api_gateway.problems import documented
from api_gateway.record_format import cursor_of, parse_cursor, record_object
from api_gateway.routes import examples
from api_gateway.routes.bodies import (
    Collection,
    CollectionChoice,
    DeleteData,
    RecordList,
    SettingsChange,
)
from api_gateway.routes.examples import answers
from api_gateway.routes.user import ALWAYS, lxm
from headwater.bus.queries import AccountSettings, RecordsQuery

router = APIRouter(prefix="/api/user", tags=["user"], responses=documented(*ALWAYS))

_EXPORTS: Any = {
    HTTPStatus.OK.value: {
        "description": "every record, one a line",
        "content": {"application/jsonl": {"schema": {"type": "string"}}, "text/csv": {"schema": {"type": "string"}}},
    }
}


@router.patch(
    "/settings",
    responses=documented(HTTPStatus.CONFLICT) | answers(examples.SETTINGS),
    openapi_extra=lxm(Method.UPDATE_SETTINGS),
)
async def update_settings(
    body: SettingsChange,
    gateway: GatewayDep,
    account: Annotated[Account, Depends(account_for(Method.UPDATE_SETTINGS))],
) -> AccountSettings:
    """Stop being indexed, or start again. Running jobs end as ``opted_out``; what is held is hidden, and seen again
    when you start again. 409 while a deletion is still running."""
    return await set_opted_out(gateway.bus, account.did, body.opted_out)


@router.post(
    "/toggle-collection",
    responses=documented(HTTPStatus.CONFLICT) | answers(examples.SETTINGS),
    openapi_extra=lxm(Method.TOGGLE_COLLECTION),
)
async def toggle_collection(
    body: CollectionChoice,
    gateway: GatewayDep,
    account: Annotated[Account, Depends(account_for(Method.TOGGLE_COLLECTION))],
) -> AccountSettings:
    """Keep one of your collections out (its rows are deleted), or let it in again (a backfill brings its records)."""
    return await set_excluded(gateway.bus, account.did, body.collection, body.excluded)


@router.post("/delete-data", responses=answers(examples.SETTINGS), openapi_extra=lxm(Method.DELETE_DATA))
async def delete_all_data(
    body: DeleteData, gateway: GatewayDep, account: Annotated[Account, Depends(account_for(Method.DELETE_DATA))]
) -> AccountSettings:
    """Delete all that is held of you, and opt out. Hidden at once, ``deleting`` until the last row is gone; running
    jobs end as ``account_deleted``. 422 ``not_confirmed`` unless ``confirm`` is your handle or DID."""
    return await delete_data(gateway.bus, gateway.resolver, account.did, body.confirm)


@router.get(
    "/records", response_model=RecordList, responses=answers(examples.RECORDS), openapi_extra=lxm(Method.LIST_RECORDS)
)
async def list_records(
    gateway: GatewayDep,
    account: Annotated[Account, Depends(account_for(Method.LIST_RECORDS))],
    collection: Annotated[Collection, Query()],
    text: Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$", examples=["tea"])] = None,
    cursor: Annotated[str | None, Query(max_length=2_000, description="of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Your records of one collection, the newest first; with ``text`` those that hold it, whatever its case.

    A search looks at 2,000 records a page, so that a page may hold few or none although there is a ``cursor``: go on.
    """
    query = RecordsQuery(
        did=account.did,
        collection=collection,
        newest_first=True,
        text=text,
        limit=limit,
        after=parse_cursor(cursor) if cursor is not None else None,
    )
    page = await records_page(gateway.bus, query)
    found = {
        "records": [record_object(account.did, record) for record in page.records],
        "cursor": cursor_of(page.next) if page.next is not None else None,
    }
    return Response(orjson.dumps(found), media_type="application/json")


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses=documented(HTTPStatus.TOO_MANY_REQUESTS) | _EXPORTS,
    openapi_extra=lxm(Method.EXPORT_RECORDS),
)
async def export_records(
    gateway: GatewayDep,
    account: Annotated[Account, Depends(account_for(Method.EXPORT_RECORDS))],
    format: Annotated[ExportFormat, Query()] = ExportFormat.JSONL,  # noqa: A002 (the parameter's name in the URL)
    collection: Annotated[Collection | None, Query()] = None,
) -> StreamingResponse:
    """All your records, or those of one collection, by key: JSON lines, or CSV with the record as JSON.

    What changes meanwhile may be in it or not. A transfer that breaks off did not hold everything.
    """
    gateway.exports.check(account.did)
    writer = WRITERS[format]
    gateway.bus.client  # noqa: B018 (raises when there is no connection: 503, not a broken transfer)

    async def pieces() -> AsyncIterator[bytes]:
        with gateway.exports.place(account.did):
            async for piece in export(gateway.bus, account.did, collection, writer):
                yield piece

    name = f"headwater-{account.did.replace(':', '-')}.{format.value}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces(), media_type=writer.media_type, headers=headers)
