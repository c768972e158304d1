"""The HTTP interface of what became of events; it takes keys that may read or send events.

A key for some sources, or for some customers, is told of these only; a key of finance of all.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.ingest.whereabouts.documents import event_document, sources_document
from services.ingest.whereabouts.naming import event_of_path
from services.ingest.whereabouts.reading import find_event
from services.ingest.whereabouts.remembering import RememberedSources
from services.ingest.whereabouts.source_reading import MONTH
from shared.api_keys import ForbiddenError, KeyRing
from shared.keys import FINANCE, READ_EVENTS, SEND_EVENTS, Key

router = APIRouter(prefix="/v1", tags=["whereabouts"])


class RequireOneOf:
    """A FastAPI dependency: the request's key, which must have one of some scopes."""

    def __init__(self, *scopes: str) -> None:
        self._scopes = scopes

    async def __call__(
        self, request: Request, authorization: Annotated[str | None, Header()] = None
    ) -> Key:
        """Authenticate the request by the keys of its app."""
        keys: KeyRing = request.app.state.keys
        *first, last = self._scopes
        for scope in first:
            try:
                return await keys.authenticate(authorization, scope)
            except ForbiddenError:
                continue
        return await keys.authenticate(authorization, last)


EventReader = Annotated[Key, Depends(RequireOneOf(READ_EVENTS, SEND_EVENTS, FINANCE))]
SourceReader = Annotated[Key, Depends(RequireOneOf(READ_EVENTS, FINANCE))]


async def open_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Open a session of ingest's role for one request."""
    engine: AsyncEngine = request.app.state.engine
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]


def _limits(key: Key) -> tuple[frozenset[str], frozenset[str]]:
    """Give the sources and the customers that a key may see; none named means any."""
    if FINANCE in key.scopes:
        return frozenset(), frozenset()
    return key.sources, key.customers


@router.get("/events/{source:path}/{id:path}")
async def show_event(
    key: EventReader,
    session: Session,
    request: Request,
    source: Annotated[str, Path(description="percent-encoded, a slash as %2F")],
    id: Annotated[str, Path(description="percent-encoded, a slash as %2F")],  # noqa: A002
) -> dict[str, Any]:
    """Tell where an event is, down to its line items and invoice."""
    raw_path = request.scope.get("raw_path") or request.scope["path"].encode()
    name = event_of_path(raw_path)
    sources, customers = _limits(key)
    if sources and name[0] not in sources:
        raise ForbiddenError(f"API key {key.id} may not read events of this source")
    found = await find_event(session, *name, topic=request.app.state.settings.usage_topic)
    return event_document(found.seen_by(customers))


@router.get("/sources")
async def list_sources(key: SourceReader, session: Session, request: Request) -> dict[str, Any]:
    """Tell what arrived from each source, what did not, and where it fell silent.

    `as_of` says when that was read: it is remembered for half a minute.
    """
    sources: RememberedSources = request.app.state.sources
    as_of, found = await sources.get(session, datetime.now(UTC), *_limits(key))
    return sources_document(found, as_of, MONTH)
