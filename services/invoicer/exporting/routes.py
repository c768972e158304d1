"""The HTTP twin of the command: a month's export, streamed as it is read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.invoicer.exporting.accounts_file import accounts_of
from services.invoicer.exporting.encoding import ENDINGS, MEDIA_TYPES, Format
from services.invoicer.exporting.kinds import Kind
from services.invoicer.exporting.reading import OpenExport, open_export
from services.invoicer.routes import Finance
from shared.clock import present
from shared.periods import Period

router = APIRouter(prefix="/v1", tags=["exports"])

SO_FAR_HEADER = "Tallybook-So-Far"
_ANSWER: dict[str, Any] = {
    "description": "The rows; a connection that ends early means that they are not all there",
    "content": {media_type.partition(";")[0]: {} for media_type in MEDIA_TYPES.values()},
    "headers": {
        SO_FAR_HEADER: {
            "description": "why the month may still change; absent where it cannot",
            "schema": {"type": "string"},
        }
    },
}


class _ExportResponse(StreamingResponse):
    """An answer that lets go of its snapshot however it ends."""

    def __init__(self, opened: OpenExport, held: AsyncExitStack, *args: Any, **more: Any) -> None:
        super().__init__(_encoded(opened), *args, **more)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


async def _encoded(opened: OpenExport) -> AsyncIterator[bytes]:
    async for batch in opened.batches:
        yield await asyncio.to_thread(opened.encoder.rows, batch.rows)
    yield opened.encoder.end()


@router.get("/exports/{kind}", response_class=StreamingResponse, responses={200: _ANSWER})
async def export(
    _key: Finance,
    request: Request,
    kind: Kind,
    period: Annotated[str, Query(description="the month", examples=["2026-10"])],
    form: Annotated[Format, Query(alias="format", description="how it is written")] = Format.CSV,
) -> StreamingResponse:
    """Write a month out: all from one snapshot, streamed; JSON as one object a line."""
    month = Period.parse(period)
    state = request.app.state
    accounts = accounts_of(state.settings)
    async with AsyncExitStack() as entered:
        opened = await entered.enter_async_context(
            open_export(state.engine, kind, month, form, accounts=accounts, now=present())
        )
        held = entered.pop_all()
    headers = {"Content-Disposition": f'attachment; filename="{kind}-{month}.{ENDINGS[form]}"'}
    if opened.so_far:
        headers[SO_FAR_HEADER] = opened.so_far
    return _ExportResponse(opened, held, headers=headers, media_type=MEDIA_TYPES[form])
